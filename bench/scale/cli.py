"""The command: starts a server, measures it as it fills, writes the report."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import optuna

from aiauto.testing import embedded_server
from bench.command import parser, say, write
from bench.scale import report
from bench.scale.measures import Scale

if TYPE_CHECKING:
    import argparse

RESULTS: Final = Path(__file__).parent / "results"


def main() -> int:
    """Runs the benchmark; gives the exit status."""
    options = _parser().parse_args()
    load = os.getloadavg()[0]
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with embedded_server() as server, tempfile.TemporaryDirectory() as folder:
        scale = Scale(server, Path(folder), say)
        grown = scale.grow(options.trials or [0, 1000, 10000])
        crowd = scale.crowd(options.studies, options.watchers, options.rounds)
    environment = report.describe_environment(load)
    say(f"\n{report.as_tables(grown, crowd)}\n")
    write(options.output / "results.json", report.as_json(grown, crowd, environment))
    write(options.output / "results.md", report.as_markdown(grown, crowd, environment))
    return 0


def _parser() -> argparse.ArgumentParser:
    made = parser("Measures how this package grows.", rounds=3, results=RESULTS)
    made.add_argument(
        "--trials", type=int, action="append", help="trials of the study; may be repeated"
    )
    made.add_argument("--studies", type=int, default=200, help="studies of the workspace")
    made.add_argument("--watchers", type=int, default=64, help="clients that watch a batch")
    return made
