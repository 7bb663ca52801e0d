"""The command: prepares environments, runs the contest, writes the report."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
from pathlib import Path
from typing import Final

from bench.rpc import environments, report
from bench.rpc.contest import CONTESTANTS, FLOOR, Contestant, Runner, compete

RESULTS: Final = Path(__file__).parent / "results"


def main() -> int:
    """Runs the benchmark; gives the exit status."""
    options = _parser().parse_args()
    wanted = [one for one in CONTESTANTS if one.name == FLOOR or _is_wanted(one, options.only)]
    with tempfile.TemporaryDirectory() as generated, contextlib.ExitStack() as stack:
        runners = _start(wanted, Path(generated), stack)
        names = ", ".join(runners)
        _say(f"{options.rounds} rounds of {options.seconds} s for each of: {names}\n")
        load = os.getloadavg()[0]
        took = compete(list(runners.values()), options.rounds, options.seconds)
    results = {name: runner.measured for name, runner in runners.items()}
    environment = report.describe_environment(
        rounds=options.rounds, seconds=options.seconds, load=load
    )
    table = report.as_table(results)
    _say(f"\n{table}\n{report.explain(environment)}\n\nIt took {took:.0f} s.\n")
    options.output.mkdir(parents=True, exist_ok=True)
    _write(options.output / "results.json", report.as_json(results, environment))
    _write(options.output / "results.md", report.as_markdown(results, environment))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Measures RPC libraries side by side.")
    parser.add_argument("--rounds", type=int, default=24, help="how often each is measured")
    parser.add_argument(
        "--seconds", type=float, default=0.25, help="how long, for latency and throughput each"
    )
    parser.add_argument(
        "--only", action="append", help="contestants with this in their names; may be repeated"
    )
    parser.add_argument(
        "--output", type=Path, default=RESULTS, help="folder for results.json and results.md"
    )
    return parser


def _is_wanted(contestant: Contestant, parts: list[str] | None) -> bool:
    return not parts or any(part in contestant.name for part in parts)


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
        except environments.UnavailableError as error:
            if name == "ours":
                raise
            missing.add(name)
            _say(f"left out: {name}: {error}\n")
    return {
        one.name: stack.enter_context(Runner(one, found[one.environment]))
        for one in wanted
        if one.environment not in missing
    }


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    _say(f"wrote {path}\n")


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
