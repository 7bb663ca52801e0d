"""What runs inside a worker: lease a trial, ask Optuna for it, run it, tell, and take the next.

Started as ``python -m aiauto.runner`` with ``AIAUTO_BASE_URL`` and ``AIAUTO_TOKEN``, a token of
this one worker.
"""
