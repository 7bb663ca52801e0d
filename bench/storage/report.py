"""What was measured, as a table for people and as JSON for programs."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict
from datetime import datetime, timezone
from statistics import median
from typing import TYPE_CHECKING, Any

from bench.storage.contest import ALONE, JOURNAL_FILE, PROXY, WORKERS
from bench.storage.environments import OPTUNA_PINS, RAY_PINS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.storage.contest import Measured

_HEADS = (
    "contestant",
    "trials/s, random",
    "/ gRPC, SQLite",
    "/ JournalFile",
    "trials/s, TPE",
    "/ gRPC, SQLite",
    "time / sampling alone",
    "trials",
)


def as_json(results: Mapping[str, Measured], environment: Mapping[str, object]) -> str:
    """Everything, every round included."""
    rounds = {name: asdict(found) for name, found in results.items()}
    return json.dumps({"environment": environment, "rounds": rounds}, indent=2) + "\n"


def as_table(results: Mapping[str, Measured]) -> str:
    """A Markdown table, with columns that line up in a terminal too."""
    lines = [_HEADS, *(_cells(name, found, results) for name, found in results.items())]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADS))]
    shown = [_line(line, widths) for line in lines]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([shown[0], _line(rule, widths), *shown[1:]]) + "\n"


def _cells(name: str, found: Measured, results: Mapping[str, Measured]) -> tuple[str, ...]:
    random, tpe = found.per_second["random"], found.per_second["tpe"]

    def ratio(sampler: str, to: str, *, of_times: bool = False) -> str:
        if to not in results:
            return ""
        own, other = found.per_second[sampler], results[to].per_second[sampler]
        pairs = zip(other, own, strict=True) if of_times else zip(own, other, strict=True)
        return f"{median(one / another for one, another in pairs):.2f}"

    return (
        name,
        f"{median(random):.1f}",
        ratio("random", PROXY),
        ratio("random", JOURNAL_FILE),
        f"{median(tpe):.1f}",
        ratio("tpe", PROXY),
        ratio("tpe", ALONE, of_times=True),
        str(found.trials),
    )


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = (
        cell.ljust(width) if number == 0 else cell.rjust(width)
        for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "| " + " | ".join([first, *others]) + " |"


def describe_environment(*, rounds: int, load: float, postgresql: str) -> dict[str, object]:
    """What was measured on what, as far as it matters.

    Args:
        rounds: How often each contestant was measured.
        load: The machine's load before it all began.
        postgresql: Version of PostgreSQL.
    """
    return {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "load_before": round(load, 1),
        "versions": [*dict.fromkeys([*OPTUNA_PINS, *RAY_PINS]), postgresql],
        "rounds": rounds,
    }


def explain(environment: Mapping[str, Any]) -> str:
    """Says in words what the table shows."""
    return (
        f"Medians of {environment['rounds']} rounds, in turns; {WORKERS} workers, while both run. "
        "Ratios are medians of the ratios in the same round. `time / sampling alone` is the time "
        "of a trial with TPE over that of the first line, with as many trials in the study; those "
        "that run fewer trials have less to sample from, and look better there than they are."
    )


def as_markdown(results: Mapping[str, Measured], environment: Mapping[str, Any]) -> str:
    """The report."""
    return (
        "# Storage benchmark\n\n"
        f"{as_table(results)}\n{explain(environment)}\n\n"
        f"{environment['date']}, Python {environment['python']}, {environment['system']}, load "
        f"{environment['load_before']} before. {', '.join(environment['versions'])}.\n\n"
        "Written by `python bench/storage/run.py`; [README](../../README.md) says how to read it.\n"
    )
