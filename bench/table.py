"""Reports of all benchmarks: tables, and what they were measured on."""

from __future__ import annotations

import os
import platform
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["as_markdown", "as_table", "machine"]


def as_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, with columns that line up in a terminal too."""
    lines = [heads, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    shown = [_line(line, widths) for line in lines]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([shown[0], _line(rule, widths), *shown[1:]]) + "\n"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = (
        cell.ljust(width) if number == 0 else cell.rjust(width)
        for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "| " + " | ".join([first, *others]) + " |"


def machine(load: float) -> dict[str, object]:
    """What was measured on, as far as it matters, and when.

    Args:
        load: The machine's load before it all began.
    """
    return {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "load_before": round(load, 1),
    }


def as_markdown(
    title: str, table: str, explanation: str, environment: Mapping[str, Any], command: str
) -> str:
    """The report.

    Args:
        title: Its title.
        table: As `as_table` makes it.
        explanation: What the table shows, in words.
        environment: What `machine` tells, and `versions`.
        command: What wrote it.
    """
    return (
        f"# {title}\n\n"
        f"{table}\n{explanation}\n\n"
        f"{environment['date']}, Python {environment['python']}, {environment['system']}, load "
        f"{environment['load_before']} before. {', '.join(environment['versions'])}.\n\n"
        f"Written by `{command}`; [README](../../README.md) says how to read it.\n"
    )
