"""The command: starts the contestants, runs the contest, writes the report."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from pathlib import Path
from typing import Final

from bench.storage import report
from bench.storage.contest import CONTESTANTS, Contestant, Runner, compete
from bench.storage.environments import UnavailableError
from tests.postgresql import postgresql_server

RESULTS: Final = Path(__file__).parent / "results"


def main() -> int:
    """Runs the benchmark; gives the exit status."""
    options = _parser().parse_args()
    wanted = [one for one in CONTESTANTS if _is_wanted(one, options.only)]
    load = os.getloadavg()[0]
    with contextlib.ExitStack() as stack:
        postgresql = stack.enter_context(postgresql_server(durable=True))
        runners: list[Runner] = []
        for one in wanted:
            try:
                runners.append(stack.enter_context(Runner(one, postgresql.create_database)))
            except UnavailableError as error:
                _say(f"left out: {one.name}: {error}\n")
        names = ", ".join(runner.contestant.name for runner in runners)
        _say(f"{options.rounds} rounds for each of: {names}\n")
        compete(runners, options.rounds, options.trials, options.slow_trials, say=_say)
        version = postgresql.version()
    results = {runner.contestant.name: runner.measured for runner in runners}
    environment = report.describe_environment(rounds=options.rounds, load=load, postgresql=version)
    _say(f"\n{report.as_table(results)}\n{report.explain(environment)}\n")
    options.output.mkdir(parents=True, exist_ok=True)
    _write(options.output / "results.json", report.as_json(results, environment))
    _write(options.output / "results.md", report.as_markdown(results, environment))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Measures Optuna's storages side by side.")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured")
    parser.add_argument("--trials", type=int, default=1000, help="trials of a study")
    parser.add_argument(
        "--slow-trials", type=int, default=200, help="the same, for those that are slow"
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


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    _say(f"wrote {path}\n")


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
