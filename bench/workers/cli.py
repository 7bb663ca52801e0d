"""The command: starts servers, measures how soon their workers work, writes the report."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import optuna
import pytest

import aiauto
from aiauto.testing import embedded_server
from bench.command import is_wanted, parser, say, write
from bench.workers import report
from bench.workers.measures import compete

if TYPE_CHECKING:
    from aiauto import StudyWrapper

RESULTS: Final = Path(__file__).parent / "results"
# What a server is told, by what is said of its workers.
SERVERS: Final = {
    "first trial, worker forked": "1",
    "first trial, worker a Python of its own": "0",
}


def main() -> int:
    """Runs the benchmark; gives the exit status."""
    options = parser("Measures how soon a worker works.", rounds=10, results=RESULTS).parse_args()
    load = os.getloadavg()[0]
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    studies: dict[str, StudyWrapper] = {}
    with contextlib.ExitStack() as stack:
        for name, forks in SERVERS.items():
            if not is_wanted(name, options.only):
                continue
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("AIAUTO_FORK_WORKERS", forks)
                server = stack.enter_context(embedded_server())
            controller = aiauto.AIAutoController(server.token, server.url)
            studies[name] = controller.create_study(
                "first", sampler=optuna.samplers.RandomSampler()
            )
        found = compete(studies, options.rounds, say)
    environment = report.describe_environment(options.rounds, load)
    say(f"\n{report.as_table(found)}\n")
    write(options.output / "results.json", report.as_json(found, environment))
    write(options.output / "results.md", report.as_markdown(found, environment))
    return 0
