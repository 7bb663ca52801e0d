"""What everybody's workers do: an objective of two numbers that notes when it was called.

Used by every contestant in its own environment: nothing but Python's own modules is imported.
"""

from __future__ import annotations

import json
import os
import struct
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# A call: by which process, and when.
RECORD = "qd"


def value(x: float, y: float) -> float:
    """The value of a point."""
    return (x - 1) ** 2 + (y + 2) ** 2


def note(record: str, moment: float | None = None) -> None:
    """Note a call. Several processes may do so in one file."""
    file = os.open(record, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, struct.pack(RECORD, os.getpid(), time.time() if moment is None else moment))
    os.close(file)


def objective_of(record: str) -> Callable[[Any], float]:
    """An Optuna objective that notes its calls in a file."""

    def objective(trial: Any) -> float:  # noqa: ANN401 - of whichever Optuna is there
        x, y = trial.suggest_float("x", -10, 10), trial.suggest_float("y", -10, 10)
        note(record)
        return value(x, y)

    return objective


def orders() -> Iterator[dict[str, Any]]:
    """What this process is told to do, after it has said that it is ready."""
    answer({"ready": True})
    for line in sys.stdin:
        yield json.loads(line)


def answer(what: dict[str, Any]) -> None:
    """Tell whoever gives the orders."""
    sys.__stdout__.write(json.dumps(what) + "\n")  # type: ignore[union-attr]
    sys.__stdout__.flush()  # type: ignore[union-attr]
