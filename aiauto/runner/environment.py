"""The requirements of an objective: installed once for each set of them, and shared by workers."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Final

import filelock
import platformdirs
import uv

if TYPE_CHECKING:
    from collections.abc import Callable

CACHE_DIR_VARIABLE = "AIAUTO_CACHE_DIR"
# Set for the program that was started again inside of its environment.
ENTERED_VARIABLE = "AIAUTO_RUNNER_ENVIRONMENT"
# What the installer is told by variables and finds other packages, or other versions of them, by.
# Those that say how it works, or with which password, are none.
CHOOSING_VARIABLES: Final = (
    "UV_DEFAULT_INDEX",
    "UV_EXCLUDE_NEWER",
    "UV_EXTRA_INDEX_URL",
    "UV_FIND_LINKS",
    "UV_FORK_STRATEGY",
    "UV_INDEX",
    "UV_INDEX_STRATEGY",
    "UV_INDEX_URL",
    "UV_NO_BINARY",
    "UV_NO_BINARY_PACKAGE",
    "UV_NO_BUILD",
    "UV_NO_BUILD_PACKAGE",
    "UV_NO_CONFIG",
    "UV_NO_SOURCES",
    "UV_PRERELEASE",
    "UV_RESOLUTION",
    "UV_TORCH_BACKEND",
)
# The same in files, whose paths are in these, between spaces.
CHOOSING_FILES: Final = ("UV_BUILD_CONSTRAINT", "UV_CONFIG_FILE", "UV_CONSTRAINT", "UV_OVERRIDE")
INSTALL_TIMEOUT_SECONDS = 3600
OUTPUT_TAIL_LINES = 40


class EnvironmentFailedError(Exception):
    """The requirements can't be installed. The text says what the installer said."""


def enter_environment(requirements_txt: str, *, before_leaving: Callable[[], None]) -> None:
    """Go on in an environment that has the requirements; returns once it is there.

    This program starts itself anew, in place, with the Python of that environment.

    Args:
        requirements_txt: The requirements in the format of requirements.txt; empty for none.
        before_leaving: Called before the program starts anew.

    Raises:
        EnvironmentFailedError: They can't be installed.
    """
    if os.environ.get(ENTERED_VARIABLE) == sys.prefix:
        return
    folder = prepare(requirements_txt)
    if folder is None:
        return
    before_leaving()
    os.environ[ENTERED_VARIABLE] = str(folder)
    python = _python_of(folder)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(python, [str(python), "-m", "aiauto.runner"])  # noqa: S606 - a program of our own


def prepare(requirements_txt: str) -> Path | None:
    """Make sure that there is an environment with the requirements.

    The first worker that needs a set of requirements installs it, the others wait for it. It stays
    for the batches to come.

    Args:
        requirements_txt: The requirements in the format of requirements.txt; empty for none.

    Returns:
        Folder of the environment; None where nothing is required.

    Raises:
        EnvironmentFailedError: They can't be installed.
    """
    lines = (line.strip() for line in requirements_txt.splitlines())
    wanted = [line for line in lines if line and not line.startswith("#")]
    if not wanted:
        return None
    folder = _cache_dir() / _key(wanted)
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with filelock.FileLock(f"{folder}.lock", timeout=INSTALL_TIMEOUT_SECONDS):
            # The Python that it was made with may have been removed since.
            if not _python_of(folder).exists():
                print(f"Installing {', '.join(wanted)}")  # noqa: T201 - for the user's log
                _build(folder, requirements_txt)
    except filelock.Timeout as error:
        message = f"Another worker has been installing the requirements for too long: {error}"
        raise EnvironmentFailedError(message) from error
    except OSError as error:
        message = (
            "The requirements of the objective can't be installed: "
            f"{error.strerror or error} ({str(error.filename or folder)!r}). "
            f"{CACHE_DIR_VARIABLE} names the folder in which they are kept."
        )
        raise EnvironmentFailedError(message) from error
    return folder


def _python_of(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _cache_dir() -> Path:
    chosen = os.environ.get(CACHE_DIR_VARIABLE)
    base = Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("aiauto")
    return base.absolute() / "environments"


def _key(wanted: list[str]) -> str:
    """Name of the environment: another one for every Python, set of requirements and choice."""
    # The order of lines does not matter, as far as each is one requirement.
    text = "\n".join([sys.prefix, platform.python_version(), *sorted(wanted), *_choices()])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _choices() -> list[str]:
    """What the installer's variables choose. It may hold passwords: nobody but a hash is told."""
    chosen = [f"{name}={value}" for name in CHOOSING_VARIABLES if (value := os.environ.get(name))]
    for name in CHOOSING_FILES:
        for path in os.environ.get(name, "").split():
            try:
                content = Path(path).read_bytes()
            except OSError:
                content = b""  # the installer says what is wrong with it
            chosen.append(f"{name}={path}:{hashlib.sha256(content).hexdigest()}")
    return chosen


def _build(folder: Path, requirements: str) -> None:
    # What was left behind by a worker that was killed, whose installer may be writing there yet.
    for left in folder.parent.glob(f"{folder.name}.building-*"):
        shutil.rmtree(left, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
    # Built aside and moved into place: an environment that is there is whole.
    building = folder.with_name(f"{folder.name}.building-{uuid.uuid4().hex[:8]}")
    try:
        _uv("venv", "--relocatable", "--python", sys.executable, str(building))
        file = building / "requirements.txt"
        file.write_text(requirements + "\n", encoding="utf-8")
        _uv("pip", "install", "--python", str(building), "-r", str(file))
        # aiauto and Optuna are found where they are; what is installed here comes before them.
        parent = [path for path in sys.path if Path(path).is_dir() and path != str(Path.cwd())]
        add = "".join(f"import site; site.addsitedir({path!r})\n" for path in parent)
        packages = next(building.glob("**/site-packages"))
        (packages / "aiauto_parent.pth").write_text(add, encoding="utf-8")
        building.rename(folder)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise


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
