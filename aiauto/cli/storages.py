"""Optuna storages by the words that Optuna has for them, and the way of a study into one."""

from __future__ import annotations

import contextlib
import json
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from aiauto.cli.exits import USAGE, fail

if TYPE_CHECKING:
    from collections.abc import Generator

    from optuna.storages import BaseStorage

# What Optuna's own pages call such files. It takes any file that is there for one.
JOURNAL_ENDINGS = frozenset({".journal", ".log"})
REDIS_SCHEMES = ("redis://", "rediss://")
# The first entry of a journal makes a study, and is short.
FIRST_ENTRY_BYTES = 2**16
# What to do where a driver is missing, by the module that SQLAlchemy or Optuna looks for.
DRIVERS = {
    "psycopg2": "write postgresql+psycopg://… and pip install 'aiauto-client[postgres]'",
    "psycopg": "pip install 'aiauto-client[postgres]'",
    "MySQLdb": "write mysql+pymysql://… and pip install pymysql",
}


def copy(source: BaseStorage, study_name: str, place: str, to_study: str) -> int:
    """Copy a study into another storage, with all that Optuna knows of it.

    Args:
        source: Where it is.
        study_name: Its name there.
        place: The other storage: a URL, or the path of a journal file.
        to_study: Its name in that.

    Returns:
        How many trials it has.

    Raises:
        typer.Exit: It was not copied, which has been said.
    """
    import optuna  # noqa: PLC0415 - it takes a second
    from sqlalchemy.exc import ArgumentError, SQLAlchemyError  # noqa: PLC0415 - as above

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    unusable: tuple[type[Exception], ...] = (
        SQLAlchemyError,
        optuna.exceptions.StorageInternalError,
        ValueError,
        *_errors_of_redis(),
    )
    told = without_password(place)
    try:
        with _opened(place) as target:
            return _copied(source, study_name, target, to_study)
    except optuna.exceptions.DuplicatedStudyError:
        raise fail(
            f"{told} has a study {to_study!r} already: name another with --to-study."
        ) from None
    except ArgumentError as error:  # the URL itself
        raise fail(f"{told} is no storage that Optuna knows: {_reason(error)}", USAGE) from None
    except ImportError as error:
        raise fail(f"{told} needs a package that is not installed: {_driver(error)}.") from None
    except unusable as error:
        raise fail(f"{told} can't be used as an Optuna storage: {_reason(error)}") from None


def _copied(source: BaseStorage, study_name: str, target: BaseStorage, to_study: str) -> int:
    found = source.get_study_id_from_name(study_name)
    made = target.create_new_study(source.get_study_directions(found), to_study)
    try:
        for key, value in source.get_study_system_attrs(found).items():
            target.set_study_system_attr(made, key, value)
        for key, value in source.get_study_user_attrs(found).items():
            target.set_study_user_attr(made, key, value)
        trials = source.get_all_trials(found, deepcopy=False)
        for trial in trials:
            target.create_new_trial(made, template_trial=trial)
    except BaseException:
        # Half a study would pass for a whole one, and be in the way of the next try.
        with contextlib.suppress(Exception):
            target.delete_study(made)
        raise
    return len(trials)


@contextlib.contextmanager
def _opened(place: str) -> Generator[BaseStorage]:
    """A storage, without its connections afterwards."""
    from optuna.storages import JournalStorage, RDBStorage  # noqa: PLC0415 - it takes a second

    if "://" not in place:
        yield _journal(Path(place))
    elif place.startswith(REDIS_SCHEMES):
        from optuna.exceptions import ExperimentalWarning  # noqa: PLC0415 - as above
        from optuna.storages.journal import JournalRedisBackend  # noqa: PLC0415 - as above

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            backend = JournalRedisBackend(place)
        yield JournalStorage(backend)
    else:
        storage = RDBStorage(place)
        try:
            yield storage
        finally:
            storage.remove_session()
            storage.engine.dispose()


def _journal(file: Path) -> BaseStorage:
    """Optuna's journal in a file, which is made if need be.

    Raises:
        ValueError: The file is something else. Optuna would write into it all the same.
    """
    from optuna.storages import JournalStorage  # noqa: PLC0415 - it takes a second
    from optuna.storages.journal import (  # noqa: PLC0415 - as above
        JournalFileBackend,
        JournalFileOpenLock,
    )

    if file.exists():
        with file.open("rb") as opened:
            first = opened.readline(FIRST_ENTRY_BYTES)
        if first.startswith(b"SQLite format 3\0"):
            message = f"it is an SQLite database: write sqlite:///{file}"
            raise ValueError(message)
        if first and not _is_entry(first):
            message = "it is a file of another kind"
            raise ValueError(message)
    # Windows lets only some users make the links that Optuna locks by elsewhere.
    lock = JournalFileOpenLock(str(file)) if os.name == "nt" else None
    return JournalStorage(JournalFileBackend(str(file), lock))


def _is_entry(line: bytes) -> bool:
    try:
        entry: object = json.loads(line)
    except ValueError:
        return False
    return isinstance(entry, dict) and "op_code" in entry


def without_password(place: str) -> str:
    """What names a storage, for everybody's eyes."""
    from sqlalchemy.engine import make_url  # noqa: PLC0415 - help needs none of it
    from sqlalchemy.exc import ArgumentError  # noqa: PLC0415 - as above

    if "://" not in place:
        return place
    try:
        return make_url(place).render_as_string(hide_password=True)
    except ArgumentError:
        return place.rpartition("@")[2]


def _reason(error: BaseException) -> str:
    # Optuna only supposes what the database has said.
    error = error.__cause__ or error
    return (str(error).splitlines() or [type(error).__name__])[0]


def _driver(error: ImportError) -> str:
    """What to do about a package that is missing. Optuna tells of it in an error of its own."""
    cause = error.__cause__ if isinstance(error.__cause__, ImportError) else error
    missing = (cause.name or "").partition(".")[0]
    return DRIVERS.get(missing, f"pip install {missing}" if missing else _reason(error))


def _errors_of_redis() -> tuple[type[Exception], ...]:
    try:
        from redis.exceptions import RedisError  # noqa: PLC0415 - few have it
    except ImportError:
        return ()
    return (RedisError,)
