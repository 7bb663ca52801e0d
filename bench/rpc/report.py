"""What was measured, as a table for people and as JSON for programs."""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib.metadata import version
from statistics import median
from typing import TYPE_CHECKING, Any

from bench import table
from bench.rpc.contest import FLOOR, THROUGHPUT_IN_FLIGHT
from bench.rpc.environments import CONNECTRPC_PINS, GRPC_PINS
from bench.rpc.sides.message import SIZE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.rpc.contest import Measured

_HEADS = (
    "contestant",
    "p50",
    "p99",
    "p50 / floor",
    f"calls/s, {THROUGHPUT_IN_FLIGHT} in flight",
    "calls/s / floor",
    "CPU per call",
    "CPU / floor",
)


def rows(results: Mapping[str, Measured]) -> list[dict[str, Any]]:
    """The medians over the rounds, and the medians of the ratios in each round.

    Args:
        results: What was measured, by contestant. The floor is among them.
    """
    floor = results[FLOOR]
    return [
        {
            "contestant": name,
            "p50_us": median(found.p50_us),
            "p99_us": median(found.p99_us),
            "p50_ratio": _ratio(found.p50_us, floor.p50_us),
            "per_second": median(found.per_second),
            "per_second_ratio": _ratio(found.per_second, floor.per_second),
            "cpu_us": median(found.cpu_us),
            "cpu_ratio": _ratio(found.cpu_us, floor.cpu_us),
        }
        for name, found in results.items()
    ]


def _ratio(own: Sequence[float], floor: Sequence[float]) -> float:
    return median(one / other for one, other in zip(own, floor, strict=True))


def as_json(results: Mapping[str, Measured], environment: Mapping[str, object]) -> str:
    """Everything, every round included."""
    rounds = {name: asdict(found) for name, found in results.items()}
    whole = {"environment": environment, "summary": rows(results), "rounds": rounds}
    return json.dumps(whole, indent=2) + "\n"


def as_table(results: Mapping[str, Measured]) -> str:
    """A line for each contestant."""
    return table.as_table(_HEADS, [_cells(row) for row in rows(results)])


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        row["contestant"],
        f"{row['p50_us']:.0f} µs",
        f"{row['p99_us']:.0f} µs",
        f"{row['p50_ratio']:.2f}",
        f"{row['per_second']:.0f}",
        f"{row['per_second_ratio']:.2f}",
        f"{row['cpu_us']:.0f} µs",
        f"{row['cpu_ratio']:.2f}",
    )


def describe_environment(*, rounds: int, seconds: float, load: float) -> dict[str, object]:
    """What was measured on what, as far as it matters.

    Args:
        rounds: How often each contestant was measured.
        seconds: How long each time.
        load: The machine's load before it all began.
    """
    here = [f"{name}=={version(name)}" for name in ("aiohttp", "betterproto2")]
    return {
        **table.machine(load),
        "versions": [*here, *GRPC_PINS, *CONNECTRPC_PINS],
        "rounds": rounds,
        "seconds": seconds,
        "message_bytes": SIZE,
    }


def explain(environment: Mapping[str, Any]) -> str:
    """Says in words what the table shows."""
    return (
        f"Medians of {environment['rounds']} rounds of {environment['seconds']} s each, in turns; "
        f"an echo of {environment['message_bytes']} bytes over the loopback. Ratios are "
        "medians of the ratios to the floor (the first line) in the same round. p50 and p99 are "
        "with one call in flight. CPU per call is of client and server together, with "
        f"{THROUGHPUT_IN_FLIGHT} in flight."
    )


def as_markdown(results: Mapping[str, Measured], environment: Mapping[str, Any]) -> str:
    """The report."""
    return table.as_markdown(
        "RPC benchmark",
        as_table(results),
        explain(environment),
        environment,
        "python bench/rpc/run.py",
    )
