"""Starts workers as forks of one process that has imported what every worker needs.

A Python of its own spends over a second of processor time on importing before it is a worker; a
fork of this process is one within milliseconds. Nothing that a user has sent is loaded here: that
is for the forks.

An aiauto server starts this program with a socket as its standard input. Both sides write lines of
JSON there:

- The server asks for a worker: ``{"environment": {...}, "folder": "...", "log": "..."}``. It is
  told ``{"pid": 1}``; or ``{"errno": 2, "error": "..."}``; or ``{"outdated": true}`` where packages
  have been installed or removed since this process imported them, and it had better start another.
- It may take back what it asked for: ``{"kill": 1}``.
- It is told how each worker ended: ``{"ended": 1, "exit_code": -9}``. Until then its process id,
  and that of its group, belongs to nobody else.

Before all that, ``{"ready": true}`` tells it that there is somebody to ask. This process ends when
the server is gone; its workers do not.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import random
import select
import signal
import site
import socket
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

# With Optuna, and all that a trial needs.
import aiauto.runner.trials  # noqa: F401 # pyright: ignore[reportUnusedImport]
from aiauto.runner import __main__ as program
from aiauto.runner.worker import Exit

if TYPE_CHECKING:
    from types import FrameType

# So long threads that have ended may be counted yet.
THREADS_SECONDS = 2.0


@dataclass(frozen=True)
class Worker:
    """A worker to be.

    Attributes:
        environment: All of its environment.
        folder: Its working folder.
        log: File to which its standard output and error are added.
    """

    environment: dict[str, str]
    folder: str
    log: str

    def enter(self) -> None:
        """Make this process, which has just been forked, one as if Python had been started for it.

        Raises:
            OSError: Its folder or its log can't be used.
        """
        os.setsid()
        log = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
        # Python looks for modules in the folder that a program starts in.
        began_in = str(Path.cwd())
        os.chdir(self.folder)
        if sys.path and sys.path[0] == began_in:
            sys.path[0] = str(Path.cwd())
        os.environ.clear()
        os.environ.update(self.environment)
        # Two forks must not draw the same.
        random.seed()
        np.random.seed()

    def run(self) -> None:
        """Do what ``python -m aiauto.runner`` does."""
        sys.modules["__main__"] = program
        sys.argv[:] = [str(program.__file__)]
        program.run()


class ForkServer:
    """Forks workers off this process, and tells how they end."""

    def __init__(self, control: socket.socket) -> None:
        """Make it.

        Args:
            control: Leads to the aiauto server.
        """
        self._control = control
        self._rest = b""
        self._packages = _packages()
        self._children: set[int] = set()
        # Signals end the wait for whatever comes first.
        self._woken, self._wake = socket.socketpair()
        for end in (self._woken, self._wake):
            end.setblocking(False)  # noqa: FBT003 - positional only
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _wake_up)

    def serve(self) -> Worker | None:
        """Fork workers until the server is gone.

        Returns:
            In a fork: the worker that it is to be. None where the server is gone.
        """
        try:
            self._say(ready=True)
            while True:
                ready, _, _ = select.select([self._control, self._woken], [], [])
                if self._woken in ready:
                    with contextlib.suppress(BlockingIOError):
                        self._woken.recv(4096)
                    self._bury()
                if self._control in ready:
                    received = self._control.recv(1 << 16)
                    if not received:
                        return None
                    *lines, self._rest = (self._rest + received).split(b"\n")
                    for line in lines:
                        if worker := self._heed(json.loads(line)):
                            return worker
        except ConnectionError:
            return None

    def _heed(self, request: dict[str, Any]) -> Worker | None:
        """Do what was asked for. Returns the worker in the fork that is to be one."""
        if "kill" in request:
            if request["kill"] in self._children:
                _kill_group(request["kill"])
            return None
        if _packages() != self._packages:
            self._say(outdated=True)
            return None
        worker = Worker(**request)
        try:
            pid = self._fork(worker)
        except OSError as error:
            self._say(errno=error.errno, error=error.strerror)
            return None
        if pid == 0:
            return worker
        self._children.add(pid)
        self._say(pid=pid)
        return None

    def _fork(self, worker: Worker) -> int:
        """Fork, and wait until the fork is a worker.

        Returns:
            The fork's process id; 0 in the fork.

        Raises:
            OSError: It could not be made, or could not become the worker.
        """
        reading, writing = os.pipe()
        try:
            pid = os.fork()
        except OSError:
            os.close(reading)
            os.close(writing)
            raise
        if pid == 0:
            try:
                os.close(reading)
                self._close()
                worker.enter()
                os.close(writing)
            except OSError as error:
                words = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
                os.write(writing, json.dumps([error.errno, words]).encode())
                os._exit(Exit.CANT_RUN)
            return 0
        os.close(writing)
        with open(reading, "rb") as pipe:  # noqa: PTH123 - no path
            problem = pipe.read()
        if problem:
            os.waitpid(pid, 0)
            raise OSError(*json.loads(problem))
        return pid

    def _bury(self) -> None:
        """End what is left of workers that have ended, and tell about them."""
        while self._children:
            # As long as nobody has asked for its exit code its id belongs to no other process.
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if found is None:
                return
            _kill_group(found.si_pid)
            _, status = os.waitpid(found.si_pid, 0)
            self._children.discard(found.si_pid)
            self._say(ended=found.si_pid, exit_code=os.waitstatus_to_exitcode(status))

    def _say(self, **message: object) -> None:
        self._control.sendall(json.dumps(message).encode() + b"\n")

    def _close(self) -> None:
        """Leave everything to the process that this one was forked from."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for one in (self._control, self._woken, self._wake):
            one.close()


def main() -> int:
    """Fork workers until the server is gone; in a fork, be a worker.

    Returns:
        The exit code.
    """
    try:
        control = socket.socket(fileno=os.dup(0))
    except OSError:
        print("aiauto.runner.fork_server is started by an aiauto server.", file=sys.stderr)  # noqa: T201
        return Exit.USAGE
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.close(null)
    _end_threads()
    if (count := _count_threads()) > 1:
        print(f"There are {count} threads, which a fork would not have.", file=sys.stderr)  # noqa: T201
        return Exit.CANT_RUN
    # What is here stays; forks that never look at it share its memory.
    gc.collect()
    gc.freeze()
    worker = ForkServer(control).serve()
    if worker is not None:
        worker.run()
    return Exit.DONE


def _end_threads() -> None:
    """End the threads of OpenBLAS: they end before a fork, and begin again where one calculates."""
    with warnings.catch_warnings():
        # What Python says of forks and threads is what this is about.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    deadline = time.monotonic() + THREADS_SECONDS
    while _count_threads() > 1 and time.monotonic() < deadline:
        time.sleep(0.001)


def _wake_up(_signal: int, _frame: FrameType | None) -> None:
    """That a signal has come is told by other means, but only where it has a handler."""


def _count_threads() -> int:
    return sum(1 for _ in Path("/proc/self/task").iterdir())


def _packages() -> list[int]:
    """Something that is another one when packages have been installed or removed."""
    folders = [*site.getsitepackages(), site.getusersitepackages()]
    return [Path(folder).stat().st_mtime_ns for folder in folders if Path(folder).is_dir()]


def _kill_group(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
