"""What workers print, at a terminal."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from aiauto.cli.output import print_json_line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiauto.logs import LogLine

FollowOption: TypeAlias = Annotated[
    bool, typer.Option("--follow", "-f", help="Go on, as lines are printed, to the end.")
]
TrialOption: TypeAlias = Annotated[
    int | None, typer.Option(min=0, help="Only the lines of this trial, by its number.")
]


def print_lines(lines: Iterable[LogLine], *, as_json: bool) -> None:
    """Print lines as they come: their text, or JSON, an object a line."""
    for line in lines:
        if as_json:
            print_json_line(asdict(line))
        else:
            print(line.text, flush=True)
