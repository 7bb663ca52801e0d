"""A PostgreSQL of the tests' own: a real one, on a socket in a folder that goes with it."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest
from sqlalchemy import create_engine, text

if TYPE_CHECKING:
    from collections.abc import Generator

# Where Debian and others put programs that only an administrator of databases needs.
FOLDERS = ("/usr/lib/postgresql", "/usr/pgsql", "/opt/homebrew/opt", "/usr/local/opt")
START_SECONDS = 60
SUPERUSER = "aiauto"


class PostgreSQL:
    """A PostgreSQL. Made by `postgresql_server`.

    Attributes:
        folder: Where its data and its socket are.
    """

    def __init__(self, folder: Path, programs: Path, *, durable: bool = False) -> None:
        self.folder = folder
        self._durable = durable
        self._programs = programs
        self._process: subprocess.Popen[bytes] | None = None
        self._uid, self._gid = _ids()

    def initialize(self) -> None:
        """Make its folder of data."""
        if self._uid is not None and self._gid is not None:
            os.chown(self.folder, self._uid, self._gid)
        self._run(
            "initdb",
            "--no-sync",
            "--encoding=UTF8",
            "--locale=C",
            "--auth=trust",
            f"--username={SUPERUSER}",
            f"--pgdata={self.folder / 'data'}",
        )

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = ["-D", "data", "-k", str(self.folder), "-c", "listen_addresses="]
        if not self._durable:
            options.append("-F")  # without fsync
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._programs / "postgres"), *options],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                cwd=self.folder,
                user=self._uid,
                group=self._gid,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            assert self._process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, "PostgreSQL does not answer"
            time.sleep(0.05)

    def stop(self, *, kill: bool = False) -> None:
        """End it: in order, with its connections, or as a crash does."""
        if self._process is None:
            return
        if kill:
            self._run("pg_ctl", "stop", "-D", str(self.folder / "data"), "-m", "immediate")
        else:
            # A "fast" shutdown: clients are cut off, nothing is lost.
            self._process.send_signal(signal.SIGINT)
        self._process.wait(START_SECONDS)
        self._process = None

    def url(self, database: str) -> str:
        """SQLAlchemy URL of a database."""
        return f"postgresql+psycopg://{SUPERUSER}@/{database}?host={self.folder}"

    def create_database(self) -> str:
        """Make an empty database.

        Returns:
            Its SQLAlchemy URL.
        """
        name = f"test_{uuid.uuid4().hex}"
        self._administer(f"CREATE DATABASE {name}")
        return self.url(name)

    def version(self) -> str:
        """Its name and version."""
        command = [str(self._programs / "postgres"), "--version"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return f"PostgreSQL=={done.stdout.split()[2]}"

    def _administer(self, statement: str) -> None:
        engine = create_engine(self.url("postgres"), isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                connection.execute(text(statement))
        finally:
            engine.dispose()

    def _answers(self) -> bool:
        command = [str(self._programs / "pg_isready"), "-q", "-h", str(self.folder)]
        return subprocess.run(command, check=False).returncode == 0

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), *arguments]
        done = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            cwd=self.folder,
            user=self._uid,
            group=self._gid,
        )
        assert done.returncode == 0, f"{program} failed:\n{done.stdout}{done.stderr}"


@contextlib.contextmanager
def postgresql_server(*, durable: bool = False) -> Generator[PostgreSQL]:
    """Run a PostgreSQL while the block runs. Skips the test where this machine has none.

    Args:
        durable: Whether it survives that somebody pulls the plug of the machine. No test does.
    """
    programs = _programs()
    # Its own user must be able to get there, and a socket's path has little room.
    with tempfile.TemporaryDirectory(prefix="aiauto-pg-", ignore_cleanup_errors=True) as name:
        server = PostgreSQL(Path(name), programs, durable=durable)
        server.initialize()
        server.start()
        try:
            yield server
        finally:
            server.stop()


def _programs() -> Path:
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    for folder in FOLDERS:
        for candidate in sorted(Path(folder).glob("*/bin/initdb"), reverse=True):
            return candidate.parent
    return _missing()


def _missing() -> NoReturn:
    reason = "PostgreSQL's programs (initdb, postgres) are not on this machine"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def _ids() -> tuple[int | None, int | None]:
    """Whom it runs as, where this is root: it refuses to be that."""
    if os.geteuid() != 0:
        return None, None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            return user.pw_uid, user.pw_gid
    return _missing()
