"""GPU models on a cluster."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from aiauto import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import optuna

    import aiauto
    from tests.kubernetes.batches.conftest import Batch
    from tests.kubernetes.cluster import Cluster
    from tests.kubernetes.node.images import Image

PRODUCT = "nvidia.com/gpu.product"
MODELS = {"gpu_3090": "RTX-3090", "gpu_4090": "RTX-4090"}

pytestmark = pytest.mark.once


def gpu(trial: optuna.Trial) -> float:
    trial.set_user_attr("node", os.environ["AIAUTO_NODE_NAME"])
    return trial.suggest_float("x", 0, 1)


@pytest.fixture
def configuration(configuration: dict[str, Any]) -> dict[str, Any]:
    flavors = [
        {"name": name, "node_labels": {PRODUCT: product}} for name, product in MODELS.items()
    ]
    return {**configuration, "gpu_flavors": flavors}


@pytest.fixture
def nodes(cluster: Cluster, images: Mapping[str, Image]) -> None:
    """A node with two GPUs of each model."""
    for product in MODELS.values():
        cluster.add_node(
            product.lower(),
            images=images,
            capacity={"cpu": "8", "memory": "32Gi", "nvidia.com/gpu": "2"},
            labels={PRODUCT: product},
        )


@pytest.mark.usefixtures("nodes")
def test_a_job_a_model_each_with_its_own_trials(start: Callable[..., Batch]) -> None:
    batch = start(gpu, 9, 3, use_gpu=True, gpu_model={"gpu_3090": 6, "gpu_4090": 3})
    assert batch.finish()["count_succeeded"] == 9
    assert len(batch.jobs) == 2
    assert sorted(job["spec"]["parallelism"] for job in batch.jobs) == [1, 2]
    trials = batch.study.get_study().get_trials()
    ran = [(trial.user_attrs["gpu_name"], trial.user_attrs["node"]) for trial in trials]
    assert sorted(ran) == [("gpu_3090", "rtx-3090")] * 6 + [("gpu_4090", "rtx-4090")] * 3


@pytest.mark.usefixtures("nodes")
def test_fewer_workers_than_models_take_turns(start: Callable[..., Batch]) -> None:
    batch = start(gpu, 4, 1, use_gpu=True, gpu_model={"gpu_3090": 2, "gpu_4090": 2})
    assert batch.finish()["count_succeeded"] == 4
    assert [job["spec"]["parallelism"] for job in batch.jobs] == [1, 1]


def test_a_model_that_there_is_not(start: Callable[..., Batch]) -> None:
    with pytest.raises(errors.ArgumentValueError, match="it has gpu_3090, gpu_4090"):
        start(gpu, 1, 1, use_gpu=True, gpu_model="h100")


def test_the_models_are_listed(controller: aiauto.AIAutoController) -> None:
    from aiauto_gen.aiauto import v1
    from aiauto_gen.aiauto.v1.connect import AIAutoServiceClientSync

    from aiauto.connect import SyncTransport

    with SyncTransport(controller.base_url, token=controller.token) as transport:
        answer = AIAutoServiceClientSync(transport).list_gpu_flavors(v1.ListGpuFlavorsRequest())
    found = {flavor.name: flavor.node_labels for flavor in answer.gpu_flavors}
    assert found == {name: {PRODUCT: product} for name, product in MODELS.items()}
