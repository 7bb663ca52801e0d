"""The command: starts the contestants, runs the contest, writes the report."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.command import is_wanted, parser, say, write
from bench.environments import UnavailableError
from bench.storage import report
from bench.storage.contest import CONTESTANTS, Runner, compete
from tests.postgresql import postgresql_server

if TYPE_CHECKING:
    import argparse

RESULTS: Final = Path(__file__).parent / "results"


def main() -> int:
    """Runs the benchmark; gives the exit status."""
    options = _parser().parse_args()
    wanted = [one for one in CONTESTANTS if is_wanted(one.name, options.only)]
    load = os.getloadavg()[0]
    with contextlib.ExitStack() as stack:
        postgresql = stack.enter_context(postgresql_server(durable=True))
        runners: list[Runner] = []
        for one in wanted:
            try:
                runners.append(stack.enter_context(Runner(one, postgresql.create_database)))
            except UnavailableError as error:
                say(f"left out: {one.name}: {error}\n")
        names = ", ".join(runner.contestant.name for runner in runners)
        say(f"{options.rounds} rounds for each of: {names}\n")
        compete(runners, options.rounds, options.trials, options.slow_trials, say=say)
        version = postgresql.version()
    results = {runner.contestant.name: runner.measured for runner in runners}
    environment = report.describe_environment(rounds=options.rounds, load=load, postgresql=version)
    say(f"\n{report.as_table(results)}\n{report.explain(environment)}\n")
    write(options.output / "results.json", report.as_json(results, environment))
    write(options.output / "results.md", report.as_markdown(results, environment))
    return 0


def _parser() -> argparse.ArgumentParser:
    made = parser("Measures Optuna's storages side by side.", rounds=5, results=RESULTS)
    made.add_argument("--trials", type=int, default=1000, help="trials of a study")
    made.add_argument(
        "--slow-trials", type=int, default=200, help="the same, for those that are slow"
    )
    return made
