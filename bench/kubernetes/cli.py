"""The command: starts a cluster of this machine, runs batches on it, writes the report."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Final

import optuna

from bench.command import is_wanted, parser, say, write
from bench.kubernetes import report
from bench.kubernetes.measures import Cost, Ground, one_pod_a_trial, pods_that_lease
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.node.images import of_this_machine
from tests.kubernetes.servers import server_on

RESULTS: Final = Path(__file__).parent / "results"
IMAGE: Final = "python:bench"
PODS_AT_ONCE: Final = 8


def main() -> int:
    """Runs the benchmark; gives the exit status."""
    made = parser("Measures what batches cost a cluster.", rounds=1, results=RESULTS)
    made.add_argument("--trials", type=int, default=1000, help="trials for Pods that lease them")
    made.add_argument("--single", type=int, default=24, help="trials that each get a Pod")
    options = made.parse_args()
    load = os.getloadavg()[0]
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    found: list[Cost] = []
    with tempfile.TemporaryDirectory(prefix="aiauto-bench-") as name:
        folder = Path(name)
        with (
            Cluster(folder / "cluster") as cluster,
            server_on(cluster, {}, folder) as server,
        ):
            capacity = {"cpu": "64", "memory": "256Gi"}
            image = of_this_machine(Path(sys.prefix))
            node = cluster.add_node(images={IMAGE: image}, capacity=capacity)
            ground = Ground(cluster, node, server, IMAGE, PODS_AT_ONCE)
            for measure, trials in (
                (pods_that_lease, options.trials),
                (one_pod_a_trial, options.single),
            ):
                if is_wanted(measure.__name__, options.only):
                    found.append(measure(ground, trials))
                    say(f"{found[-1]}\n")
    environment = report.describe_environment(load)
    say(f"\n{report.as_table(found)}\n")
    write(options.output / "results.json", report.as_json(found, environment))
    write(options.output / "results.md", report.as_markdown(found, environment))
    return 0
