"""The command: prepares environments, runs the contest, writes the report."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.command import is_wanted, parser, say, write
from bench.environments import UnavailableError
from bench.rpc import environments, report
from bench.rpc.contest import CONTESTANTS, FLOOR, Runner, compete

if TYPE_CHECKING:
    import argparse

    from bench.rpc.contest import Contestant

RESULTS: Final = Path(__file__).parent / "results"


def main() -> int:
    """Runs the benchmark; gives the exit status."""
    options = _parser().parse_args()
    wanted = [one for one in CONTESTANTS if one.name == FLOOR or is_wanted(one.name, options.only)]
    with tempfile.TemporaryDirectory() as generated, contextlib.ExitStack() as stack:
        runners = _start(wanted, Path(generated), stack)
        names = ", ".join(runners)
        say(f"{options.rounds} rounds of {options.seconds} s for each of: {names}\n")
        load = os.getloadavg()[0]
        took = compete(list(runners.values()), options.rounds, options.seconds)
    results = {name: runner.measured for name, runner in runners.items()}
    environment = report.describe_environment(
        rounds=options.rounds, seconds=options.seconds, load=load
    )
    say(f"\n{report.as_table(results)}\n{report.explain(environment)}\n\nIt took {took:.0f} s.\n")
    write(options.output / "results.json", report.as_json(results, environment))
    write(options.output / "results.md", report.as_markdown(results, environment))
    return 0


def _parser() -> argparse.ArgumentParser:
    made = parser("Measures RPC libraries side by side.", rounds=24, results=RESULTS)
    made.add_argument(
        "--seconds", type=float, default=0.25, help="how long, for latency and throughput each"
    )
    return made


def _start(
    wanted: list[Contestant], generated: Path, stack: contextlib.ExitStack
) -> dict[str, Runner]:
    """Starts the contestants that can run here. Those that can't are left out, and it says so."""
    makers = {
        "ours": lambda: environments.ours(generated),
        "grpc": environments.grpc,
        "connectrpc": environments.connectrpc,
    }
    found: dict[str, environments.Environment] = {}
    missing: set[str] = set()
    for name in dict.fromkeys(one.environment for one in wanted):
        try:
            found[name] = makers[name]()
        except UnavailableError as error:
            if name == "ours":
                raise
            missing.add(name)
            say(f"left out: {name}: {error}\n")
    return {
        one.name: stack.enter_context(Runner(one, found[one.environment]))
        for one in wanted
        if one.environment not in missing
    }
