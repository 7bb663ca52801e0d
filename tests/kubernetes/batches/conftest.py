"""A server that runs batches on the cluster of the tests, and what it runs there."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1.connect import AIAutoServiceClientSync

import aiauto
from aiauto.connect import SyncTransport
from tests.kubernetes.api.kinds import JOB, POD
from tests.kubernetes.named import NamedCluster
from tests.kubernetes.servers import server_on

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import optuna

    from aiauto.testing import EmbeddedServer
    from tests.kubernetes.api.kinds import Object
    from tests.kubernetes.cluster import Cluster
    from tests.kubernetes.node.images import Image

IMAGE = "python:test"


@pytest.fixture
def images(python_image: Image) -> Mapping[str, Image]:
    """An image with the Python that runs the tests, and all that a worker needs installed."""
    return {IMAGE: replace(python_image, prefix=Path(sys.prefix))}


@pytest.fixture
def image(cluster: Cluster | NamedCluster) -> str | None:
    """What workers run in, if it is not for the server to choose."""
    return cluster.image if isinstance(cluster, NamedCluster) else IMAGE


@pytest.fixture
def configuration() -> dict[str, Any]:
    """How the cluster wants workers: as it is by default. Tests may add to it."""
    return {}


@pytest.fixture
def server(
    cluster: Cluster, configuration: dict[str, Any], tmp_path: Path
) -> Iterator[EmbeddedServer]:
    """A server that runs batches on the cluster."""
    with server_on(cluster, configuration, tmp_path) as running:
        yield running


@pytest.fixture
def controller(server: EmbeddedServer) -> aiauto.AIAutoController:
    """A controller of that server."""
    return aiauto.AIAutoController(server.token, base_url=server.url)


def quick(trial: optuna.Trial) -> float:
    """Trials that take no time."""
    print("trial", trial.number, "in", os.environ["AIAUTO_WORKER"])
    return trial.suggest_float("x", -10, 10) ** 2


def held(trial: optuna.Trial) -> float:
    """The first three trials go on until the study's attribute `go` is set."""
    x = trial.suggest_float("x", -10, 10)
    while trial.number < 3 and not trial.study.user_attrs.get("go"):
        time.sleep(0.1)
    return x * x


@dataclass
class Batch:
    """A batch on the cluster.

    Attributes:
        name: Its name.
        study: Its study.
        cluster: The cluster.
        server: The server.
    """

    name: str
    study: aiauto.StudyWrapper
    cluster: Cluster
    server: EmbeddedServer

    @property
    def pods(self) -> list[Object]:
        """Its Pods, those that have ended too."""
        found = self.cluster.all(POD)
        return [pod for pod in found if pod["metadata"]["labels"]["aiauto.dev/batch"] == self.name]

    @property
    def jobs(self) -> list[Object]:
        """Its Jobs."""
        found = self.cluster.all(JOB)
        return [job for job in found if job["metadata"]["labels"]["aiauto.dev/batch"] == self.name]

    @property
    def pod_infos(self) -> list[v1.PodInfo]:
        """What users are told of its Pods."""
        with SyncTransport(self.server.url, token=self.server.token) as transport:
            request = v1.ListTrialBatchPodsRequest(trialbatch_name=self.name)
            return AIAutoServiceClientSync(transport).list_trial_batch_pods(request).pods

    @property
    def running(self) -> list[str]:
        """The names of its Pods whose worker is in a trial."""
        own_study = self.study.get_study()
        return [
            trial.user_attrs["pod_name"]
            for trial in own_study.get_trials(deepcopy=False)
            if trial.state.name == "RUNNING" and "pod_name" in trial.user_attrs
        ]

    @property
    def status(self) -> aiauto.TrialBatchStatus:
        """How it is doing."""
        return self.study.get_status()["trialbatches"][self.name]

    def go(self) -> None:
        """Let trials end that are held."""
        self.study.get_study().set_user_attr("go", "on")

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait for what is seen only by looking."""
        patience = self.cluster.patience_seconds
        end = time.monotonic() + patience
        while not condition():
            assert time.monotonic() < end, f"{what}: not so after {patience:g} s"
            time.sleep(0.1)

    def finish(self) -> aiauto.TrialBatchStatus:
        """Wait for its end, and for that of its Pods."""
        self.until(lambda: self.status["count_completed"] == self.status["count_total"], "its end")
        self.until(
            lambda: all(pod["status"]["phase"] in {"Succeeded", "Failed"} for pod in self.pods),
            "the end of its Pods",
        )
        return self.status


@pytest.fixture
def start(
    cluster: Cluster,
    controller: aiauto.AIAutoController,
    server: EmbeddedServer,
    study_name: str,
    image: str | None,
) -> Callable[..., Batch]:
    """Starts a batch: `start(objective, n_trials, parallelism, **more)`."""

    def start(
        objective: Callable[[optuna.Trial], float], n_trials: int, parallelism: int, **more: Any
    ) -> Batch:
        study = controller.create_study(study_name, direction="minimize")
        given: dict[str, Any] = {"runtime_image": image, "wait_option": "WAIT_NO", **more}
        name = study.optimize(objective, n_trials=n_trials, parallelism=parallelism, **given)
        return Batch(name, study, cluster, server)

    return start
