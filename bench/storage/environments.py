"""Where the contestants run: an environment of its own for each library that is not ours.

They are kept in the folder for temporary files, and named by what is in them.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Final

import filelock
import uv

ROOT: Final = Path(__file__).parents[2]
OPTUNA: Final = f"optuna=={version('optuna')}"
OPTUNA_PINS: Final = (OPTUNA, "grpcio==1.85.1", "protobuf==7.36.2", "psycopg[binary]==3.3.6")
RAY_PINS: Final = ("ray[tune]==2.60.0", OPTUNA)


class UnavailableError(Exception):
    """An environment can't be made here."""


def python_of(pins: tuple[str, ...]) -> Path:
    """The interpreter of an environment that is made once and kept.

    Args:
        pins: What is installed there.

    Raises:
        UnavailableError: It can't be installed.
    """
    name = hashlib.sha256("\n".join([sys.version, *pins]).encode()).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"aiauto-bench-{name}"
    folder.mkdir(mode=0o700, exist_ok=True)
    python, done = folder / "venv/bin/python", folder / "done"
    with filelock.FileLock(folder / "lock"):
        if not done.exists():
            installer, venv = uv.find_uv_bin(), str(folder / "venv")
            _run(installer, "venv", "--quiet", "--clear", "--python", sys.executable, venv)
            _run(installer, "pip", "install", "--quiet", "--python", str(python), *pins)
            done.touch()
    return python


def variables(**more: str) -> dict[str, str]:
    """The environment variables of a contestant's process."""
    kept = {name: one for name, one in os.environ.items() if not name.startswith("AIAUTO_")}
    # As many threads as there are cores would get into each other's way.
    return {**kept, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **more}


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        raise UnavailableError(f"{Path(command[0]).name} failed: {said[-2000:]}")
