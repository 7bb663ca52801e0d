"""One Job and its Pods: what is counted, whether it is over, which Pods it lacks."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Final

from tests.kubernetes.api.conditions import find_condition, holds
from tests.kubernetes.api.kinds import items, part
from tests.kubernetes.controllers import failure_policy, indexes
from tests.kubernetes.controllers.job_pods import FAILURES, TRACKING

if TYPE_CHECKING:
    from tests.kubernetes.api.kinds import Object

OVER: Final = frozenset({"Succeeded", "Failed"})
_COMPLETED: Final = (
    "SuccessCriteriaMet",
    "CompletionsReached",
    "Reached expected number of succeeded pods",
)


def phase(pod: Object) -> str:
    """The phase of a Pod."""
    return str(part(pod, "status").get("phase") or "Pending")


class JobRun:
    """One Job and its Pods, as they are while it is seen to."""

    def __init__(self, job: Object, pods: list[Object]) -> None:
        self.job = job
        self.spec: Object = job["spec"]
        self.status: Object = copy.deepcopy(part(job, "status"))
        self.uid: str = job["metadata"]["uid"]
        self.namespace: str = job["metadata"]["namespace"]
        self.name: str = job["metadata"]["name"]
        self.indexed = self.spec["completionMode"] == "Indexed"
        self.per_index = self.spec.get("backoffLimitPerIndex") is not None
        self.policy: Object | None = self.spec.get("podFailurePolicy")
        self.pods = pods
        living = [one for one in pods if phase(one) not in OVER]
        self.active = [one for one in living if "deletionTimestamp" not in one["metadata"]]
        self.terminating = [one for one in living if "deletionTimestamp" in one["metadata"]]
        tracked = [one for one in pods if TRACKING in items(one["metadata"], "finalizers")]
        self.new_succeeded = [one for one in tracked if phase(one) == "Succeeded"]
        self.new_failed = [one for one in tracked if self._has_failed(one)]
        counted = {id(one) for one in (*self.new_succeeded, *self.new_failed)}
        self._uncounted = [one for one in tracked if id(one) not in counted]
        self.completed = indexes.read(self.status.get("completedIndexes") or "")
        self.failed_indexes = indexes.read(self.status.get("failedIndexes") or "")
        self.failed: int = self.status.get("failed") or 0
        # What is to become of the Job: a condition's type, its reason and message.
        self.target: tuple[str, str, str] | None = None
        # None where that did not change and need not be told.
        self.suspended: bool | None = None
        found = find_condition(self.status, "Suspended")
        if found and found["status"] == "True" and not self.spec["suspend"]:
            self.suspended = False

    def _has_failed(self, pod: Object) -> bool:
        if phase(pod) == "Failed":
            return True
        # With a policy only what a Pod said at its end decides, so it must have ended.
        if self.spec["podReplacementPolicy"] == "Failed":
            return False
        return "deletionTimestamp" in pod["metadata"] and phase(pod) != "Succeeded"

    @property
    def succeeded(self) -> int:
        """How many Pods succeeded, or indexes where the Job has them."""
        return len(self.completed) if self.indexed else self.status.get("succeeded") or 0

    def count(self) -> None:
        """Count the Pods that ended since the last time."""
        for pod in self.new_succeeded:
            index = indexes.index_of(pod)
            if not self.indexed:
                self.status["succeeded"] = (self.status.get("succeeded") or 0) + 1
            elif index is not None and index < self.spec["completions"]:
                self.completed.add(index)
        for pod in self.new_failed:
            self._count_failed(pod)

    def count_rest(self) -> None:
        """Count what a failed Job ends as failed, too."""
        for pod in self._uncounted:
            self._count_failed(pod)

    def _count_failed(self, pod: Object) -> None:
        verdict = failure_policy.judge(self.policy, pod)
        if verdict.action != "Ignore":
            self.failed += 1
        index = indexes.index_of(pod)
        if not self.per_index or index is None or verdict.action == "Ignore":
            return
        before = int(part(pod["metadata"], "annotations").get(FAILURES) or 0)
        if verdict.action == "FailIndex" or before >= self.spec["backoffLimitPerIndex"]:
            self.failed_indexes.add(index)

    def decide(self, deadline_passed: bool) -> None:  # noqa: FBT001
        """Whether the Job is over, and how."""
        if found := find_condition(self.status, "SuccessCriteriaMet"):
            self.target = "SuccessCriteriaMet", found["reason"], found["message"]
            return
        if found := find_condition(self.status, "FailureTarget"):
            self.target = "FailureTarget", found["reason"], found["message"]
            return
        failure = self._failure(deadline_passed)
        completions = self.spec.get("completions")
        if failure is not None:
            self.target = "FailureTarget", *failure
        elif completions is None:
            if self.succeeded and not self.active:
                self.target = _COMPLETED
        elif self.succeeded >= completions and not self.active:
            self.target = _COMPLETED

    def _failure(self, deadline_passed: bool) -> tuple[str, str] | None:  # noqa: FBT001
        for pod in self.pods:
            if self.policy is not None and self._has_failed(pod):
                verdict = failure_policy.judge(self.policy, pod)
                if verdict.action == "FailJob":
                    return "PodFailurePolicy", verdict.message
        if self.failed > self.spec["backoffLimit"]:
            return "BackoffLimitExceeded", "Job has reached the specified backoff limit"
        if deadline_passed:
            return "DeadlineExceeded", "Job was active longer than specified deadline"
        most = self.spec.get("maxFailedIndexes")
        if most is not None and len(self.failed_indexes) > most:
            why = "Job has exceeded the specified maximal number of failed indexes"
            return "MaxFailedIndexesExceeded", why
        ended = len(self.failed_indexes) + len(self.completed)
        if self.failed_indexes and ended >= self.spec["completions"]:
            return "FailedIndexes", "Job has failed indexes"
        return None

    def wanted(self) -> int:
        """How many Pods should run."""
        parallelism: int = self.spec["parallelism"]
        completions: int | None = self.spec.get("completions")
        if completions is not None:
            return max(min(completions - self.succeeded, parallelism), 0)
        return len(self.active) if self.succeeded else parallelism

    def pending_indexes(self, count: int) -> list[int]:
        """The first indexes that nobody works at."""
        busy = {indexes.index_of(pod) for pod in self.active}
        if self.spec["podReplacementPolicy"] == "Failed":
            busy |= {indexes.index_of(pod) for pod in self.terminating}
        open_ones = (
            index
            for index in range(self.spec["completions"])
            if index not in busy and index not in self.completed | self.failed_indexes
        )
        return [index for index, _ in zip(open_ones, range(count), strict=False)]

    def to_remove(self, wanted: int) -> list[Object]:
        """Pods that are too many, or whose index another has or is none any longer."""
        extra: list[Object] = []
        if self.indexed:
            seen: set[int] = set()
            for pod in self.active:
                index = indexes.index_of(pod)
                if index is None or index >= self.spec["completions"] or index in seen:
                    extra.append(pod)
                else:
                    seen.add(index)
        rest = [pod for pod in self.active if pod not in extra]
        # Those that do not run yet first; then those of the highest index.
        rest.sort(key=lambda pod: (phase(pod) == "Running", -(indexes.index_of(pod) or 0)))
        too_many = len(self.active) - wanted - len(extra)
        return extra + rest[: max(too_many, 0)]

    def written(self) -> Object:
        """The status with its numbers."""
        status = self.status
        ready = sum(holds(part(pod, "status"), "Ready") for pod in self.active)
        status.update(ready=ready, terminating=len(self.terminating))
        for name, number in (("active", len(self.active)), ("failed", self.failed)):
            status.pop(name, None)
            status.update({name: number} if number else {})
        if self.indexed:
            status.pop("succeeded", None)
            status.update({"succeeded": len(self.completed)} if self.completed else {})
            status.pop("completedIndexes", None)
            status.update(
                {"completedIndexes": indexes.write(self.completed)} if self.completed else {}
            )
        if self.per_index:
            status["failedIndexes"] = indexes.write(self.failed_indexes)
        status["uncountedTerminatedPods"] = {}
        return status
