"""Workers as forks of one process that has imported what they need.

That process is ``python -m aiauto.runner.fork_server``, where it is told what is said.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import subprocess
import sys
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from aiauto.server.executors.children import Child, Interpreters, base_environment

if TYPE_CHECKING:
    from pathlib import Path

    from aiauto.server.executors.children import Start

LOGGER = logging.getLogger(__name__)

# Other systems have no fork, or libraries that don't survive one.
CAN_FORK = sys.platform == "linux"
# Until it has imported everything, on a slow disk.
READY_SECONDS = 120.0
# Until a worker has been forked, on a busy machine.
START_SECONDS = 60.0
# So long it may take to end, once nobody needs it.
END_SECONDS = 5.0
# Where it can't be started, it is tried again after pauses that double, up to the longest.
FIRST_PAUSE_SECONDS = 30.0
LONGEST_PAUSE_SECONDS = 3600.0


class OutdatedError(Exception):
    """Packages have been installed or removed since the fork server imported them."""


class Forks:
    """Starts workers by forking, from the first one on; while that does not work, as ever."""

    def __init__(self, folder: Path) -> None:
        """Make it. No process is started yet.

        Args:
            folder: Where the fork server runs: made if need be. Python looks for modules there.
        """
        self._folder = folder
        self._interpreters = Interpreters()
        self._current: ForkServer | None = None
        # Those that have workers yet, and the current one.
        self._servers: set[ForkServer] = set()
        self._closed = False
        self._pause = 0.0
        self._paused_until = float("-inf")
        self._starting = asyncio.Lock()

    async def start(self, start: Start) -> Child:
        """Start a worker."""
        while (server := await self._server()) is not None:
            try:
                return await server.start(start)
            except OutdatedError:
                LOGGER.info("packages have changed: workers are forked from a new process")
                server.retire()
        return await self._interpreters.start(start)

    async def close(self) -> None:
        """End the fork server."""
        async with self._starting:
            self._closed = True
            await asyncio.gather(*(server.close() for server in self._servers))
            self._servers.clear()

    async def _server(self) -> ForkServer | None:
        """The fork server, started if need be; None while there can be none."""
        async with self._starting:
            if self._current is None or not self._current.is_usable:
                self._servers = {server for server in self._servers if not server.is_gone}
                self._current = None
                if not self._closed and time.monotonic() >= self._paused_until:
                    self._current = await self._begin()
            return self._current

    async def _begin(self) -> ForkServer | None:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            server = await ForkServer.begin(self._folder)
        except OSError as error:
            # It may pass: too little memory, too many processes.
            self._pause = min(max(2 * self._pause, FIRST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)
            self._paused_until = time.monotonic() + self._pause
            LOGGER.warning(
                "Workers can't be forked, and take longer to start, for the next %g s: %s",
                self._pause,
                error,
            )
            return None
        self._pause = 0.0
        self._servers.add(server)
        return server


class ForkServer:
    """A fork server's process. Made by `begin`.

    Attributes:
        is_gone: Whether it has ended.
    """

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """Use `begin`."""
        self.is_gone: bool = False
        self._process = process
        self._reader = reader
        self._writer = writer
        self._retired = False
        # In the order in which they were asked for, which is that of the answers.
        self._asked: deque[asyncio.Future[Child]] = deque()
        self._children: dict[int, Child] = {}
        self._listener = asyncio.create_task(self._listen())

    @classmethod
    async def begin(cls, folder: Path) -> ForkServer:
        """Start one. Returns when it can fork.

        Args:
            folder: Where it runs.

        Raises:
            OSError: It can't be started, or is not ready in time.
        """
        ours, theirs = socket.socketpair()
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(ours.close)
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-m",
                    "aiauto.runner.fork_server",
                    stdin=theirs.fileno(),
                    # Its forks write to these once they lead to a log of their own.
                    stdout=_inherited(1),
                    stderr=_inherited(2),
                    cwd=folder,
                    # What libraries read when they are imported is what workers would find.
                    env=base_environment(),
                    # Ctrl-C in a terminal is meant for the server, which ends it in order.
                    start_new_session=True,
                )
            stack.push_async_callback(_end, process)
            reader, writer = await asyncio.open_unix_connection(sock=ours)
            stack.callback(writer.close)
            try:
                ready = await asyncio.wait_for(reader.readline(), READY_SECONDS)
            except asyncio.TimeoutError as error:
                message = f"their process was not ready after {READY_SECONDS:g} s"
                raise OSError(message) from error
            if not ready:
                message = f"their process ended with exit code {await process.wait()}"
                raise OSError(message)
            stack.pop_all()
        LOGGER.info("workers are forked from process %d", process.pid)
        return cls(process, reader, writer)

    @property
    def is_usable(self) -> bool:
        """Whether workers may be asked for."""
        return not self.is_gone and not self._retired

    async def start(self, start: Start) -> Child:
        """Start a worker.

        Args:
            start: What it starts with.

        Raises:
            OSError: It can't be started.
            OutdatedError: Packages have changed: ask another one.
        """
        if self.is_gone:
            raise _gone()
        answer: asyncio.Future[Child] = asyncio.get_running_loop().create_future()
        self._asked.append(answer)
        self._say(
            environment=start.environment,
            folder=str(start.folder.absolute()),
            log=str(start.log.absolute()),
        )
        try:
            await asyncio.wait([answer], timeout=START_SECONDS)
        except asyncio.CancelledError:
            if not answer.cancel() and answer.exception() is None:
                self._say(kill=answer.result().pid)
            raise
        if not answer.done():
            # It may have forked: what it says of that must not be taken for a later answer.
            answer.cancel()
            _kill(self._process)
            raise _gone()
        return answer.result()

    def retire(self) -> None:
        """Start no more workers, and end after the last one."""
        self._retired = True
        self._end_if_done()

    async def close(self) -> None:
        """End. Workers go on, and nobody is told how they end."""
        self._writer.close()
        _, late = await asyncio.wait([self._listener], timeout=END_SECONDS)
        if late:
            _kill(self._process)
            await self._listener

    async def _listen(self) -> None:
        # Where it ends in the middle of a line, or was killed, it has nothing more to say.
        with contextlib.suppress(OSError, ValueError):
            while line := await self._reader.readline():
                self._heed(json.loads(line))
        self.is_gone = True
        self._writer.close()
        for answer in self._asked:
            if not answer.done():
                answer.set_exception(_gone())
        for child in self._children.values():
            child.ended.set_result(None)
        self._children.clear()
        await self._process.wait()

    def _heed(self, message: dict[str, Any]) -> None:
        if "ended" in message:
            child = self._children.pop(message["ended"])
            child.ended.set_result(message["exit_code"])
            self._end_if_done()
            return
        answer = self._asked.popleft()
        if "pid" in message:
            child = Child(message["pid"], asyncio.get_running_loop().create_future())
            self._children[child.pid] = child
            if answer.cancelled():
                self._say(kill=child.pid)
            else:
                answer.set_result(child)
        elif not answer.cancelled():
            problem = OSError(message["errno"], message["error"]) if "error" in message else None
            answer.set_exception(problem or OutdatedError())

    def _end_if_done(self) -> None:
        if self._retired and not self._children and not self._asked:
            self._writer.close()

    def _say(self, **message: object) -> None:
        self._writer.write(json.dumps(message).encode() + b"\n")


def _inherited(descriptor: int) -> int | None:
    """What a process that is started finds as its output: ours, or nothing where we have none."""
    try:
        # What was closed may be something else by now, which stays here.
        return None if os.get_inheritable(descriptor) else subprocess.DEVNULL
    except OSError:
        return subprocess.DEVNULL


def _gone() -> OSError:
    return ConnectionResetError("the process that forks workers is gone")


def _kill(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()


async def _end(process: asyncio.subprocess.Process) -> None:
    _kill(process)
    # Until then the event loop has something of it to close.
    await process.wait()
