"""Starting a worker's process, and being told how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path

# What a worker may know of the server's own variables; all else of ours it is told anew.
KEPT_VARIABLES = frozenset({"AIAUTO_CACHE_DIR"})


@dataclass(frozen=True)
class Start:
    """What a worker's process starts with. It is the leader of a session of its own.

    Attributes:
        environment: All of its environment.
        folder: Its working folder.
        log: File to which its standard output and error are added.
    """

    environment: dict[str, str]
    folder: Path
    log: Path


@dataclass(frozen=True)
class Child:
    """A worker's process that has started.

    Attributes:
        pid: Its process id.
        ended: Its exit code once it has ended, and all of its session with it: negative for a
            signal; None where nobody will tell, and it may still be running.
    """

    pid: int
    ended: asyncio.Future[int | None]


class Starter(Protocol):
    """A way to start workers."""

    async def start(self, start: Start) -> Child:
        """Start a worker. One whose start is canceled is ended.

        Args:
            start: What it starts with.

        Raises:
            OSError: It can't be started.
        """
        ...

    async def close(self) -> None:
        """End what only serves to start workers. Called when all of them have ended."""
        ...


class Interpreters:
    """Starts a Python for every worker."""

    async def start(self, start: Start) -> Child:
        """Start a worker."""
        with start.log.open("ab") as log:
            process = subprocess.Popen(  # noqa: ASYNC220 - nothing waits for its end here
                [sys.executable, "-m", "aiauto.runner"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=start.folder,
                env=start.environment,
                # It outlives a server that is killed, and can be ended with all that it starts.
                start_new_session=True,
            )
        loop = asyncio.get_running_loop()
        child = Child(process.pid, loop.create_future())
        threading.Thread(
            target=_wait,
            args=(process, loop, child.ended),
            name=f"aiauto-worker-{process.pid}",
            daemon=True,
        ).start()
        return child

    async def close(self) -> None:
        """Nothing is left to end."""


def base_environment() -> dict[str, str]:
    """What every worker finds in its environment: the server's own, but for what addresses us."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("AIAUTO_") or name in KEPT_VARIABLES
    }
    # What is printed by a worker that dies is wanted in its log, and where it died as well.
    environment.update(PYTHONUNBUFFERED="1", PYTHONFAULTHANDLER="1")
    return environment


def kill_session(leader: int) -> None:
    """End what is left of the processes that a worker started.

    Args:
        leader: The worker's process id, which must not belong to another process by now.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def _wait(
    process: subprocess.Popen[bytes],
    loop: asyncio.AbstractEventLoop,
    ended: asyncio.Future[int | None],
) -> None:
    if hasattr(os, "waitid"):
        # As long as nobody has asked for its exit code its id belongs to no other process.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    kill_session(process.pid)
    code = process.wait()
    with contextlib.suppress(RuntimeError):  # the server has ended in the meantime
        loop.call_soon_threadsafe(ended.set_result, code)
