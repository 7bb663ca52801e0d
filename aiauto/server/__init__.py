"""The aiauto server: one process that keeps studies and runs their batches.

It runs in the foreground (``aiauto serve``), or is started by the SDK on demand
(``python -m aiauto.server``). It never unpickles or runs what a user sent: only a worker does.
"""
