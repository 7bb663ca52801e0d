"""The requirements of an objective: installed once for each set of them, and shared by workers."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import filelock
import platformdirs
import uv

if TYPE_CHECKING:
    from collections.abc import Callable

CACHE_DIR_VARIABLE = "AIAUTO_CACHE_DIR"
# Set for the program that was started again inside of its environment.
ENTERED_VARIABLE = "AIAUTO_RUNNER_ENVIRONMENT"
INSTALL_TIMEOUT_SECONDS = 3600
OUTPUT_TAIL_LINES = 40


class EnvironmentFailedError(Exception):
    """The requirements can't be installed. The text says what the installer said."""


def enter_environment(requirements_txt: str, *, before_leaving: Callable[[], None]) -> None:
    """Go on in an environment that has the requirements; returns once it is there.

    The first worker that needs a set of requirements installs it, the others wait for it. Then this
    program starts itself anew, in place, with the Python of that environment.

    Args:
        requirements_txt: The requirements in the format of requirements.txt; empty for none.
        before_leaving: Called before the program starts anew.

    Raises:
        EnvironmentFailedError: They can't be installed.
    """
    lines = (line.strip() for line in requirements_txt.splitlines())
    wanted = [line for line in lines if line and not line.startswith("#")]
    if not wanted:
        return
    if os.environ.get(ENTERED_VARIABLE) == sys.prefix:
        return
    folder = _cache_dir() / _key(wanted)
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with filelock.FileLock(f"{folder}.lock", timeout=INSTALL_TIMEOUT_SECONDS):
            if not folder.exists():
                print(f"Installing {', '.join(wanted)}")  # noqa: T201 - for the user's log
                _build(folder, requirements_txt)
    except filelock.Timeout as error:
        message = f"Another worker has been installing the requirements for too long: {error}"
        raise EnvironmentFailedError(message) from error
    before_leaving()
    os.environ[ENTERED_VARIABLE] = str(folder)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(python, [str(python), "-m", "aiauto.runner"])  # noqa: S606 - a program of our own


def _cache_dir() -> Path:
    chosen = os.environ.get(CACHE_DIR_VARIABLE)
    base = Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("aiauto")
    return base.absolute() / "environments"


def _key(wanted: list[str]) -> str:
    """Name of the environment: another one for every Python and set of requirements."""
    # The order of lines does not matter, as far as each is one requirement.
    text = "\n".join([sys.prefix, platform.python_version(), *sorted(wanted)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _build(folder: Path, requirements: str) -> None:
    # Built aside and moved into place: an environment that is there is whole.
    building = folder.with_name(f"{folder.name}.building")
    shutil.rmtree(building, ignore_errors=True)
    _uv("venv", "--relocatable", "--python", sys.executable, str(building))
    file = building / "requirements.txt"
    file.write_text(requirements + "\n", encoding="utf-8")
    _uv("pip", "install", "--python", str(building), "--requirements", str(file))
    # aiauto and Optuna are found where they are; what is installed here comes before them.
    parent = [path for path in sys.path if Path(path).is_dir() and path != str(Path.cwd())]
    add = "".join(f"import site; site.addsitedir({path!r})\n" for path in parent)
    packages = next(building.glob("**/site-packages"))
    (packages / "aiauto_parent.pth").write_text(add, encoding="utf-8")
    building.rename(folder)


def _uv(*arguments: str) -> None:
    command = [uv.find_uv_bin(), *arguments, "--quiet"]
    try:
        subprocess.run(
            command,
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=INSTALL_TIMEOUT_SECONDS,
        )
    except subprocess.CalledProcessError as error:
        tail = "\n".join(error.output.splitlines()[-OUTPUT_TAIL_LINES:])
        message = f"The requirements of the objective can't be installed:\n{tail}"
        raise EnvironmentFailedError(message) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        message = f"The requirements of the objective can't be installed: {error}"
        raise EnvironmentFailedError(message) from error
