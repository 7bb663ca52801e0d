"""The folder in which a server keeps everything, and the names of what is in it.

::

    server.json   where the running server is: {"url", "pid", "version", "started_at"}
    server.lock   held by the running server for its life
    server.log    what an embedded server logs; written by whoever started it
    token         the token of this machine's user
    secret        what sessions and log-in links are signed with
    port          the port of last time
    worker_port   the port of last time for workers of a server that speaks HTTPS
    aiauto.sqlite3   the database, unless another one was chosen
    batches/<batch>/<worker>/       where a worker runs
    batches/<batch>/<worker>.log    what it printed outside of trials
    batches/<batch>/<worker>.json   which process it is
    files/<workspace>/              artifacts and shared cache, see `aiauto.server.files.store`
"""

from __future__ import annotations

import contextlib
import json
import secrets
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import filelock

from aiauto.errors import AIAutoError
from aiauto.whole_file import whole_file

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

SECRET_BYTES = 32


@dataclass(frozen=True)
class ServerState:
    """Where a server is, as other programs read it.

    Attributes:
        url: Its address on this machine.
        pid: Its process.
        version: Its version.
        started_at: RFC 3339 time of its start.
    """

    url: str
    pid: int
    version: str
    started_at: str


class DataDirError(AIAutoError):
    """The data folder can't be used. The text says why and what to do."""


class AlreadyRunningError(AIAutoError):
    """Another server holds the data folder. The text says which."""


class DataDir:
    """The folder in which a server keeps everything.

    Attributes:
        path: The folder. Absolute.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def batches(self) -> Path:
        """Folder with a folder for each batch that ran on this machine."""
        return self.path / "batches"

    @property
    def files(self) -> Path:
        """Folder with a folder of files for each workspace."""
        return self.path / "files"

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.path / "aiauto.sqlite3"

    @contextlib.contextmanager
    def held(self) -> Generator[None]:
        """Hold the folder: make it if need be, and keep other servers off it.

        Raises:
            DataDirError: The folder can't be made or written to.
            AlreadyRunningError: Another server holds it.
        """
        with contextlib.ExitStack() as stack:
            try:
                self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
                lock = filelock.FileLock(self.path / "server.lock", timeout=0, thread_local=False)
                stack.enter_context(lock)
                self.batches.mkdir(mode=0o700, exist_ok=True)
                # SQLite gives the files beside its database the same mode.
                self.database.touch(mode=0o600)
            except filelock.Timeout as error:
                raise AlreadyRunningError(self._who_runs()) from error
            except OSError as error:
                message = (
                    f"The data folder {self.path} can't be used: {error.strerror or error}. Name a "
                    "folder that you may write to, with --data-dir or AIAUTO_DATA_DIR."
                )
                raise DataDirError(message) from error
            yield

    def _who_runs(self) -> str:
        state = self.read_state()
        if state is None:
            return (
                f"Another aiauto server is just starting or stopping on {self.path}. Wait a moment "
                "and try again, or name another folder with --data-dir."
            )
        return (
            f"An aiauto server already runs on {self.path}: {state.url} (process {state.pid}, "
            f"version {state.version}). Use that one (its token is in {self.path / 'token'}), end "
            f"it first (kill {state.pid}), or name another folder with --data-dir."
        )

    def read_state(self) -> ServerState | None:
        """Where the running server is, or where one was that did not end cleanly."""
        try:
            # Any JSON may stand there; what does not fit raises one of the errors below.
            record: Any = json.loads((self.path / "server.json").read_text(encoding="utf-8"))
            return ServerState(
                url=str(record["url"]),
                pid=int(record["pid"]),
                version=str(record["version"]),
                started_at=str(record["started_at"]),
            )
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def write_state(self, state: ServerState) -> None:
        """Tell other programs where this server is. It must accept calls by now."""
        write_private(self.path / "server.json", json.dumps(asdict(state)) + "\n")

    def remove_state(self) -> None:
        """Tell other programs that no server is here any more."""
        (self.path / "server.json").unlink(missing_ok=True)

    @property
    def token(self) -> str | None:
        """The token of this machine's user, kept between runs; None where there is none yet."""
        return _read(self.path / "token")

    @token.setter
    def token(self, token: str) -> None:
        write_private(self.path / "token", token + "\n")

    @property
    def last_port(self) -> int | None:
        """The port of last time: links and scripts that know it go on working."""
        return _read_port(self.path / "port")

    @last_port.setter
    def last_port(self, port: int) -> None:
        write_private(self.path / "port", f"{port}\n")

    @property
    def last_worker_port(self) -> int | None:
        """The port of last time for workers: those that a killed server left look for it there."""
        return _read_port(self.path / "worker_port")

    @last_worker_port.setter
    def last_worker_port(self, port: int) -> None:
        write_private(self.path / "worker_port", f"{port}\n")

    def secret(self) -> bytes:
        """What sessions and log-in links are signed with; made on first use."""
        path = self.path / "secret"
        text = _read(path)
        if text is None or len(text) != 2 * SECRET_BYTES:
            text = secrets.token_hex(SECRET_BYTES)
            write_private(path, text + "\n")
        return bytes.fromhex(text)


def write_private(path: Path, text: str) -> None:
    """Write a file that only this user may read. Readers see the old text or the new one."""
    with whole_file(path, private=True) as file:
        file.write(text.encode())


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def _read_port(path: Path) -> int | None:
    text = _read(path)
    return int(text) if text and text.isdecimal() and 0 < int(text) <= 65535 else None
