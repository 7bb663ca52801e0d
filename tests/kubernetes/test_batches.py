"""Batches on a cluster: the four lines of a user, whose trials run in Pods."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

import aiauto
from aiauto.testing import embedded_server
from tests.kubernetes.api.kinds import JOB, POD

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import optuna

    from aiauto.testing import EmbeddedServer
    from tests.kubernetes.cluster import Cluster
    from tests.kubernetes.node.kubelet import Node

CONFIGURATION = """\
environment: {UV_LINK_MODE: copy}
"""


def objective(trial: optuna.Trial) -> float:
    x = trial.suggest_float("x", -10, 10)
    print("trial", trial.number, "in", os.environ["AIAUTO_POD_NAME"])
    return x * x


@pytest.fixture
def server(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[EmbeddedServer]:
    configuration = tmp_path / "kubernetes.yaml"
    configuration.write_text(CONFIGURATION, encoding="utf-8")
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    monkeypatch.setenv("AIAUTO_EXECUTOR", "kubernetes")
    monkeypatch.setenv("AIAUTO_KUBERNETES_CONFIG", str(configuration))
    with embedded_server(tmp_path / "data") as running:
        yield running


def test_four_lines(cluster: Cluster, node: Node, server: EmbeddedServer) -> None:
    controller = aiauto.AIAutoController(server.token, base_url=server.url)
    study = controller.create_study("four-lines", direction="minimize")
    study.optimize(
        objective,
        n_trials=20,
        parallelism=2,
        runtime_image="python:test",
        wait_option="WAIT_ALL_TRIALS",
    )
    assert study.get_status()["count_succeeded"] == 20
    print(node.images.pulls if hasattr(node, "images") else "")
    print(cluster.all(JOB), len(cluster.all(POD)))
