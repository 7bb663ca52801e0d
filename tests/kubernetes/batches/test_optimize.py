"""Batches on a cluster: the same lines as everywhere, and their trials run in Pods."""

from __future__ import annotations

import importlib
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import aiauto
from aiauto.server.executors.kubernetes.configuration import DEFAULT_USER
from tests.kubernetes.api.kinds import CLAIM, NODE, SECRET
from tests.kubernetes.batches.conftest import IMAGE, held, quick

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import optuna

    from tests.kubernetes.batches.conftest import Batch
    from tests.kubernetes.cluster import Cluster
    from tests.kubernetes.node.images import Image
    from tests.kubernetes.node.kubelet import Node

PRIVATE = "registry.example.org/team/python:1"


def is_complete(job: dict[str, Any]) -> bool:
    conditions: list[dict[str, str]] = job["status"].get("conditions", [])
    return any(one["type"] == "Complete" and one["status"] == "True" for one in conditions)


@pytest.mark.usefixtures("node")
def test_as_many_pods_as_workers_and_no_more(cluster: Cluster, start: Callable[..., Batch]) -> None:
    batch = start(quick, 20, 2)
    status = batch.finish()
    assert status["count_succeeded"] == status["count_total"] == 20
    (job,) = batch.jobs
    assert job["metadata"]["name"] == batch.name
    names = sorted(pod["metadata"]["name"] for pod in batch.pods)
    assert [name.rpartition("-")[0] for name in names] == [f"{batch.name}-0", f"{batch.name}-1"]
    batch.until(lambda: is_complete(batch.jobs[0]), "that its Job is complete")
    # Every trial ran in one of the Pods, which are its workers.
    trials = batch.study.get_study().get_trials()
    assert {trial.user_attrs["pod_name"] for trial in trials} <= set(names)
    assert sorted(pod.name for pod in batch.pod_infos) == names
    nodes = {one["metadata"]["name"] for one in cluster.all(NODE)}
    assert {pod.node_name for pod in batch.pod_infos} <= nodes


def test_a_node_pulls_an_image_once(node: Node, start: Callable[..., Batch]) -> None:
    assert not node.images.pulls
    start(quick, 4, 2).finish()
    assert node.images.pulls == {IMAGE: 1}


@pytest.mark.usefixtures("node")
def test_what_trials_print_is_streamed_as_anywhere(start: Callable[..., Batch]) -> None:
    batch = start(quick, 4, 1)
    batch.finish()
    (pod,) = batch.pods
    lines = [line.text for line in batch.study.logs(trialbatch_name=batch.name)]
    for number in range(4):
        assert f"trial {number} in {pod['metadata']['name']}" in lines


@pytest.mark.usefixtures("node")
def test_secrets_go_with_the_job(cluster: Cluster, start: Callable[..., Batch]) -> None:
    batch = start(quick, 2, 1)
    batch.finish()
    (secret,) = cluster.all(SECRET)
    (owner,) = secret["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"]) == ("Job", batch.name)
    batch.study.delete()
    batch.until(lambda: not cluster.all(SECRET) and not batch.pods, "that nothing is left")


@pytest.mark.once
class TestAPrivateImageThatHasNothingButPython:
    @pytest.fixture
    def images(self, python_image: Image) -> Mapping[str, Image]:
        return {PRIVATE: replace(python_image, credentials=("someone", "hidden"))}

    def test_it_serves(
        self, cluster: Cluster, node: Node, start: Callable[..., Batch], tmp_path: Path
    ) -> None:
        assert PRIVATE in node.images.table
        batch = start(
            quick,
            2,
            1,
            runtime_image=PRIVATE,
            image_pull_registry="registry.example.org",
            image_pull_username="someone",
            image_pull_password="hidden",
        )
        assert batch.finish()["count_succeeded"] == 2
        types = {secret["type"] for secret in cluster.all(SECRET)}
        assert types == {"Opaque", "kubernetes.io/dockerconfigjson"}
        # The server has kept nothing of it.
        for path in (tmp_path / "data").rglob("*"):
            assert path.is_dir() or b"hidden" not in path.read_bytes(), path


@pytest.mark.once
@pytest.mark.usefixtures("node")
def test_requirements_are_installed_once_a_pod(start: Callable[..., Batch]) -> None:
    def needy(trial: optuna.Trial) -> float:
        version: str = importlib.import_module("toolz").__version__
        return len(version) + held(trial)

    batch = start(needy, 6, 2, requirements_list=["toolz"])
    # One alone might do all of it before the other is there.
    batch.until(lambda: len(set(batch.running)) == 2, "that both Pods are in a trial")
    batch.go()
    assert batch.finish()["count_succeeded"] == 6
    lines = [line.text for line in batch.study.logs(trialbatch_name=batch.name)]
    assert lines.count("Installing toolz") == 2


@pytest.mark.once
@pytest.mark.usefixtures("node")
def test_what_a_pod_finds_and_what_it_does_not(start: Callable[..., Batch]) -> None:
    def looking(trial: optuna.Trial) -> float:
        scratch = aiauto.tmp_cache_dir()
        assert str(scratch) == "/scratch"
        for folder in (scratch, aiauto.shared_cache_dir(), Path.home(), Path.cwd()):
            Path(folder, "file").write_text("x")
        assert os.getuid() != 0
        assert not Path("/var/run/secrets/kubernetes.io").exists()
        assert "AIAUTO_ENROLLMENT_TOKEN" not in os.environ
        return trial.suggest_float("x", 0, 1)

    batch = start(looking, 1, 1, tmp_cache_dir="/scratch", use_tmp_cache_mem=True)
    status = batch.finish()
    assert status["count_succeeded"] == 1, status["last_error"]


@pytest.mark.once
@pytest.mark.usefixtures("node")
class TestTheSharedCache:
    @pytest.fixture
    def configuration(self, configuration: dict[str, Any]) -> dict[str, Any]:
        return {**configuration, "shared_cache_claim": "aiauto-data"}

    @pytest.fixture(autouse=True)
    def claim(self, cluster: Cluster, tmp_path: Path) -> None:
        """The claim that the server keeps its data folder on."""
        (tmp_path / "data").mkdir()
        folder = cluster.claims / "default"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "aiauto-data").symlink_to(tmp_path / "data", target_is_directory=True)
        spec = {
            "accessModes": ["ReadWriteMany"],
            "resources": {"requests": {"storage": "1Gi"}},
        }
        cluster.create(CLAIM, {"metadata": {"name": "aiauto-data"}, "spec": spec})

    def test_it_is_the_one_that_users_upload_to(
        self, controller: aiauto.AIAutoController, start: Callable[..., Batch], tmp_path: Path
    ) -> None:
        def reading(trial: optuna.Trial) -> float:
            text = Path(aiauto.shared_cache_dir(), "number.txt").read_text()
            return float(text) + 0 * trial.suggest_float("x", 0, 1)

        file = tmp_path / "number.txt"
        file.write_text("42")
        controller.upload_to_shared_cache(str(file))
        # On a cluster the server runs as the same user as its workers do.
        for path in (tmp_path / "data").rglob("*"):
            os.chown(path, DEFAULT_USER, DEFAULT_USER)
        os.chown(tmp_path / "data", DEFAULT_USER, DEFAULT_USER)
        batch = start(reading, 1, 1)
        status = batch.finish()
        assert status["count_succeeded"] == 1, status["last_error"]
        assert batch.study.get_study().best_value == 42
