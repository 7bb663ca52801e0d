"""`aiauto study export`: the trials of a study, elsewhere."""

from __future__ import annotations

import csv
import io
import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aiauto.cli import reach, records, storages
from aiauto.cli.exits import USAGE, fail
from aiauto.cli.output import JsonOption, json_text, note, print_json
from aiauto.legible import legible
from aiauto.whole_file import whole_file

if TYPE_CHECKING:
    from collections.abc import Sequence


class Format(str, Enum):
    """What a file is written as."""

    CSV = "csv"
    JSON = "json"
    JOURNAL = "journal"


def export(
    name: Annotated[str, typer.Argument(help="Name of the study.")],
    to: Annotated[
        str,
        typer.Argument(
            help="A file ending in .csv or .json; - for standard output; or an Optuna storage: a "
            "URL such as sqlite:///study.db, postgresql+psycopg://…, mysql+pymysql://… or "
            "redis://…, or a journal file, which ends in .journal or .log."
        ),
    ],
    *,
    file_format: Annotated[
        Format | None, typer.Option("--format", help="What to write, if not by the file's ending.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a CSV or JSON file that is there.")
    ] = False,
    to_study: Annotated[
        str | None, typer.Option(help="Name in the other storage. Default: the same.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write the trials of a study to a file, or copy the study into any Optuna storage.

    CSV has a column for each value, parameter and user attribute; JSON is that of `study trials`.
    A copy holds all that Optuna knows of the study, and a file of an artifact is not part of that.
    Studies that are in that storage stay: one of the same name is an error (exit code 1), and so is
    a storage that can't be reached. One of a kind that Optuna does not know is wrong usage (2).
    JSON of this command: {"study_name", "trials", "to"}.
    """
    kind = None if "://" in to else file_format or _format_of(to)
    in_storage = kind in {None, Format.JOURNAL}
    if kind is None and file_format:
        raise fail("--format is for files: a URL says by itself what it leads to.", USAGE)
    if in_storage and (overwrite or to == "-"):
        raise fail("--overwrite and - are for CSV and JSON: a storage has other studies.", USAGE)
    if to_study and not in_storage:
        raise fail("--to-study names the study in another storage: files have no names.", USAGE)
    found = reach.connection()
    study = reach.study(found, name)
    if in_storage:
        count = storages.copy(found.storage(), name, to, to_study or name)
        to = storages.without_password(to)
    else:
        trials = [records.trial(one) for one in study.trials]
        count = len(trials)
        encoding = sys.stdout.encoding if to == "-" else "utf-8"
        text = _csv(trials) if kind is Format.CSV else _json(trials, encoding)
        if to == "-":
            sys.stdout.write(text)
            return
        path = Path(to)
        if path.exists() and not overwrite:
            raise fail(f"{to} exists already: pass --overwrite to replace it.")
        _write(path, text.encode())
    if as_json:
        print_json({"study_name": name, "trials": count, "to": to})
    else:
        note(f"{records.trials(count)} of study {name!r} went to {to}.")


def _write(path: Path, content: bytes) -> None:
    if path.is_symlink() or (path.exists() and not path.is_file()):
        # Links and devices stay what they are.
        path.write_bytes(content)
        return
    with whole_file(path) as file:
        file.write(content)


def _format_of(to: str) -> Format:
    ending = Path(to).suffix.lower()
    if ending in {".csv", ".json"}:
        return Format(ending[1:])
    # Optuna takes any file that is there for a journal.
    if ending in storages.JOURNAL_ENDINGS or Path(to).is_file():
        return Format.JOURNAL
    kinds = "csv or json" if to == "-" else "csv, json or journal"
    raise fail(f"{to} does not say what to write: pass --format, which may be {kinds}.", USAGE)


def _json(trials: list[dict[str, Any]], encoding: str) -> str:
    return json_text(trials, encoding, indent=2) + "\n"


def _csv(trials: list[dict[str, Any]]) -> str:
    """One row a trial, its values, parameters and attributes in columns of their own."""
    rows = [_flat(one) for one in trials]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    file = io.StringIO()
    writer = csv.DictWriter(file, sorted(columns, key=_place), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return legible(file.getvalue())


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
