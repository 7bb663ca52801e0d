"""The absolute paths at which a cluster mounts a worker's folders, for workers of this machine.

Scripts that were written for the hosted service open ``/mnt/shared-cache`` and ``/mnt/tmp-cache``.
A process can't mount; but a link that leads through ``/proc/self/cwd`` leads every process to what
is in its own working folder, and that is where workers have both. So one pair of links serves all
workers of all workspaces, and means nothing to other programs.

The links are made only where the person who runs the server has asked for them: they lie outside of
the data folder. Paths that users name are not linked, since users are not to choose what is written
on the server's disk.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

logger: logging.Logger = logging.getLogger("aiauto.server")

OWN_FOLDER = Path("/proc/self/cwd")
MOUNTS = {Path("/mnt/shared-cache"): "shared-cache", Path("/mnt/tmp-cache"): "tmp-cache"}


def link_all() -> None:
    """Make the links that are missing."""
    if not OWN_FOLDER.exists():
        logger.warning("The caches are not linked: this system has no %s.", OWN_FOLDER)
        return
    for path, name in MOUNTS.items():
        link(path, name)


def link(path: Path, name: str) -> None:
    """Let a path lead every worker to a folder of its own. What is there is left alone.

    Args:
        path: The path.
        name: The folder's name in a worker's working folder.
    """
    target = OWN_FOLDER / name
    try:
        path.symlink_to(target, target_is_directory=True)
    except FileExistsError:
        if not path.is_symlink() or path.readlink() != target:
            logger.warning("%s is there already, and is left as it is.", path)
    except OSError as error:
        logger.warning("%s can't be linked: %s.", path, os.strerror(error.errno or 0))
