"""Environments of contestants whose packages must not get into each other's way.

They are kept in the folder for temporary files, and named by what is in them.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import filelock
import uv

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BIN", "ROOT", "UnavailableError", "kept", "python_in", "run", "variables"]

ROOT: Final = Path(__file__).parents[1]
BIN: Final = Path(sys.executable).parent


class UnavailableError(Exception):
    """An environment can't be made here."""


def kept(
    pins: tuple[str, ...], *others: str, prepare: Callable[[Path], None] | None = None
) -> Path:
    """The folder of an environment that is made once and kept.

    Args:
        pins: What is installed there.
        *others: What else it depends on.
        prepare: Makes what belongs there besides, once the packages are installed.

    Raises:
        UnavailableError: It can't be made.
    """
    name = hashlib.sha256("\n".join([sys.version, *others, *pins]).encode()).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"aiauto-bench-{name}"
    folder.mkdir(mode=0o700, exist_ok=True)
    done = folder / "done"  # an installation that was cut short is begun anew
    with filelock.FileLock(folder / "lock"):
        if not done.exists():
            installer, venv = uv.find_uv_bin(), str(folder / "venv")
            run(installer, "venv", "--quiet", "--clear", "--python", sys.executable, venv)
            python = str(python_in(folder))
            run(installer, "pip", "install", "--quiet", "--python", python, *pins)
            if prepare is not None:
                prepare(folder)
            done.touch()
    return folder


def python_in(folder: Path) -> Path:
    """The interpreter of an environment."""
    return folder / "venv/bin/python"


def run(*command: str) -> None:
    """Runs a program from the project's root.

    Raises:
        UnavailableError: It fails; what it said is the text.
    """
    # The plugins start programs that are installed beside Python, such as ruff.
    path = f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}"
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PATH": path},
    )
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        raise UnavailableError(f"{Path(command[0]).name} failed: {said[-2000:]}")


def variables(**more: str) -> dict[str, str]:
    """The environment variables of a process that is measured."""
    others = {name: one for name, one in os.environ.items() if not name.startswith("AIAUTO_")}
    # As many threads as there are cores would get into each other's way.
    return {**others, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **more}
