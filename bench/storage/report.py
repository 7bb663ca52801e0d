"""What was measured, as a table for people and as JSON for programs."""

from __future__ import annotations

import json
from dataclasses import asdict
from statistics import median
from typing import TYPE_CHECKING, Any

from bench import table
from bench.storage.contest import ALONE, JOURNAL_FILE, PROXY, WORKERS
from bench.storage.environments import OPTUNA_PINS, RAY_PINS

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    """A line for each contestant."""
    return table.as_table(_HEADS, [_cells(name, found, results) for name, found in results.items()])


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


def describe_environment(*, rounds: int, load: float, postgresql: str) -> dict[str, object]:
    """What was measured on what, as far as it matters.

    Args:
        rounds: How often each contestant was measured.
        load: The machine's load before it all began.
        postgresql: Version of PostgreSQL.
    """
    return {
        **table.machine(load),
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
    return table.as_markdown(
        "Storage benchmark",
        as_table(results),
        explain(environment),
        environment,
        "python bench/storage/run.py",
    )
