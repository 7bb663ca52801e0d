"""What keeps a batch from having all of its workers, in words for its user."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aiauto.server.executors.kubernetes import jobs
from aiauto.server.executors.kubernetes.states import PodState, finished_at, state_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiauto.server.executors.kubernetes.cluster import Cluster
    from aiauto.server.executors.kubernetes.configuration import Json

UNSCHEDULABLE: Final = "Unschedulable"
FAILED_CREATE: Final = "FailedCreate"
# Of a Job's end, which says nothing by itself: its Pods do.
_BY_PODS: Final = frozenset({"BackoffLimitExceeded", "PodFailurePolicy", "FailedIndexes"})


@dataclass(frozen=True)
class Difficulty:
    """What a batch waits for.

    Attributes:
        message: A sentence; empty for nothing.
        hopeless: Whether no worker runs, and none can without somebody's help.
    """

    message: str = ""
    hopeless: bool = False


async def difficulty(
    cluster: Cluster, own_jobs: Sequence[Json], own_pods: Sequence[Json]
) -> Difficulty:
    """Find out what keeps a batch from having all of its workers.

    Args:
        cluster: The cluster, which is asked for more where no Pod tells.
        own_jobs: The Jobs of the batch.
        own_pods: Their Pods.

    Raises:
        ClusterError: The cluster refuses, or can't be reached.
    """
    states = [state_of(pod) for pod in own_pods]
    present = [state for state in states if not state.ended]
    waiting = [state for state in present if state.reason]
    if waiting:
        return _of_pods(waiting, len(present))
    if present or not own_jobs:
        return Difficulty()
    return await _of_jobs(cluster, own_jobs)


def failure_of(job: Json, own_pods: Sequence[Json]) -> str:
    """Why a Job has failed, by what its Pods say; empty where it has not.

    Args:
        job: The Job.
        own_pods: The Pods of its batch.
    """
    for condition in job.get("status", {}).get("conditions") or ():
        if condition["type"] != "Failed" or condition["status"] != "True":
            continue
        reason = str(condition.get("reason", ""))
        words = str(condition.get("message") or reason)
        if reason == "DeadlineExceeded":
            return (
                "The batch was not over long after its time was: the cluster has ended its Job "
                f"({words})."
            )
        failed = [pod for pod in own_pods if state_of(pod).exit_code]
        failed.sort(key=finished_at)
        last = state_of(failed[-1]).message if reason in _BY_PODS and failed else ""
        return f"The cluster has given up the Job of this batch ({words}).\n\n{last}".strip()
    return ""


def _of_pods(waiting: Sequence[PodState], present: int) -> Difficulty:
    (reason, message), count = Counter(
        (state.reason, state.message) for state in waiting
    ).most_common(1)[0]
    who = f"{count} of {present} workers" if present > 1 else "The worker"
    verb = "wait" if present > 1 and count > 1 else "waits"
    hopeless = len(waiting) == present and all(state.hopeless for state in waiting)
    if reason == UNSCHEDULABLE:
        return Difficulty(f"{who} {verb} for a place on the cluster: {message}")
    return Difficulty(f"{who} can't start ({reason}): {message}", hopeless)


async def _of_jobs(cluster: Cluster, own_jobs: Sequence[Json]) -> Difficulty:
    """What Jobs without Pods wait for."""
    for job in own_jobs:
        name = str(job["metadata"]["name"])
        queue = job["metadata"].get("labels", {}).get(jobs.QUEUE_LABEL)
        if job["spec"].get("suspend"):
            who = f"the queue {queue}" if queue else "somebody to resume its Job"
            return Difficulty(f"The batch waits for {who}: its Job {name} is suspended.")
        if (words := await cluster.last_event(name, FAILED_CREATE)) is not None:
            return Difficulty(f"The cluster makes no Pods for the batch: {words}", hopeless=True)
    return Difficulty()
