"""`aiauto study export`: the trials of a study, elsewhere."""

from __future__ import annotations

import csv
import io
import json
import sys
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aiauto.cli import reach, records
from aiauto.cli.exits import USAGE, fail
from aiauto.cli.output import JsonOption, jsonable, note, print_json

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from optuna.storages import RDBStorage

    from aiauto.connection import Connection


class Format(str, Enum):
    """What a file is written as."""

    CSV = "csv"
    JSON = "json"


def export(
    name: Annotated[str, typer.Argument(help="Name of the study.")],
    to: Annotated[
        str,
        typer.Argument(
            help="A file ending in .csv or .json; - for standard output; or the URL of an Optuna "
            "storage, such as sqlite:///study.db."
        ),
    ],
    *,
    file_format: Annotated[
        Format | None, typer.Option("--format", help="What to write, if not by the file's ending.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a file that is there.")
    ] = False,
    to_study: Annotated[
        str | None, typer.Option(help="Name in the other storage. Default: the same.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write the trials of a study to a file, or copy the study into any Optuna storage.

    CSV has a column for each value, parameter and user attribute; JSON is that of `study trials`.
    A copy holds all that Optuna knows of the study, and a file of an artifact is not part of that.
    JSON of this command: {"study_name", "trials", "to"}.
    """
    found = reach.connection()
    study = reach.study(found, name)
    if "://" in to:
        count = _copy(found, name, to, to_study or name)
        to = _without_password(to)
    else:
        kind = file_format or _format_of(to)
        trials = [records.trial(one) for one in study.trials]
        count = len(trials)
        text = _csv(trials) if kind is Format.CSV else _json(trials)
        if to == "-":
            sys.stdout.write(text)
            return
        path = Path(to)
        if path.exists() and not overwrite:
            raise fail(f"{to} exists already: pass --overwrite to replace it.")
        path.write_text(text, encoding="utf-8", newline="")
    if as_json:
        print_json({"study_name": name, "trials": count, "to": to})
    else:
        note(f"{records.trials(count)} of study {name!r} went to {to}.")


def _format_of(to: str) -> Format:
    ending = Path(to).suffix.lower()
    if to == "-" or ending not in {".csv", ".json"}:
        raise fail(f"{to} does not say what to write: pass --format csv or --format json.", USAGE)
    return Format(ending[1:])


def _json(trials: list[dict[str, Any]]) -> str:
    return json.dumps(jsonable(trials), indent=2, ensure_ascii=False) + "\n"


def _csv(trials: list[dict[str, Any]]) -> str:
    """One row a trial, its values, parameters and attributes in columns of their own."""
    rows = [_flat(one) for one in trials]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    file = io.StringIO()
    writer = csv.DictWriter(file, sorted(columns, key=_place), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def _flat(one: dict[str, Any]) -> dict[str, object]:
    values: Sequence[float] = one["values"] or []
    return {
        "number": one["number"],
        "state": one["state"],
        "datetime_start": one["datetime_start"],
        "datetime_complete": one["datetime_complete"],
        "duration": one["duration"],
        **{f"value_{index}": value for index, value in enumerate(values)},
        **{f"params_{key}": value for key, value in one["params"].items()},
        **{f"user_attrs_{key}": value for key, value in one["user_attrs"].items()},
    }


def _place(column: str) -> int:
    # Sorting is stable: within a group the columns stay in the order in which they first came.
    for place, start in enumerate(("number", "state", "value_", "params_", "date", "duration")):
        if column.startswith(start):
            return place
    return 6


def _copy(found: Connection, name: str, url: str, to_study: str) -> int:
    import optuna  # noqa: PLC0415 - it takes a second
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415 - help needs none of it

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    place = _without_password(url)
    try:
        with _database(url) as storage:
            optuna.copy_study(
                from_study_name=name,
                from_storage=found.storage(),
                to_storage=storage,
                to_study_name=to_study,
            )
            copied = optuna.load_study(study_name=to_study, storage=storage)
            return len(copied.get_trials(deepcopy=False))
    except optuna.exceptions.DuplicatedStudyError:
        raise fail(
            f"{place} has a study {to_study!r} already: name another with --to-study."
        ) from None
    except (SQLAlchemyError, ImportError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise fail(f"{place} can't be used as an Optuna storage: {reason}") from None


@contextmanager
def _database(url: str) -> Generator[RDBStorage]:
    """Optuna's storage at a URL, without its connections afterwards."""
    from optuna.storages import RDBStorage  # noqa: PLC0415 - it takes a second

    storage = RDBStorage(url)
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _without_password(url: str) -> str:
    from sqlalchemy.engine import make_url  # noqa: PLC0415 - help needs none of it
    from sqlalchemy.exc import ArgumentError  # noqa: PLC0415 - as above

    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return url.rpartition("@")[2]
