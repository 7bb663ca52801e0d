"""What the command prints: tables for people, lines for pipes, JSON for scripts."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Annotated, TypeAlias, cast

import typer

from aiauto.cli.exits import FAILURE, USAGE, fail

JsonOption: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print JSON, for scripts, in place of a table.")
]
YesOption: TypeAlias = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]

Row: TypeAlias = Sequence[object]


def print_json(value: object) -> None:
    """Print a value as JSON. What no JSON has, such as infinity, becomes text."""
    print(json_text(value, sys.stdout.encoding, indent=2))


def print_json_line(value: object) -> None:
    """Print a value as JSON in one line, at once."""
    print(json_text(value, sys.stdout.encoding), flush=True)


def json_text(value: object, encoding: str, *, indent: int | None = None) -> str:
    """A value as JSON.

    Args:
        value: Whatever a trial may hold.
        encoding: What it will be written in. Where that lacks a character, as each lacks halves of
            surrogate pairs, all but ASCII is escaped.
        indent: Spaces for each level. Default: all in one line.
    """
    known = jsonable(value)
    text = json.dumps(known, indent=indent, ensure_ascii=False)
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return json.dumps(known, indent=indent)
    return text


def jsonable(value: object) -> object:
    """Bring a value into a form that every JSON reader understands.

    Args:
        value: Whatever a trial may hold.

    Returns:
        The same; numbers that are not finite as ``"inf"``, ``"-inf"`` and ``"nan"``, and what JSON
        does not know as its text.
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        pairs = cast("Mapping[object, object]", value)
        return {str(name): jsonable(one) for name, one in pairs.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(one) for one in cast("Sequence[object]", value)]
    return str(value)


def print_rows(
    columns: Sequence[str],
    rows: Sequence[Row],
    *,
    empty: str,
    times: Collection[str] = (),
    sizes: Collection[str] = (),
) -> None:
    """Print rows: as a table at a terminal, else as a line each with tabs between the columns.

    Args:
        columns: Their names. What is in the first names a row, so it is not broken over lines.
        rows: The rows.
        empty: What to tell people where there are none.
        times: Columns of times as the schema has them, which people read by their own clock.
        sizes: Columns of bytes, which people read in larger units.
    """
    if not sys.stdout.isatty():
        for row in [columns, *rows]:
            print("\t".join(_in_a_line(value) for value in row))
        return
    if not rows:
        print(empty)
        return
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415 - it takes its time
    from rich.console import Console  # noqa: PLC0415 - as above
    from rich.table import Table  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415 - as above

    table = Table(box=SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column == columns[0])

    def cell(column: str, value: object) -> Text:
        # Not as markup: a name may hold brackets.
        if column in times and value:
            return Text(local_time(str(value)))
        if column in sizes:
            return Text(size(int(str(value))))
        return Text(text_of(value))

    for row in rows:
        table.add_row(*(cell(column, value) for column, value in zip(columns, row, strict=True)))
    Console().print(table)


def print_facts(facts: Mapping[str, object]) -> None:
    """Print a line for each fact: its name and its value."""
    if not sys.stdout.isatty():
        for name, value in facts.items():
            print(f"{name}\t{_in_a_line(value)}")
        return
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        lines = text_of(value).splitlines() or [""]
        print(f"{name:<{width}}  " + f"\n{' ' * width}  ".join(lines))


def note(text: str) -> None:
    """Tell people something beside the data: on standard error, so that pipes stay clean."""
    print(text, file=sys.stderr)


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something is gone for good; ends the program where the answer is no.

    Args:
        question: What to ask.
        yes: Whether the user has said yes already.
    """
    if _is_to_be_asked(question, yes=yes) and not typer.confirm(question, err=True):
        raise fail("Nothing was done.", FAILURE)


def confirm_by_name(question: str, name: str, *, yes: bool) -> None:
    """Ask for the name of what is gone for good; ends the program where another one is typed.

    Args:
        question: What to ask.
        name: What has to be typed.
        yes: Whether the user has said yes already.
    """
    if not _is_to_be_asked(question, yes=yes):
        return
    typed: str = typer.prompt(f"{question} Type {name} to confirm", err=True)
    if typed != name:
        raise fail("Nothing was done.", FAILURE)


def _is_to_be_asked(question: str, *, yes: bool) -> bool:
    if not yes and not sys.stdin.isatty():
        raise fail(f"{question} Nobody is there to answer: pass --yes.", USAGE)
    return not yes


def text_of(value: object, *, exact: bool = False) -> str:
    """A value as text.

    Args:
        value: The value.
        exact: Whether numbers are written in full; people read six digits.
    """
    if value is None:
        return "" if exact else "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return repr(value) if exact else f"{value:.6g}"
    if isinstance(value, Mapping):
        pairs = cast("Mapping[object, object]", value)
        return ", ".join(f"{name}={text_of(one, exact=exact)}" for name, one in pairs.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(text_of(one, exact=exact) for one in cast("Sequence[object]", value))
    return str(value)


def size(count: float) -> str:
    """A number of bytes in a unit that people read."""
    *smaller, largest = ("B", "KiB", "MiB", "GiB", "TiB")
    for unit in smaller:
        if count < 1024:
            return f"{count:.1f} {unit}" if unit != "B" else f"{count} B"
        count /= 1024
    return f"{count:.1f} {largest}"


def local_time(text: str) -> str:
    """A time of the schema to the minute, by the clock of whoever reads it."""
    # Python 3.10 does not read the Z.
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return f"{moment.astimezone():%Y-%m-%d %H:%M}"


def _in_a_line(value: object) -> str:
    return " ".join(text_of(value, exact=True).split())
