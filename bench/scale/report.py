"""What was measured, as tables for people and as JSON for programs."""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib.metadata import version
from statistics import median
from typing import TYPE_CHECKING, Any

from bench import table
from bench.scale.measures import TRIALS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.scale.measures import Crowd, Grown

_GROWN = (
    "trials in the study",
    "get_status",
    "new worker ready",
    "time of a trial",
    "/ first line",
    "server's memory",
    "worker's memory",
    "for the study",
)


def as_json(grown: Sequence[Grown], crowd: Crowd, environment: Mapping[str, object]) -> str:
    """Everything, every round included."""
    found = {"grown": [asdict(one) for one in grown], "crowd": asdict(crowd)}
    return json.dumps({"environment": environment, **found}, indent=2) + "\n"


def as_tables(grown: Sequence[Grown], crowd: Crowd) -> str:
    """One for the study that grows, one for the crowd."""
    first = table.as_table(_GROWN, [_cells(one, grown[0]) for one in grown])
    return f"{first}\n{table.as_table(('of many', ''), _crowd(crowd))}"


def _cells(one: Grown, first: Grown) -> tuple[str, ...]:
    return (
        str(one.trials),
        f"{1000 * one.status:.1f} ms",
        f"{one.ready:.2f} s",
        f"{1000 * one.per_trial:.1f} ms",
        f"{one.per_trial / first.per_trial:.2f}",
        _mebibytes(one.server_memory),
        _mebibytes(one.worker_memory),
        _mebibytes(one.worker_added),
    )


def _crowd(crowd: Crowd) -> list[tuple[str, str]]:
    ratios = (one / another for one, another in zip(crowd.watched, crowd.alone, strict=True))
    return [
        (f"list of {crowd.studies} studies", f"{1000 * crowd.listing:.1f} ms"),
        ("the same with the best trial of each", f"{1000 * crowd.best:.1f} ms"),
        ("get_status of one of them", f"{1000 * crowd.status:.1f} ms"),
        ("new worker of one of them ready", f"{crowd.ready:.2f} s"),
        (f"trials/s that {crowd.watchers} clients watch", f"{median(crowd.watched):.1f}"),
        ("/ trials/s that none of them watches", f"{median(ratios):.2f}"),
        ("messages to each of them", f"{median(crowd.messages):.0f}"),
    ]


def _mebibytes(count: int) -> str:
    return f"{count / 2**20:.0f} MiB"


def describe_environment(load: float) -> dict[str, object]:
    """What was measured on what, as far as it matters.

    Args:
        load: The machine's load before it all began.
    """
    pins = [f"{name}=={version(name)}" for name in ("optuna", "sqlalchemy", "aiohttp")]
    return {**table.machine(load), "versions": pins}


def as_markdown(grown: Sequence[Grown], crowd: Crowd, environment: Mapping[str, Any]) -> str:
    """The report."""
    return table.as_markdown(
        "Scale benchmark",
        as_tables(grown, crowd),
        f"Batches of {TRIALS} trials with RandomSampler, one server on SQLite. A new worker is "
        "ready when its first trial has begun, its imports aside. Times are medians.",
        environment,
        "python bench/scale/run.py",
    )
