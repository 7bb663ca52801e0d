"""What to do about errors of objectives that come of where they run, and not of what they do."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Final

from aiauto.folders import SHARED_CACHE_DIR_VARIABLE, TMP_CACHE_DIR_VARIABLE

# Where a cluster mounts a worker's folders unless it is told otherwise: the variable that says
# where they are, and what gives them in Python.
MOUNTS: Final = {
    Path("/mnt/shared-cache"): (SHARED_CACHE_DIR_VARIABLE, "aiauto.shared_cache_dir()"),
    Path("/mnt/tmp-cache"): (TMP_CACHE_DIR_VARIABLE, "aiauto.tmp_cache_dir()"),
}


def advice(error: BaseException) -> str:
    """Tell what can be done about an error that an objective raised.

    Args:
        error: It.

    Returns:
        Some sentences; nothing where the error says all that there is to say.
    """
    if isinstance(error, ModuleNotFoundError) and error.name:
        return _of_module(error.name)
    if isinstance(error, MemoryError):
        return (
            "The worker could get no more memory: use less memory a trial, or a lower parallelism."
        )
    if isinstance(error, OSError) and isinstance(error.filename, str):
        return _of_path(Path(error.filename))
    return ""


def _of_module(name: str) -> str:
    package = name.partition(".")[0]
    try:
        missing = importlib.util.find_spec(package) is None
    except (ImportError, ValueError):
        return ""
    if not missing:  # a part of it that there is not, wherever it is installed
        return ""
    return (
        f"This worker does not have {package!r}: add the package to requirements_list. (The worker "
        f"runs {sys.executable}.)"
    )


def _of_path(path: Path) -> str:
    for mount, (variable, call) in MOUNTS.items():
        if path != mount and mount not in path.parents:
            continue
        own = os.environ.get(variable)
        if own is None or _same(mount, Path(own)):
            return ""
        return (
            f"{mount} is where a cluster has this folder; workers of one machine can't mount. Here "
            f"it is {call}, also {mount.name!r} in the worker's working folder. A server that is "
            f"started with AIAUTO_LINK_MOUNTS=1 makes {mount} lead there."
        )
    return ""


def _same(mount: Path, folder: Path) -> bool:
    try:
        return mount.samefile(folder)
    except OSError:
        return False
