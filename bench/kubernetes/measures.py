"""What is measured: what trials cost a cluster, by Pods that lease them and by a Pod for each."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiauto
from tests.kubernetes.api.kinds import POD

if TYPE_CHECKING:
    import optuna

    from aiauto.testing import EmbeddedServer
    from tests.kubernetes.cluster import Cluster
    from tests.kubernetes.node.kubelet import Node

REQUIREMENTS = ["toolz"]
INSTALLING = "Installing toolz"


@dataclass(frozen=True)
class Ground:
    """What is measured on.

    Attributes:
        cluster: The cluster of the tests.
        node: Its node.
        server: A server that runs batches there.
        image: The image that workers run in.
        pods_at_once: How many Pods there are at once.
    """

    cluster: Cluster
    node: Node
    server: EmbeddedServer
    image: str
    pods_at_once: int


@dataclass(frozen=True)
class Cost:
    """What trials have cost.

    Attributes:
        name: How they were run.
        trials: How many they were.
        pods: Pods that were made.
        pulls: Images that the node pulled.
        installs: How often the requirements were installed.
        calls: Calls of the cluster's API that the server made for the batches.
        calls_a_minute: The same while nothing but a long batch goes on.
        seconds: How long it took.
    """

    name: str
    trials: int
    pods: int
    pulls: int
    installs: int
    calls: int
    calls_a_minute: float | None
    seconds: float


IDLE_SECONDS = 60.0


def quick(trial: optuna.Trial) -> float:
    """A trial that takes no time."""
    return trial.suggest_float("x", -10, 10) ** 2


def waiting(trial: optuna.Trial) -> float:
    """A trial that takes its time."""
    x = trial.suggest_float("x", -10, 10)
    time.sleep(IDLE_SECONDS + 30)
    return x * x


def pods_that_lease(ground: Ground, trials: int) -> Cost:
    """One batch: its Pods lease one trial after the other."""
    study = _study(ground, "leasing")
    before = _Counts(ground)
    began = time.perf_counter()
    name = _optimize(ground, study, quick, trials, ground.pods_at_once)
    study.wait(trialbatch_name=name)
    seconds = time.perf_counter() - began
    costs = before.since()
    lines = [line.text for line in study.logs(trialbatch_name=name)]
    return Cost(
        f"{ground.pods_at_once} Pods that lease trials",
        trials,
        **costs,
        installs=lines.count(INSTALLING),
        calls_a_minute=_calls_a_minute(ground),
        seconds=seconds,
    )


def one_pod_a_trial(ground: Ground, trials: int) -> Cost:
    """A batch for each trial, so that each has a Pod of its own; so many at once as before."""
    study = _study(ground, "single")
    before = _Counts(ground)
    began = time.perf_counter()
    running: list[str] = []
    names: list[str] = []
    for _ in range(trials):
        if len(running) == ground.pods_at_once:
            study.wait(trialbatch_name=running.pop(0))
        running.append(_optimize(ground, study, quick, 1, 1))
        names.append(running[-1])
    for name in running:
        study.wait(trialbatch_name=name)
    seconds = time.perf_counter() - began
    costs = before.since()
    installs = sum(
        line.text == INSTALLING for name in names for line in study.logs(trialbatch_name=name)
    )
    return Cost(
        "a Pod for each trial",
        trials,
        **costs,
        installs=installs,
        calls_a_minute=None,
        seconds=seconds,
    )


class _Counts:
    """What was counted up to now."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._pods = len(ground.cluster.all(POD))
        self._pulls = ground.node.images.pulls.total()
        self._calls = ground.cluster.faults.count()

    def since(self) -> dict[str, int]:
        """What has come since then."""
        ground = self._ground
        return {
            "pods": len(ground.cluster.all(POD)) - self._pods,
            "pulls": ground.node.images.pulls.total() - self._pulls,
            "calls": ground.cluster.faults.count() - self._calls,
        }


def _calls_a_minute(ground: Ground) -> float:
    """Calls that the server makes while a batch runs whose trials take long."""
    study = _study(ground, "waiting")
    name = _optimize(ground, study, waiting, 2, 2)
    while study.get_status()["trialbatches"][name]["count_active"] < 2:
        time.sleep(0.5)
    before = ground.cluster.faults.count()
    time.sleep(IDLE_SECONDS)
    calls = ground.cluster.faults.count() - before
    study.cancel(name)
    return calls * 60 / IDLE_SECONDS


def _study(ground: Ground, name: str) -> aiauto.StudyWrapper:
    controller = aiauto.AIAutoController(ground.server.token, base_url=ground.server.url)
    return controller.create_study(name, direction="minimize")


def _optimize(
    ground: Ground,
    study: aiauto.StudyWrapper,
    objective: aiauto.Objective,
    trials: int,
    parallelism: int,
) -> str:
    return study.optimize(
        objective,
        n_trials=trials,
        parallelism=parallelism,
        requirements_list=REQUIREMENTS,
        runtime_image=ground.image,
        wait_option=aiauto.WaitOption.WAIT_NO,
    )
