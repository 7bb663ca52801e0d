"""The server of this machine: finds the one that runs on a data folder, or starts it.

The server is a program of its own (``python -m aiauto.server``) that outlives the script. It holds
a lock on its data folder, so there is one a folder however many scripts start at once, and writes
``server.json`` there when it accepts calls. This module is the SDK's only door to it.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import filelock
import psutil

from aiauto import config
from aiauto.errors import ServerStartError

if TYPE_CHECKING:
    from pathlib import Path

LOG_TAIL_LINES = 30
POLL_SECONDS = 0.05
# How `python -m aiauto.server` ends where it can't use what it was given, which it has said last.
EXIT_USAGE = 2
# How it ends when another server holds the data folder.
EXIT_ALREADY_RUNNING = 3


@dataclass(frozen=True)
class RunningServer:
    """A server that answered a moment ago.

    Attributes:
        url: Its address.
        pid: Its process.
        version: Its version, as in `aiauto.__version__`.
        token: The token of this machine's user. Never shown.
    """

    url: str
    pid: int
    version: str
    token: str = field(repr=False)

    def is_alive(self) -> bool:
        """Tell whether its process is there. Takes microseconds, and asks the server nothing."""
        return process_is_alive(self.pid)


def process_is_alive(pid: int) -> bool:
    """Tell whether a process is there and has not ended."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:  # there, and somebody else's
        return True


def find(data_dir: Path) -> RunningServer | None:
    """Find the server that runs on a data folder.

    Args:
        data_dir: The folder.

    Returns:
        The server, or None where none answers.
    """
    try:
        # Any JSON may stand there; what does not fit raises one of the errors below.
        record: Any = json.loads((data_dir / "server.json").read_text(encoding="utf-8"))
        url, pid, version = str(record["url"]), int(record["pid"]), str(record["version"])
        token = (data_dir / "token").read_text(encoding="utf-8").strip()
    except (OSError, ValueError, TypeError, KeyError):
        return None
    if not process_is_alive(pid) or not _answers(url):
        return None
    return RunningServer(url, pid, version, token)


def ensure(data_dir: Path, *, timeout: float = config.SERVER_START_TIMEOUT) -> RunningServer:
    """Find the server that runs on a data folder, or start it.

    Threads, processes and machines that share the folder may do so at once: they end up with one
    server.

    Args:
        data_dir: The folder; made if it is not there.
        timeout: Seconds that all of it may take.

    Returns:
        A server that accepts calls.

    Raises:
        ServerStartError: No server could be started.
    """
    if server := find(data_dir):
        return server
    deadline = time.monotonic() + timeout
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Not the server's own lock: this one only keeps a crowd of scripts from starting a server
        # each, of which all but one would end again.
        with filelock.FileLock(data_dir / "start.lock", timeout=timeout):
            return find(data_dir) or _start(data_dir, config.idle_timeout(), deadline)
    except filelock.Timeout as error:
        raise _failure(
            data_dir, f"another program has been starting it for {timeout:g} s"
        ) from error
    except OSError as error:
        hint = f"set {config.DATA_DIR_VARIABLE} to a folder that you may write to"
        raise _failure(data_dir, f"its data folder can't be used ({error}): {hint}") from error


def start(
    data_dir: Path,
    *,
    idle_timeout: float | None = None,
    timeout: float = config.SERVER_START_TIMEOUT,
) -> RunningServer:
    """Start a server on a data folder that has none.

    Args:
        data_dir: The folder, which must exist.
        idle_timeout: Seconds without use after which it shall stop. Default: the server's.
        timeout: Seconds until it must accept calls.

    Returns:
        The server.

    Raises:
        ServerStartError: It did not start.
    """
    return _start(data_dir, idle_timeout, time.monotonic() + timeout)


def _start(data_dir: Path, idle_timeout: float | None, deadline: float) -> RunningServer:
    process = _spawn(data_dir, idle_timeout)
    while (server := find(data_dir)) is None:
        code = process.poll()
        if code == EXIT_USAGE and (told := _last_words(data_dir)):
            message = f"The embedded server did not start: {told}\n\nIts log is {_log(data_dir)}."
            raise ServerStartError(message)
        if code not in {None, EXIT_ALREADY_RUNNING}:
            raise _failure(data_dir, f"its process ended with exit code {code}")
        if time.monotonic() > deadline:
            process.kill()
            raise _failure(data_dir, "it did not answer in time")
        if code == EXIT_ALREADY_RUNNING:
            # Another one holds the folder and does not answer: it is just starting, or just ending.
            # In the second case it needs a successor.
            time.sleep(10 * POLL_SECONDS)
            process = _spawn(data_dir, idle_timeout)
        time.sleep(POLL_SECONDS)
    return server


def _spawn(data_dir: Path, idle_timeout: float | None) -> subprocess.Popen[bytes]:
    """Start the server's program, detached: it must survive this script and its terminal."""
    if not sys.executable:
        raise _failure(data_dir, "this Python does not know its own program (sys.executable)")
    command = [sys.executable, "-m", "aiauto.server", "--data-dir", str(data_dir)]
    if idle_timeout is not None:
        command += ["--idle-timeout", f"{idle_timeout:g}"]
    # What addresses another server must not reach this one's workers.
    variables = {config.BASE_URL_VARIABLE, config.TOKEN_VARIABLE}
    environment = {name: value for name, value in os.environ.items() if name not in variables}
    with _log(data_dir).open("ab") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # Python looks for modules in the current folder first, and a script's folder may hold
            # anything.
            cwd=data_dir,
            env=environment,
            start_new_session=True,
        )
    # Takes the exit status when the server ends, so that it does not stay as a zombie which looks
    # alive to everybody.
    threading.Thread(target=process.wait, name="aiauto-server-exit", daemon=True).start()
    return process


def _answers(url: str) -> bool:
    parts = urlsplit(url)
    # Loopback needs no proxy, and http.client uses none.
    connection = http.client.HTTPConnection(
        parts.hostname or "", parts.port, timeout=config.SERVER_PROBE_TIMEOUT
    )
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _failure(data_dir: Path, reason: str) -> ServerStartError:
    log, lines = _log(data_dir), _logged(data_dir)[-LOG_TAIL_LINES:]
    tail = f"\n\nThe end of {log}:\n\n" + "\n".join(lines) if lines else ""
    return ServerStartError(f"The embedded server did not start: {reason}.{tail}")


def _last_words(data_dir: Path) -> str:
    return next((line for line in reversed(_logged(data_dir)) if line.strip()), "")


def _logged(data_dir: Path) -> list[str]:
    try:
        return _log(data_dir).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _log(data_dir: Path) -> Path:
    return data_dir / "server.log"
