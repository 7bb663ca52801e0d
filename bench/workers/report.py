"""What was measured, as a table for people and as JSON for programs."""

from __future__ import annotations

import json
from importlib.metadata import version
from statistics import median
from typing import TYPE_CHECKING, Any

from bench import table
from bench.workers.measures import IMPORT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_HEADS = ("", "seconds", f"/ {IMPORT}")


def as_json(found: Mapping[str, Sequence[float]], environment: Mapping[str, object]) -> str:
    """Everything, every round included."""
    return json.dumps({"environment": environment, "seconds": found}, indent=2) + "\n"


def as_table(found: Mapping[str, Sequence[float]]) -> str:
    """A line for each."""
    return table.as_table(_HEADS, [_cells(name, found) for name in found])


def _cells(name: str, found: Mapping[str, Sequence[float]]) -> tuple[str, ...]:
    times = found[name]
    ratios = (one / other for one, other in zip(times, found[IMPORT], strict=True))
    return name, f"{median(times):.2f}", f"{median(ratios):.2f}"


def describe_environment(rounds: int, load: float) -> dict[str, object]:
    """What was measured on what, as far as it matters.

    Args:
        rounds: How often each was measured.
        load: The machine's load before it all began.
    """
    pins = [f"{name}=={version(name)}" for name in ("optuna", "cloudpickle", "aiohttp")]
    return {**table.machine(load), "rounds": rounds, "versions": pins}


def as_markdown(found: Mapping[str, Sequence[float]], environment: Mapping[str, Any]) -> str:
    """The report."""
    return table.as_markdown(
        "Workers benchmark",
        as_table(found),
        f"Medians of {environment['rounds']} rounds, in turns. From `optimize(objective, 1, 1)` on "
        "a server that has run a batch before to the end of the trial, with a new worker each "
        "time.",
        environment,
        "python bench/workers/run.py",
    )
