"""What goes wrong on clusters: users are told of it, and every count is right all the same."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.kubernetes.batches.conftest import held, quick
from tests.kubernetes.named import NamedCluster

if TYPE_CHECKING:
    from collections.abc import Callable

    import optuna

    import aiauto
    from aiauto.testing import EmbeddedServer
    from tests.kubernetes.batches.conftest import Batch
    from tests.kubernetes.cluster import Cluster
    from tests.kubernetes.node.kubelet import Node

pytestmark = pytest.mark.once

N_TRIALS = 6
# And the reason that their trials fail with. Only what a test may break can run out of memory.
HOW_PODS_END = [("oom", "OutOfMemory"), ("evict", "WorkerEnded")]


def counts(status: aiauto.TrialBatchStatus) -> tuple[int, int, int]:
    """Trials that succeeded, that failed, and all of them."""
    return status["count_succeeded"], status["count_failed"], status["count_total"]


def reasons(batch: Batch) -> list[str]:
    """Why trials of the batch failed, in one word each."""
    trials = batch.study.get_status(include_trials=True)["trialbatches"][batch.name]
    return sorted(
        trial["reason"] for trial in trials["completed_trials"].values() if trial["reason"]
    )


def waits_for(batch: Batch) -> str:
    """What users are told that keeps the batch from having all of its workers."""
    return next(
        one["message"]
        for one in batch.status["conditions"]
        if one["type"].endswith("CONDITION_PODS_RUNNING")
    )


def one_in_a_trial(batch: Batch, at_least: int = 1) -> str:
    """The Pod of a trial that runs, once so many do."""
    batch.until(lambda: len(batch.running) >= at_least, "that trials run")
    return batch.running[0]


def leaves_a_thread(trial: optuna.Trial) -> float:
    """The worker's process outlives its last trial, and its batch, by some seconds."""
    threading.Thread(target=threading.Event().wait).start()
    return trial.suggest_float("x", 0, 1)


class TestStarting:
    @pytest.fixture
    def configuration(
        self, cluster: Cluster | NamedCluster, configuration: dict[str, Any]
    ) -> dict[str, Any]:
        # A node that meets a Pod before its Secret looks for that again after ten seconds.
        return {**configuration, "start_timeout": 20 if isinstance(cluster, NamedCluster) else 3}

    @pytest.mark.usefixtures("node")
    def test_an_image_that_is_nowhere(self, start: Callable[..., Batch]) -> None:
        batch = start(quick, N_TRIALS, 2, runtime_image="python:nowhere")
        batch.until(lambda: "python:nowhere" in waits_for(batch), "that its user is told")
        (first, _) = batch.pod_infos
        (container,) = first.container_statuses
        assert container.state is not None
        assert container.state.waiting is not None
        assert container.state.waiting.reason in {"ErrImagePull", "ImagePullBackOff"}
        status = batch.finish()
        assert counts(status) == (0, N_TRIALS, N_TRIALS)
        assert "not found" in status["last_error"]
        assert "Check runtime_image" in status["last_error"]
        assert not batch.jobs

    @pytest.mark.usefixtures("node")
    def test_requirements_that_do_not_exist(self, start: Callable[..., Batch]) -> None:
        batch = start(quick, N_TRIALS, 2, requirements_list=["aiauto-has-no-such-requirement"])
        status = batch.finish()
        assert counts(status) == (0, N_TRIALS, N_TRIALS)
        assert "aiauto-has-no-such-requirement" in status["last_error"]

    @pytest.mark.usefixtures("node")
    def test_what_the_cluster_refuses(self, start: Callable[..., Batch]) -> None:
        batch = start(quick, N_TRIALS, 2, tmp_cache_dir="/opt/aiauto")
        status = batch.finish()
        assert counts(status) == (0, N_TRIALS, N_TRIALS)
        assert "must be unique" in status["last_error"]

    def test_no_place_on_any_node(
        self, cluster: Cluster, node: Node, start: Callable[..., Batch]
    ) -> None:
        batch = start(quick, N_TRIALS, 2, resources_requests={"cpu": "1000", "memory": "1Gi"})
        batch.until(lambda: "Insufficient cpu" in waits_for(batch), "that its user is told")
        # Longer than what makes those hopeless whose image is nowhere.
        time.sleep(5)
        assert counts(batch.status) == (0, 0, N_TRIALS)
        cluster.add_node("big", images=dict(node.images.table), capacity={"cpu": "4000"})
        assert counts(batch.finish()) == (N_TRIALS, 0, N_TRIALS)

    @pytest.mark.usefixtures("node")
    class TestInAQueue:
        @pytest.fixture
        def configuration(self, configuration: dict[str, Any]) -> dict[str, Any]:
            return {**configuration, "queue": "team-a"}

        def test_until_it_is_its_turn(self, cluster: Cluster, start: Callable[..., Batch]) -> None:
            batch = start(quick, N_TRIALS, 1)
            batch.until(lambda: "queue team-a" in waits_for(batch), "that its user is told")
            assert not batch.pods
            cluster.resume(batch.name)
            assert counts(batch.finish()) == (N_TRIALS, 0, N_TRIALS)


@pytest.mark.usefixtures("node")
class TestPodsThatDie:
    @pytest.mark.parametrize("how", ["evict", "preempt", "pressure"])
    @pytest.mark.parametrize("max_retries", [0, 1])
    def test_one_whose_place_is_taken_away(
        self, cluster: Cluster, start: Callable[..., Batch], how: str, max_retries: int
    ) -> None:
        batch = start(held, N_TRIALS, 2, max_retries=max_retries)
        pod = one_in_a_trial(batch, 2)
        getattr(cluster, how)(pod)
        batch.until(lambda: pod not in batch.running, "that its trial is given up")
        batch.go()
        status = batch.finish()
        failed = 0 if max_retries else 1
        assert counts(status) == (N_TRIALS - failed, failed, N_TRIALS)
        assert reasons(batch) == ["WorkerEnded"] * failed
        if failed:
            assert "took the worker's place away" in status["last_error"] or (
                "node was low on resource" in status["last_error"]
            )
        # It was no failure of the Job.
        assert batch.jobs[0]["status"].get("failed", 0) == 0

    def test_one_that_runs_out_of_memory(
        self, cluster: Cluster, start: Callable[..., Batch]
    ) -> None:
        batch = start(held, N_TRIALS, 2)
        cluster.oom(one_in_a_trial(batch, 2))
        batch.until(lambda: batch.status["count_failed"] == 1, "that its trial has failed")
        batch.go()
        status = batch.finish()
        assert counts(status) == (N_TRIALS - 1, 1, N_TRIALS)
        assert reasons(batch) == ["OutOfMemory"]
        assert "resources_limits['memory']" in status["last_error"]
        ended = [pod.container_statuses[0].state for pod in batch.pod_infos]
        assert "OOMKilled" in {
            state.terminated.reason for state in ended if state and state.terminated
        }
        # One came in its place, and none in that of the other.
        assert sorted(pod.restart_count for pod in batch.pod_infos) == [0, 0, 1]

    def test_those_that_an_objective_kills(self, start: Callable[..., Batch]) -> None:
        # With 0 its Pod has done what it should, as far as the cluster knows.
        codes = {0: 139, 2: 1, 4: 0}

        def deadly(trial: optuna.Trial) -> float:
            x = trial.suggest_float("x", 0, 1)
            if trial.number in codes:
                os._exit(codes[trial.number])
            return x

        batch = start(deadly, N_TRIALS, 1)
        assert counts(batch.finish()) == (N_TRIALS - 3, 3, N_TRIALS)

    def test_errors_of_an_objective_are_no_death(self, start: Callable[..., Batch]) -> None:
        def failing(trial: optuna.Trial) -> float:
            if trial.number % 2:
                message = "odd"
                raise ValueError(message)
            return trial.suggest_float("x", 0, 1)

        batch = start(failing, N_TRIALS, 2)
        assert counts(batch.finish()) == (3, 3, N_TRIALS)
        assert reasons(batch) == ["Error"] * 3
        assert len(batch.pods) == 2

    def test_all_of_a_node(self, cluster: Cluster, node: Node, start: Callable[..., Batch]) -> None:
        batch = start(held, N_TRIALS, 2)
        one_in_a_trial(batch, 2)
        cluster.add_node("node-2", images=dict(node.images.table))
        cluster.lose("node-1")
        batch.until(lambda: batch.status["count_failed"] == 2, "that their trials have failed")
        batch.go()
        assert counts(batch.finish()) == (N_TRIALS - 2, 2, N_TRIALS)
        assert {pod["spec"]["nodeName"] for pod in batch.pods} == {"node-2"}

    def test_one_that_hangs_in_a_trial(self, start: Callable[..., Batch]) -> None:
        def hanging(trial: optuna.Trial) -> float:
            x = trial.suggest_float("x", 0, 1)
            if trial.number == 0:
                signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
                time.sleep(600)
            return x

        batch = start(hanging, N_TRIALS, 1, trial_timeout=2)
        assert counts(batch.finish()) == (N_TRIALS - 1, 1, N_TRIALS)
        assert reasons(batch) == ["Timeout"]


@pytest.mark.usefixtures("node")
class TestAnUnreliableCluster:
    def test_watches_end_and_history_is_forgotten(
        self, cluster: Cluster, start: Callable[..., Batch]
    ) -> None:
        batch = start(held, N_TRIALS, 2)
        one_in_a_trial(batch, 2)
        cluster.drop_watches()
        cluster.compact()
        pod = batch.running[0]
        cluster.oom(pod)
        cluster.drop_watches()
        batch.until(lambda: batch.status["count_failed"] == 1, "that the end of a Pod is noticed")
        batch.go()
        assert counts(batch.finish()) == (N_TRIALS - 1, 1, N_TRIALS)

    @pytest.mark.parametrize("status", [429, 500, 503])
    def test_it_has_no_time(
        self, cluster: Cluster, start: Callable[..., Batch], status: int
    ) -> None:
        cluster.faults.answer(status, verb="create", times=2, retry_after=1)
        cluster.faults.answer(status, verb="watch", times=2)
        cluster.faults.answer(status, verb="list", times=2)
        cluster.faults.cut(verb="create", times=1)
        batch = start(quick, N_TRIALS, 2)
        assert counts(batch.finish()) == (N_TRIALS, 0, N_TRIALS)
        assert len(batch.pods) == 2

    def test_it_is_away_while_a_batch_is_asked_for(
        self, cluster: Cluster, start: Callable[..., Batch]
    ) -> None:
        cluster.faults.answer(503, verb="create", path="jobs", times=1000)
        batch = start(quick, N_TRIALS, 1)
        assert not batch.jobs
        cluster.faults.heal()
        assert counts(batch.finish()) == (N_TRIALS, 0, N_TRIALS)


@pytest.mark.usefixtures("node")
class TestTheServer:
    @pytest.mark.parametrize(("how", "reason"), HOW_PODS_END)
    def test_pods_outlive_it_and_what_happened_meanwhile_is_found_out(
        self,
        cluster: Cluster,
        server: EmbeddedServer,
        start: Callable[..., Batch],
        how: str,
        reason: str,
    ) -> None:
        batch = start(held, N_TRIALS, 2)
        pod = one_in_a_trial(batch, 2)
        there = {one["metadata"]["name"] for one in batch.pods}
        server.kill()
        getattr(cluster, how)(pod)
        server.start()
        batch.until(lambda: batch.status["count_failed"] == 1, "that the end of a Pod is noticed")
        batch.go()
        assert counts(batch.finish()) == (N_TRIALS - 1, 1, N_TRIALS)
        assert reasons(batch) == [reason]
        # The other one has gone on.
        assert len({one["metadata"]["name"] for one in batch.pods} - there) == 1

    def test_one_that_is_stopped_in_order_takes_nothing_with_it(
        self, server: EmbeddedServer, start: Callable[..., Batch]
    ) -> None:
        batch = start(held, N_TRIALS, 2)
        one_in_a_trial(batch, 2)
        there = {one["metadata"]["name"] for one in batch.pods}
        server.restart()
        batch.go()
        assert counts(batch.finish()) == (N_TRIALS, 0, N_TRIALS)
        assert {one["metadata"]["name"] for one in batch.pods} == there

    def test_a_batch_that_is_cancelled_leaves_no_pod(self, start: Callable[..., Batch]) -> None:
        batch = start(held, N_TRIALS, 2)
        one_in_a_trial(batch, 2)
        batch.study.cancel(batch.name)
        assert not batch.jobs
        batch.until(lambda: not batch.pods, "that its Pods are gone")
        status = batch.status
        assert status["count_completed"] == status["count_total"]
        # Who heard of it before its Pod was told to end went by itself.
        phases = [pod.phase for pod in batch.pod_infos]
        assert len(phases) >= 2
        assert set(phases) <= {"Failed", "Succeeded"}

    class TestWhoseJobsGoSoon:
        @pytest.fixture
        def configuration(self, configuration: dict[str, Any]) -> dict[str, Any]:
            return {**configuration, "ttl_after_finished": 0}

        def test_workers_that_ended_while_it_was_away_have_ended(
            self, server: EmbeddedServer, start: Callable[..., Batch]
        ) -> None:
            batch = start(leaves_a_thread, 1, 1)
            batch.until(lambda: batch.status["count_completed"] == 1, "that the batch is over")
            server.kill()
            batch.until(lambda: not batch.pods, "that its Pod is gone")
            server.start()
            batch.until(
                lambda: {pod.phase for pod in batch.pod_infos} == {"Failed"},
                "that the worker's end is noticed",
            )
