"""A backup: one file with all that a server keeps, made while it runs, and brought back elsewhere.

::

    backup.json      what it is: {"version", "created_at", "database"}
    database         an SQLite file, or what `pg_dump` writes
    token, secret    of the data folder
    files/...        artifacts and shared caches

What workers have on this machine is not in it: a batch that was not over goes on with new ones.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import tarfile
import tempfile
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, inspect

from aiauto.errors import AIAutoError
from aiauto.server.data_dir import DataDir
from aiauto.server.database.opening import opening, url_of
from aiauto.server.files.store import TRASH, UPLOADS
from aiauto.version import __version__
from aiauto.whole_file import whole_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import URL

    from aiauto.server.settings import Settings

RECORD, DATABASE, FILES = "backup.json", "database", "files"
# Signed links and the token of this machine's user go on working where it is brought back.
KEPT = ("token", "secret")
# What is on its way or on its way out is nobody's yet, or no longer.
LEFT_OUT = frozenset({UPLOADS, TRASH})
# Characters in anything that a backup says of itself.
LONGEST_SAID = 100


class BackupError(AIAutoError):
    """A backup can't be made or brought back. The text says why and what to do."""


@dataclass(frozen=True)
class Backup:
    """What a backup says of itself.

    Attributes:
        version: The server that made it.
        created_at: RFC 3339 time.
        database: ``sqlite`` or ``postgresql``.
    """

    version: str
    created_at: str
    database: str


def create(settings: Settings, target: Path) -> Backup:
    """Make a backup. The server may run on.

    Args:
        settings: Of the server.
        target: The file to write. It appears when it is whole.

    Returns:
        What was written.

    Raises:
        BackupError: It can't be made.
    """
    data = DataDir(settings.data_dir)
    url = url_of(settings.database)
    if target.exists():
        message = f"{target} exists: name a new file, or remove it first."
        raise BackupError(message)
    if settings.database_url is None and not data.database.exists():
        message = f"There is nothing to back up: {data.path} has no database."
        raise BackupError(message)
    backup = Backup(
        version=__version__,
        created_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        database=url.get_backend_name(),
    )
    try:
        with (
            whole_file(target, private=True) as file,
            # Beside it, where there must be room anyway.
            tempfile.TemporaryDirectory(prefix=".aiauto-backup-", dir=target.parent) as name,
        ):
            folder = Path(name)
            (folder / RECORD).write_text(json.dumps(vars(backup)) + "\n", encoding="utf-8")
            # First: whatever it speaks of is among the files by now.
            _dump(url, folder / DATABASE)
            with tarfile.open(fileobj=file, mode="w") as archive:
                for path in (folder / RECORD, folder / DATABASE, *_kept(data)):
                    archive.add(path, arcname=path.name, filter=_anonymous)
                for path in _files(settings.files):
                    there = f"{FILES}/{path.relative_to(settings.files)}"
                    # Deleted in the meantime, by its user or as one of the worse trials.
                    with suppress(FileNotFoundError):
                        archive.add(path, arcname=there, recursive=False, filter=_anonymous)
    except OSError as error:
        message = f"The backup can't be written: {_reason(error)}."
        raise BackupError(message) from error
    except sqlite3.Error as error:
        message = f"The database {url.database} can't be copied to {target.parent}: {error}."
        raise BackupError(message) from error
    return backup


def restore(settings: Settings, source: Path) -> Backup:
    """Bring a backup back, into a data folder and a database that hold nothing yet.

    Args:
        settings: Of the server that shall have it. It must not run.
        source: The backup.

    Returns:
        What it says of itself.

    Raises:
        BackupError: It is no backup, or there is something in its place already.
        DatabaseError: The database that is to have it can't be used.
        AlreadyRunningError: A server holds the folder.
        DataDirError: The folder can't be used.
    """
    data = DataDir(settings.data_dir)
    url = url_of(settings.database)
    with data.held(), tempfile.TemporaryDirectory(prefix="restore-", dir=data.path) as name:
        folder = Path(name)
        backup = _unpack(source, folder)
        if backup.database != url.get_backend_name():
            message = (
                f"The backup is of a {backup.database} database, and this server is to use "
                f"{url.get_backend_name()}: set AIAUTO_DATABASE_URL accordingly."
            )
            raise BackupError(message)
        _require_empty(settings, url)
        try:
            _put_in_place(folder, data, settings.files, url)
        except OSError as error:
            message = f"{source} can't be brought back: {_reason(error)}. All is as it was."
            raise BackupError(message) from error
    return backup


def _put_in_place(folder: Path, data: DataDir, files: Path, url: URL) -> None:
    """Put what was unpacked where a server looks for it: all of it, or nothing."""
    with ExitStack() as undoing:
        if (folder / FILES).exists():
            undoing.callback(shutil.rmtree, files, ignore_errors=True)
            files.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # It may be on another disk.
            shutil.move(folder / FILES, files)
        # After what may lack the room: the database is what tells a server what else is there.
        _load(url, folder / DATABASE)
        undoing.pop_all()
    for kept in KEPT:
        if (folder / kept).exists():
            (folder / kept).replace(data.path / kept)


def _kept(data: DataDir) -> Iterator[Path]:
    return (data.path / name for name in KEPT if (data.path / name).exists())


def _files(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        if Path(folder).parent == root:
            folders[:] = [name for name in folders if name not in LEFT_OUT]
        yield Path(folder)
        # Links are no files: they lead elsewhere, and workers may have made them.
        yield from (path for name in names if not (path := Path(folder, name)).is_symlink())


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Leaves out whose files they are here; and pipes, which would be waited for."""
    if not (member.isfile() or member.isdir()):
        return None
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode = 0o700 if member.isdir() else 0o600
    return member


def _unpack(source: Path, folder: Path) -> Backup:
    if not hasattr(tarfile, "data_filter"):
        message = "This Python can't unpack safely: use 3.10.12, 3.11.4 or any newer one."
        raise BackupError(message)
    try:
        with tarfile.open(source, mode="r:") as archive:
            for member in archive:
                if not _belongs(member):
                    message = f"{source} is no backup of aiauto: it holds {member.name[:100]!r}."
                    raise BackupError(message)
                # No ways out of the folder, and no rights that nobody should have.
                archive.extract(member, folder, filter="data")
        if not (folder / DATABASE).exists():
            message = f"{source} is no backup of aiauto: it holds no {DATABASE}."
            raise BackupError(message)
        record: Any = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        return Backup(*(_short(record[name]) for name in ("version", "created_at", "database")))
    except FileNotFoundError as error:
        message = f"{source} can't be read: there is no {error.filename}."
        raise BackupError(message) from error
    except OSError as error:
        message = f"{source} can't be unpacked in {folder.parent}: {_reason(error)}."
        raise BackupError(message) from error
    except _DAMAGES as error:
        message = f"{source} is no backup of aiauto, or a damaged one: {error}."
        raise BackupError(message) from error


def _reason(error: OSError) -> str:
    """Why something could not be written, and what."""
    if isinstance(error, shutil.Error):
        # It lists all files of a folder that could not be copied, and why.
        return str(error.args[0][0][-1])
    what = f" ({str(error.filename)!r})" if error.filename else ""
    return f"{error.strerror or error}{what}"


def _shown(text: str) -> str:
    """What a program says of a database that anybody may have made, without orders to terminals."""
    return "".join(char if char.isprintable() or char == "\n" else "?" for char in text)


def _short(said: object) -> str:
    """What a record says, which people read in messages."""
    if not isinstance(said, str) or not said.isprintable() or len(said) > LONGEST_SAID:
        message = f"its {RECORD} says what no server has written there"
        raise ValueError(message)
    return said


# What reading an archive and its record raises where they are not what `create` has written.
_DAMAGES = (
    EOFError,
    KeyError,
    OverflowError,
    RecursionError,
    TypeError,
    ValueError,
    tarfile.TarError,
)


def _belongs(member: tarfile.TarInfo) -> bool:
    """Whether a backup has such a thing. It has no links: what they name is somebody else's."""
    name, _, below = member.name.partition("/")
    if name == FILES:
        return member.isdir() or (bool(below) and member.isfile())
    return member.name in {RECORD, DATABASE, *KEPT} and member.isfile()


def _require_empty(settings: Settings, url: URL) -> None:
    if url.get_backend_name() == "sqlite":
        taken = url.database is not None and Path(url.database).stat().st_size > 0
    else:
        with opening(url):
            engine = create_engine(url)
            try:
                taken = bool(inspect(engine).get_table_names())
            finally:
                engine.dispose()
    if taken or settings.files.exists():
        folder = settings.data_dir if settings.files_dir is None else settings.files
        place = folder if url.get_backend_name() == "sqlite" else f"{folder}, or {url!r}"
        message = f"{place} holds studies already, which would be lost: name an empty one."
        raise BackupError(message)


def _dump(url: URL, target: Path) -> None:
    """Copy a database as it is at one moment."""
    if url.get_backend_name() == "sqlite":
        with (
            closing(sqlite3.connect(_read_only(Path(str(url.database))), uri=True)) as source,
            closing(sqlite3.connect(target)) as copy,
        ):
            source.backup(copy)
        return
    _run_postgresql(url, "pg_dump", "--format=custom", f"--file={target}", "--dbname={database}")


def _load(url: URL, source: Path) -> None:
    if url.get_backend_name() == "sqlite":
        _check_sqlite(source)
        with source.open("rb") as file, whole_file(Path(str(url.database)), private=True) as copy:
            shutil.copyfileobj(file, copy)
        return
    options = ("--no-owner", "--exit-on-error", "--single-transaction")
    _run_postgresql(url, "pg_restore", *options, "--dbname={database}", str(source))


def _check_sqlite(file: Path) -> None:
    try:
        with closing(sqlite3.connect(_read_only(file) + "&immutable=1", uri=True)) as database:
            (found,) = database.execute("PRAGMA quick_check(1)").fetchone()
    except UnicodeDecodeError:
        found = "what it says of its tables is no text"
    except sqlite3.Error as error:
        found = str(error)
    if found != "ok":
        message = f"The database in the backup is damaged: {_shown(found)}."
        raise BackupError(message)


def _read_only(file: Path) -> str:
    return f"{file.absolute().as_uri()}?mode=ro"


def _run_postgresql(url: URL, program: str, *arguments: str) -> None:
    found = shutil.which(program)
    if found is None:
        message = f"{program} is not on this machine: install PostgreSQL's client programs."
        raise BackupError(message)
    # Everybody on the machine sees the arguments of programs.
    database = url.set(drivername="postgresql", password=None).render_as_string()
    password = {} if url.password is None else {"PGPASSWORD": url.password}
    done = subprocess.run(
        [found, *(one.replace("{database}", database) for one in arguments)],
        env={**os.environ, **password},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        message = f"{program} failed: {_shown(done.stderr.strip())}"
        raise BackupError(message)
