"""How much memory local workers may use, and whom the kernel has killed for it: control groups.

A worker whose batch sets a limit gets a control group of its own beneath the server's, where the
system lets the server make one. The kernel counts in each group whom it has killed because memory
had run out, and so what looks like any other SIGKILL can be told apart.

Address space (RLIMIT_AS) is no substitute: CUDA and threads reserve far more of it than they use.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

LOGGER = logging.getLogger(__name__)

PROCESS = Path("/proc/self")
# Of version 2, and of version 1, which has a limit for memory and swap together.
LIMITS: Final = ("memory.max", "memory.limit_in_bytes")
SWAP_LIMITS: Final[Mapping[str, str | None]] = {
    "memory.swap.max": "0",
    "memory.memsw.limit_in_bytes": None,
}
EVENTS: Final = ("memory.events.local", "memory.events", "memory.oom_control")
# The last processes of a group are gone a moment after they have ended.
REMOVE_ATTEMPTS = 20
REMOVE_PAUSE_SECONDS = 0.05


@dataclass(frozen=True)
class Group:
    """A control group.

    Attributes:
        folder: Its folder.
    """

    folder: Path

    @property
    def kills(self) -> int:
        """How many of its processes the kernel has killed because memory had run out."""
        for name in EVENTS:
            with contextlib.suppress(OSError):
                for line in (self.folder / name).read_text(encoding="ascii").splitlines():
                    if line.startswith("oom_kill "):
                        return int(line.split()[1])
        return 0

    def limit(self, size: int) -> None:
        """Let its processes use so many bytes together, and no swap.

        Raises:
            OSError: The kernel does not let us.
        """
        name = next(name for name in LIMITS if (self.folder / name).exists())
        (self.folder / name).write_text(str(size), encoding="ascii")
        for name, value in SWAP_LIMITS.items():
            if (self.folder / name).exists():
                (self.folder / name).write_text(value or str(size), encoding="ascii")

    def add(self, pid: int) -> None:
        """Take a process, and all that it starts from now on.

        Raises:
            OSError: The kernel does not let us.
        """
        (self.folder / "cgroup.procs").write_text(str(pid), encoding="ascii")

    def remove(self) -> None:
        """Remove it. Its processes have ended. For threads: this may take a moment."""
        for _ in range(REMOVE_ATTEMPTS):
            try:
                self.folder.rmdir()
            except FileNotFoundError:
                return
            except OSError:
                time.sleep(REMOVE_PAUSE_SECONDS)
            else:
                return
        LOGGER.warning("The control group %s could not be removed", self.folder)


class Memory:
    """The memory of this machine, as far as workers have it.

    Attributes:
        parent: Where groups of workers can be made; None where they can't.
    """

    def __init__(self, process: Path = PROCESS) -> None:
        """Look where the server is.

        Args:
            process: The folder of the server's process in ``/proc``.
        """
        self._process = process
        folder = _folder_of(process)
        self.parent: Path | None = None if folder is None else _parent_of_groups(folder)
        # Of those whom the kernel killed, so many are known by name.
        self._claimed = 0

    @property
    def can_limit(self) -> bool:
        """Whether workers can be kept to a limit here."""
        return self.parent is not None

    @property
    def kills(self) -> int:
        """How many processes beside the server the kernel has killed."""
        # Whoever started the server may have moved it since.
        folder = _folder_of(self._process)
        return 0 if folder is None else Group(folder).kills

    def confine(self, worker_name: str, size: int) -> Group | None:
        """Make a group for a worker that is about to start.

        Args:
            worker_name: Its name.
            size: How many bytes it may use.

        Returns:
            The group; None where there can be none.
        """
        if self.parent is None:
            return None
        group = Group(self.parent / f"aiauto-{worker_name}")
        try:
            group.folder.mkdir(exist_ok=True)
            group.limit(size)
        except OSError as error:
            LOGGER.warning("%s is not kept to its limit of memory: %s", worker_name, error)
            with contextlib.suppress(OSError):
                group.folder.rmdir()
            return None
        return group

    def claim(self, kills_before: int) -> bool:
        """Whether a worker that was killed beside the server was killed by the kernel.

        Args:
            kills_before: What `kills` was when it began.
        """
        known = max(self._claimed, kills_before)
        if self.kills <= known:
            return False
        self._claimed = known + 1
        return True


@dataclass
class WorkerMemory:
    """The memory of one worker.

    Attributes:
        memory: The machine's.
        group: Its group; None where it is in the server's.
        limit: How many bytes it may use there; None for no limit.
        kills_before: Whom the kernel had killed there before it began.
    """

    memory: Memory
    group: Group | None = None
    limit: int | None = None
    kills_before: int = 0

    @classmethod
    def of_new(cls, memory: Memory, worker_name: str, size: int | None) -> WorkerMemory:
        """That of a worker that is about to start, in a group of its own where it has a limit."""
        group = None if size is None else memory.confine(worker_name, size)
        return cls(memory, group, None if group is None else size, memory.kills)

    def add(self, pid: int) -> None:
        """Keep a process to it."""
        if self.group is not None:
            try:
                self.group.add(pid)
            except OSError as error:
                LOGGER.warning("Process %d is not kept to its limit of memory: %s", pid, error)

    def ran_out(self, exit_code: int | None) -> bool:
        """Whether the kernel killed the worker because memory had run out.

        Args:
            exit_code: How the worker has ended; None where that is not known.
        """
        if exit_code not in {None, -signal.SIGKILL}:
            return False
        if self.group is not None:
            return self.group.kills > 0
        return exit_code is not None and self.memory.claim(self.kills_before)

    def release(self) -> None:
        """It has ended. For threads: this may take a moment."""
        if self.group is not None:
            self.group.remove()


def _folder_of(process: Path) -> Path | None:
    """The folder of the group that accounts for a process's memory; None where there is none."""
    try:
        groups = (process / "cgroup").read_text(encoding="utf-8").splitlines()
        mounts = (process / "mountinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return None
    paths: dict[str, str] = {}
    for line in groups:
        _, controllers, path = line.split(":", 2)
        if not controllers or "memory" in controllers.split(","):
            paths["cgroup" if controllers else "cgroup2"] = path
    # Where both versions are there, memory is with the first if it is named there.
    for kind in ("cgroup", "cgroup2"):
        for line in mounts:
            before, _, after = line.partition(" - ")
            root, point = before.split()[3:5]
            found, _, options = after.split(maxsplit=2)
            if kind not in paths or found != kind:
                continue
            if kind == "cgroup" and "memory" not in options.split(","):
                continue
            # In a container what is mounted may be a part of what the path counts from.
            below = Path(paths[kind])
            if below.is_relative_to(root):
                below = below.relative_to(root)
            folder = Path(point) / str(below).lstrip("/")
            return folder if folder.is_dir() else None
    return None


def _parent_of_groups(own: Path) -> Path | None:
    """Where groups can be made; None where they can't."""
    if (own / LIMITS[1]).exists():
        return own if os.access(own, os.W_OK) else None
    # Version 2 takes no limits beneath a group that has processes: the server must be in one that
    # its manager has made for it in what it has left to us.
    parent = own.parent
    try:
        if os.getxattr(parent, "user.delegate") != b"1":  # type: ignore[attr-defined,unused-ignore]
            return None
        if "memory" not in (parent / "cgroup.subtree_control").read_text(encoding="ascii").split():
            (parent / "cgroup.subtree_control").write_text("+memory", encoding="ascii")
    except (OSError, AttributeError):
        return None
    return parent if os.access(parent / "cgroup.procs", os.W_OK) else None
