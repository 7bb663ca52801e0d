"""What was measured, as a table for people and as JSON for programs."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import version
from statistics import median
from typing import TYPE_CHECKING, Any

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
    """A Markdown table, with columns that line up in a terminal too."""
    lines = [_HEADS, *(_cells(row) for row in rows(results))]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADS))]
    shown = [_line(line, widths) for line in lines]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([shown[0], _line(rule, widths), *shown[1:]]) + "\n"


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


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = (
        cell.ljust(width) if number == 0 else cell.rjust(width)
        for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "| " + " | ".join([first, *others]) + " |"


def describe_environment(*, rounds: int, seconds: float, load: float) -> dict[str, object]:
    """What was measured on what, as far as it matters.

    Args:
        rounds: How often each contestant was measured.
        seconds: How long each time.
        load: The machine's load before it all began.
    """
    here = [f"{name}=={version(name)}" for name in ("aiohttp", "betterproto2")]
    return {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "load_before": round(load, 1),
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
    return (
        "# RPC benchmark\n\n"
        f"{as_table(results)}\n{explain(environment)}\n\n"
        f"{environment['date']}, Python {environment['python']}, {environment['system']}, load "
        f"{environment['load_before']} before. {', '.join(environment['versions'])}.\n\n"
        "Written by `python bench/rpc/run.py`; [README](../../README.md) says how to read it.\n"
    )
