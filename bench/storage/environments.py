"""What the contestants run with."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from bench.environments import kept, python_in

if TYPE_CHECKING:
    from pathlib import Path

OPTUNA: Final = f"optuna=={version('optuna')}"
OPTUNA_PINS: Final = (OPTUNA, "grpcio==1.85.1", "protobuf==7.36.2", "psycopg[binary]==3.3.6")
RAY_PINS: Final = ("ray[tune]==2.60.0", OPTUNA)


def python_of(pins: tuple[str, ...]) -> Path:
    """The interpreter of an environment with some packages.

    Args:
        pins: They.

    Raises:
        UnavailableError: They can't be installed.
    """
    return python_in(kept(pins))
