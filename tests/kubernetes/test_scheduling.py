"""The scheduler: where Pods go, and its words where they can't. Nodes here are objects alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.kubernetes import manifests
from tests.kubernetes.api.conditions import find_condition
from tests.kubernetes.api.kinds import CLAIM, EVENT, NODE, POD, Object

if TYPE_CHECKING:
    from tests.kubernetes.client import Client
    from tests.kubernetes.cluster import Cluster


async def add(client: Client, name: str, capacity: Object, **labels: str) -> None:
    node = {"metadata": {"name": name, "labels": labels}, "spec": {}}
    await client.create(NODE, "", node)
    status = {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "10", **capacity}}
    await client.merge(NODE, "", name, {"status": status}, "status")


def asking(name: str, requests: Object, **spec: object) -> Object:
    resources = {"requests": requests, "limits": requests}
    return manifests.pod(name, container_fields={"resources": resources}, **spec)


def refusal(cluster: Cluster, name: str) -> Object:
    """Why a Pod is on no node."""

    def found() -> Object | None:
        pod = cluster.api.store.get(POD, "default", name)
        condition = find_condition(pod["status"], "PodScheduled")
        return condition if condition and condition["status"] == "False" else None

    return cluster.wait_for(found, f"{name} is refused")


def node_of(cluster: Cluster, name: str) -> str:
    def found() -> str | None:
        node: str | None = cluster.api.store.get(POD, "default", name)["spec"].get("nodeName")
        return node

    return cluster.wait_for(found, f"{name} is bound")


async def test_a_pod_waits_for_a_gpu_and_says_so(client: Client, cluster: Cluster) -> None:
    await add(client, "small", {})
    await client.create(POD, "default", asking("one", {"nvidia.com/gpu": "1"}))
    refused = refusal(cluster, "one")
    assert refused["reason"] == "Unschedulable"
    assert refused["message"] == (
        "0/1 nodes are available: 1 Insufficient nvidia.com/gpu. preemption: 0/1 nodes are "
        "available: 1 No preemption victims found for incoming pod."
    )
    event = cluster.wait_for(
        lambda: next(
            (e for e in cluster.api.store.all(EVENT) if e["reason"] == "FailedScheduling"), None
        ),
        "an Event FailedScheduling",
    )
    assert (event["type"], event["message"]) == ("Warning", refused["message"])
    await add(client, "big", {"nvidia.com/gpu": "1"})
    assert node_of(cluster, "one") == "big"
    # It has it for itself.
    await client.create(POD, "default", asking("two", {"nvidia.com/gpu": "1"}))
    assert refusal(cluster, "two")["message"].startswith(
        "0/2 nodes are available: 2 Insufficient nvidia.com/gpu."
    )


async def test_the_sum_of_requests_counts(client: Client, cluster: Cluster) -> None:
    await add(client, "only", {})
    await client.create(POD, "default", asking("one", {"cpu": "2500m", "memory": "1Gi"}))
    node_of(cluster, "one")
    await client.create(POD, "default", asking("two", {"cpu": "2", "memory": "9Gi"}))
    message = refusal(cluster, "two")["message"]
    assert message.startswith("0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory.")
    # What is over takes no room.
    await client.merge(POD, "default", "one", {"status": {"phase": "Succeeded"}}, "status")
    cluster.wait_for(
        lambda: (
            "1 Insufficient memory." in refusal_text(cluster, "two")
            and "cpu" not in refusal_text(cluster, "two")
        ),
        "only memory is missing",
    )


def refusal_text(cluster: Cluster, name: str) -> str:
    pod = cluster.api.store.get(POD, "default", name)
    condition = find_condition(pod["status"], "PodScheduled")
    return condition["message"] if condition else ""


@pytest.mark.parametrize("by", ["nodeSelector", "affinity"])
async def test_a_model_of_gpu_is_chosen_by_label(client: Client, cluster: Cluster, by: str) -> None:
    await add(client, "other", {}, gpu="t4")
    term = {"matchExpressions": [{"key": "gpu", "operator": "In", "values": ["a100", "h100"]}]}
    wanted = {"nodeSelectorTerms": [term]}
    of_nodes = {"requiredDuringSchedulingIgnoredDuringExecution": wanted}
    chosen: Object = {"gpu": "a100"} if by == "nodeSelector" else {"nodeAffinity": of_nodes}
    await client.create(POD, "default", manifests.pod("one", **{by: chosen}))
    assert refusal(cluster, "one")["message"] == (
        "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. "
        "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
    )
    await add(client, "right", {}, gpu="a100")
    assert node_of(cluster, "one") == "right"


async def test_a_claim_must_be_there_and_bound(client: Client, cluster: Cluster) -> None:
    await add(client, "only", {})
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": "shared"}}
    await client.create(POD, "default", manifests.pod("one", volumes=[volume]))
    assert refusal(cluster, "one")["message"].startswith(
        '0/1 nodes are available: persistentvolumeclaim "shared" not found.'
    )
    storage = {"resources": {"requests": {"storage": "1Gi"}}, "accessModes": ["ReadWriteMany"]}
    claim = {"metadata": {"name": "shared"}, "spec": storage}
    await client.create(CLAIM, "default", claim)
    assert node_of(cluster, "one") == "only"
    assert (await client.get(CLAIM, "default", "shared"))["status"]["phase"] == "Bound"


async def test_without_nodes_there_is_no_place(client: Client, cluster: Cluster) -> None:
    await client.create(POD, "default", manifests.pod("one"))
    assert refusal(cluster, "one")["message"] == "no nodes available to schedule pods"


async def test_pods_of_a_node_that_is_gone_have_failed(client: Client, cluster: Cluster) -> None:
    await add(client, "only", {})
    await client.create(POD, "default", manifests.pod("one"))
    node_of(cluster, "one")
    version = (await client.list(POD, "default"))["metadata"]["resourceVersion"]
    await client.delete(NODE, "", "only")
    last: Object = {}
    async for kind, pod in client.watch(POD, "default", resourceVersion=version):
        last = pod
        if kind == "DELETED":
            break
    assert last["status"]["phase"] == "Failed"
    disruption = find_condition(last["status"], "DisruptionTarget")
    assert disruption is not None
    assert disruption["reason"] == "DeletionByPodGC"
