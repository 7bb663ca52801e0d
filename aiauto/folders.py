"""The folders that an objective finds on its worker, wherever that runs.

A server tells its workers by environment variables where they are. On a cluster they are mounted at
the paths that the workspace and the batch name; a process of this machine can't mount, and finds
them among the server's data.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import threading
from pathlib import Path
from typing import Final

from aiauto.errors import ArgumentFileNotFoundError

SHARED_CACHE_DIR_VARIABLE: Final = "AIAUTO_SHARED_CACHE_DIR"
TMP_CACHE_DIR_VARIABLE: Final = "AIAUTO_TMP_CACHE_DIR"
ARTIFACT_TMP_DIR_VARIABLE: Final = "AIAUTO_ARTIFACT_TMP_DIR"

DEFAULT_SHARED_CACHE_DIR: Final = "/mnt/shared-cache"

_made: Final[dict[tuple[int, str], Path]] = {}
_lock: threading.Lock = threading.Lock()


def shared_cache_dir() -> Path:
    """Give the folder that all workers of the workspace share, on this worker.

    Files that were sent by `AIAutoController.upload_to_shared_cache` are there, and what a worker
    writes there the others find.

    Returns:
        ``AIAUTO_SHARED_CACHE_DIR``, which workers are started with; elsewhere ``/mnt/shared-cache``
        if that is there.

    Raises:
        ArgumentFileNotFoundError: There is none, as on a machine that is no worker.
    """
    folder = Path(os.environ.get(SHARED_CACHE_DIR_VARIABLE) or DEFAULT_SHARED_CACHE_DIR)
    if not folder.is_dir():
        message = (
            f"There is no shared cache here: {folder} is no folder. Workers find theirs; to call an"
            f" objective elsewhere set {SHARED_CACHE_DIR_VARIABLE} to a folder with the same files."
        )
        raise ArgumentFileNotFoundError(
            message, argument=SHARED_CACHE_DIR_VARIABLE, path=str(folder)
        )
    return folder


def tmp_cache_dir() -> Path:
    """Give a scratch folder that is this worker's own, and goes with it.

    Returns:
        ``AIAUTO_TMP_CACHE_DIR``, which workers are started with; elsewhere a temporary folder
        that goes with this process.
    """
    return _own(TMP_CACHE_DIR_VARIABLE)


def artifact_tmp_dir() -> Path:
    """Give a folder to prepare artifacts in, which goes with this worker or process."""
    return _own(ARTIFACT_TMP_DIR_VARIABLE)


def _own(variable: str) -> Path:
    if chosen := os.environ.get(variable):
        folder = Path(chosen)
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    with _lock:
        # A fork has its own: its parent's goes with its parent.
        key = os.getpid(), variable
        known = _made.get(key)
        if known is None or not known.is_dir():
            known = _made[key] = Path(tempfile.mkdtemp(prefix="aiauto-"))
        return known


@atexit.register
def _remove() -> None:
    for (process, _), folder in _made.items():
        if process == os.getpid():
            shutil.rmtree(folder, ignore_errors=True)


def _forget_lock() -> None:
    # A thread of the parent may have held it, and that thread is not in the child.
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_lock)
