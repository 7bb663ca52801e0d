"""What was measured, as a table for people and as JSON for programs."""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from bench import table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.kubernetes.measures import Cost

_HEADS: Final = (
    "",
    "trials",
    "Pods made",
    "requirements installed",
    "images pulled",
    "API calls",
    "API calls a minute",
    "seconds",
    "ms a trial",
)


def as_json(found: Sequence[Cost], environment: Mapping[str, object]) -> str:
    """Everything."""
    costs = [asdict(cost) for cost in found]
    return json.dumps({"environment": environment, "costs": costs}, indent=2) + "\n"


def as_table(found: Sequence[Cost]) -> str:
    """A line for each."""
    return table.as_table(_HEADS, [_cells(cost) for cost in found])


def _cells(cost: Cost) -> tuple[str, ...]:
    return (
        cost.name,
        str(cost.trials),
        str(cost.pods),
        str(cost.installs),
        str(cost.pulls),
        str(cost.calls),
        "" if cost.calls_a_minute is None else f"{cost.calls_a_minute:.0f}",
        f"{cost.seconds:.1f}",
        f"{1000 * cost.seconds / cost.trials:.0f}",
    )


def describe_environment(load: float) -> dict[str, object]:
    """What was measured on what, as far as it matters.

    Args:
        load: The machine's load before it all began.
    """
    pins = [f"{name}=={version(name)}" for name in ("optuna", "kubernetes-asyncio", "aiohttp")]
    return {**table.machine(load), "versions": pins}


def as_markdown(found: Sequence[Cost], environment: Mapping[str, Any]) -> str:
    """The report."""
    return table.as_markdown(
        "Kubernetes benchmark",
        as_table(found),
        "On the cluster of the tests, whose one node runs containers as processes of this machine "
        "and keeps images once it has pulled them; all that workers need but the objective's "
        "requirements is in the image. API calls are "
        "those of the server; a minute of them is one in which a batch of two long trials runs. "
        "Where each trial has a Pod, all of this is as many times as there are trials, so fewer "
        "were run.",
        environment,
        "python bench/kubernetes/run.py",
    )
