"""The Job controller: Pods are made, counted and replaced. The tests say how the Pods end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.kubernetes import manifests
from tests.kubernetes.api.conditions import find_condition, holds
from tests.kubernetes.api.kinds import EVENT, JOB, POD, Object
from tests.kubernetes.controllers import indexes
from tests.kubernetes.controllers.indexes import index_of

if TYPE_CHECKING:
    from tests.kubernetes.client import Client
    from tests.kubernetes.cluster import Cluster

DISRUPTIONS_IGNORED = {
    "rules": [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]},
        {
            "action": "FailJob",
            "onExitCodes": {"containerName": "main", "operator": "In", "values": [1, 2]},
        },
    ]
}


def living(cluster: Cluster) -> list[Object]:
    return [pod for pod in cluster.api.store.all(POD) if pod["status"]["phase"] == "Pending"]


def pods(cluster: Cluster, count: int) -> list[Object]:
    """So many Pods, once there are, by index."""

    def as_many() -> list[Object] | None:
        have = living(cluster)
        return have if len(have) == count else None

    found = cluster.wait_for(as_many, f"{count} Pods")
    return sorted(found, key=lambda pod: index_of(pod) or 0)


async def end(
    client: Client, pod: Object, code: int = 0, *, disrupted: bool = False, phase: str = ""
) -> None:
    """Let a Pod end, as its node would tell it."""
    state = {"terminated": {"exitCode": code, "reason": "Error" if code else "Completed"}}
    status: Object = {
        "phase": phase or ("Failed" if code or disrupted else "Succeeded"),
        "containerStatuses": [{"name": "main", "state": state}],
    }
    if disrupted:
        del status["containerStatuses"]
        status["conditions"] = [{"type": "DisruptionTarget", "status": "True"}]
    await client.merge(POD, "default", pod["metadata"]["name"], {"status": status}, "status")


def over(cluster: Cluster, name: str, condition: str) -> Object:
    """The condition with which a Job is over."""

    def found() -> Object | None:
        job = cluster.api.store.get(JOB, "default", name)
        return find_condition(job["status"], condition)

    return cluster.wait_for(found, f"Job {name} is {condition}")


def status(cluster: Cluster, name: str = "one") -> Object:
    job = cluster.find(JOB, name)
    assert job is not None
    found: Object = job["status"]
    return found


async def test_an_indexed_job_makes_a_pod_for_each_index(client: Client, cluster: Cluster) -> None:
    await client.create(JOB, "default", manifests.job("one", completions=3, parallelism=2))
    first, second = pods(cluster, 2)
    metadata = first["metadata"]
    assert metadata["name"].startswith("one-0-")
    assert len(metadata["name"]) == len("one-0-") + 5
    key = "batch.kubernetes.io/job-completion-index"
    assert metadata["annotations"][key] == metadata["labels"][key] == "0"
    (owner,) = metadata["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["controller"]) == ("Job", "one", True)
    assert first["spec"]["hostname"] == "one-0"
    variable = first["spec"]["containers"][0]["env"][0]
    assert variable["name"] == "JOB_COMPLETION_INDEX"
    assert variable["valueFrom"]["fieldRef"]["fieldPath"] == f"metadata.labels['{key}']"
    await end(client, second)
    first, third = pods(cluster, 2)
    assert index_of(third) == 2
    for pod in (first, third):
        await end(client, pod)
    complete = over(cluster, "one", "Complete")
    assert complete["reason"] == "CompletionsReached"
    ended = status(cluster)
    assert (ended["succeeded"], ended["completedIndexes"]) == (3, "0-2")
    assert ended["completionTime"]
    assert "active" not in ended
    assert holds(ended, "SuccessCriteriaMet")
    events = [one for one in cluster.all(EVENT) if one["involvedObject"]["kind"] == "Job"]
    told = {event["reason"] for event in events}
    assert told == {"SuccessfulCreate", "Completed"}
    # What is counted is held no longer.
    assert not any("finalizers" in pod["metadata"] for pod in cluster.all(POD))


async def test_pods_that_fail_are_replaced_up_to_a_limit(client: Client, cluster: Cluster) -> None:
    await client.create(JOB, "default", manifests.job("one", backoffLimit=1))
    for _ in range(2):
        await end(client, pods(cluster, 1)[0], 1)
    failed = over(cluster, "one", "Failed")
    assert failed["reason"] == "BackoffLimitExceeded"
    assert failed["message"] == "Job has reached the specified backoff limit"
    assert status(cluster)["failed"] == 2


async def test_disruptions_do_not_count_and_an_exit_code_ends_the_job(
    client: Client, cluster: Cluster
) -> None:
    job = manifests.job("one", backoffLimit=0, podFailurePolicy=DISRUPTIONS_IGNORED)
    await client.create(JOB, "default", job)
    for _ in range(2):
        await end(client, pods(cluster, 1)[0], disrupted=True)
    last = pods(cluster, 1)[0]
    assert "failed" not in status(cluster)
    await end(client, last, 2)
    failed = over(cluster, "one", "Failed")
    assert failed["reason"] == "PodFailurePolicy"
    name = last["metadata"]["name"]
    assert failed["message"] == (
        f"Container main for pod default/{name} failed with exit code 2 matching FailJob rule at "
        "index 1"
    )


async def test_a_job_that_failed_ends_its_other_pods(client: Client, cluster: Cluster) -> None:
    job = manifests.job("one", completions=2, parallelism=2, backoffLimit=0)
    await client.create(JOB, "default", job)
    first, _ = pods(cluster, 2)
    await end(client, first, 1)
    over(cluster, "one", "Failed")
    assert [pod["metadata"]["name"] for pod in cluster.all(POD)] == [first["metadata"]["name"]]
    assert status(cluster)["failed"] == 2


async def test_indexes_may_fail_on_their_own(client: Client, cluster: Cluster) -> None:
    job = manifests.job("one", completions=2, parallelism=2, backoffLimitPerIndex=1)
    await client.create(JOB, "default", job)
    for failures in ("0", "1"):
        first, second = pods(cluster, 2)
        key = "batch.kubernetes.io/job-index-failure-count"
        assert first["metadata"]["annotations"][key] == failures
        await end(client, first, 1)
    await end(client, second)
    failed = over(cluster, "one", "Failed")
    assert failed["reason"] == "FailedIndexes"
    ended = status(cluster)
    assert (ended["failedIndexes"], ended["completedIndexes"]) == ("0", "1")


async def test_a_job_has_so_long(client: Client, cluster: Cluster) -> None:
    await client.create(JOB, "default", manifests.job("one", activeDeadlineSeconds=1))
    failed = over(cluster, "one", "Failed")
    assert failed["reason"] == "DeadlineExceeded"
    assert cluster.all(POD) == []


async def test_a_suspended_job_has_no_pods(client: Client, cluster: Cluster) -> None:
    await client.create(JOB, "default", manifests.job("one", suspend=True))
    over(cluster, "one", "Suspended")
    assert cluster.all(POD) == []
    assert "startTime" not in status(cluster)
    # Where it will run may still be said.
    where = {"spec": {"template": {"spec": {"nodeSelector": {"gpu": "a100"}}}}}
    await client.merge(JOB, "default", "one", where)
    await client.merge(JOB, "default", "one", {"spec": {"suspend": False}})
    (pod,) = pods(cluster, 1)
    assert pod["spec"]["nodeSelector"] == {"gpu": "a100"}
    await client.merge(JOB, "default", "one", {"spec": {"suspend": True}})
    cluster.wait_for(lambda: not cluster.api.store.all(POD), "the Pod is gone")


async def test_parallelism_may_change(client: Client, cluster: Cluster) -> None:
    await client.create(JOB, "default", manifests.job("one", completions=3, parallelism=3))
    pods(cluster, 3)
    await client.merge(JOB, "default", "one", {"spec": {"parallelism": 1}})
    (left,) = pods(cluster, 1)
    assert index_of(left) == 0


async def test_a_job_that_is_over_goes_when_its_time_has_come(
    client: Client, cluster: Cluster
) -> None:
    await client.create(JOB, "default", manifests.job("one", ttlSecondsAfterFinished=0))
    await end(client, pods(cluster, 1)[0])
    cluster.wait_for(lambda: not cluster.api.store.all(JOB), "the Job is gone")
    assert cluster.all(POD) == []


@pytest.mark.parametrize("policy", ["Background", "Foreground"])
async def test_a_deleted_job_takes_its_pods_along(
    client: Client, cluster: Cluster, policy: str
) -> None:
    await client.create(JOB, "default", manifests.job("one"))
    pods(cluster, 1)
    await client.delete(JOB, "default", "one", propagationPolicy=policy)
    store = cluster.api.store
    cluster.wait_for(lambda: not store.all(JOB) and not store.all(POD), "both are gone")


async def test_a_job_that_is_deleted_without_a_word_leaves_its_pods(
    client: Client, cluster: Cluster
) -> None:
    await client.create(JOB, "default", manifests.job("one"))
    (pod,) = pods(cluster, 1)
    await client.delete(JOB, "default", "one")
    cluster.wait_for(lambda: not cluster.api.store.all(JOB), "the Job is gone")
    orphan = cluster.wait_for(
        lambda: next(
            (
                one
                for one in cluster.api.store.all(POD)
                if not one["metadata"].get("ownerReferences")
                and "finalizers" not in one["metadata"]
            ),
            None,
        ),
        "the Pod is nobody's",
    )
    assert orphan["metadata"]["uid"] == pod["metadata"]["uid"]


async def test_pods_that_are_refused_are_told_of(client: Client, cluster: Cluster) -> None:
    job = manifests.job("one", pod_spec={"priorityClassName": "urgent"})
    await client.create(JOB, "default", job)
    event = cluster.wait_for(
        lambda: next(
            (e for e in cluster.api.store.all(EVENT) if e["reason"] == "FailedCreate"), None
        ),
        "an Event FailedCreate",
    )
    assert event["involvedObject"]["name"] == "one"
    assert event["message"].startswith("Error creating: pods ")
    assert event["message"].endswith("no PriorityClass with name urgent was found")


@pytest.mark.parametrize(
    ("text", "numbers"), [("", set[int]()), ("0,1", {0, 1}), ("1,3-5,7,8", {1, 3, 4, 5, 7, 8})]
)
def test_indexes_are_written_in_runs(text: str, numbers: set[int]) -> None:
    assert indexes.write(numbers) == text
    assert indexes.read(text) == numbers
