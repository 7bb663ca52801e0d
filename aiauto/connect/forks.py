"""What a forked process does with the connections and event loops that it inherits: nothing.

They share sockets and selectors with the parent's, so to close one, or to let it be collected,
would take it from the parent.
"""

from __future__ import annotations

import ctypes
import os
from typing import Final, Protocol
from weakref import WeakSet

__all__ = ["abandon", "watch"]


class Forgetful(Protocol):
    """Something that has connections or a loop."""

    def forget(self) -> None:
        """Passes all of it to `abandon`. Called in the new process."""
        ...


_watched: Final[WeakSet[Forgetful]] = WeakSet()


def watch(one: Forgetful) -> None:
    """Calls something's `forget` in every process that is forked off this one."""
    _watched.add(one)


def abandon(inherited: object) -> None:
    """Keeps something for ever, beyond the end of the interpreter, where all else is collected."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(inherited))


def _after_fork() -> None:
    for one in list(_watched):
        one.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
