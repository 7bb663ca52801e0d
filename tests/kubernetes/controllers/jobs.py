"""The Job controller: makes the Pods of Jobs, counts how they end, and ends the Jobs."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from tests.kubernetes.api.conditions import find_condition, holds, set_condition
from tests.kubernetes.api.errors import StatusError
from tests.kubernetes.api.kinds import JOB, POD, Object, items, part
from tests.kubernetes.api.registry import DeleteOptions, now
from tests.kubernetes.controllers import indexes
from tests.kubernetes.controllers.events import Recorder
from tests.kubernetes.controllers.job_pods import TRACKING, new_pod, without_tracking
from tests.kubernetes.controllers.job_run import OVER, JobRun, phase
from tests.kubernetes.controllers.loop import Alarms

if TYPE_CHECKING:
    from tests.kubernetes.api.registry import Registry


def seconds_since(moment: str) -> float:
    """Seconds since a time that an object has."""
    then = datetime.strptime(moment, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
    return (datetime.now(timezone.utc) - then).total_seconds()


class JobController:
    """Sees to all Jobs.

    Args:
        registry: Where they are.
        backoff_seconds: How long a Job waits after the first Pod that failed; twice as long after
            each that follows.
        max_backoff_seconds: How long at most.
    """

    def __init__(
        self, registry: Registry, *, backoff_seconds: float, max_backoff_seconds: float = 600
    ) -> None:
        self._registry = registry
        self._store = registry.store
        self._recorder = Recorder(registry, "job-controller")
        self._backoff = backoff_seconds
        self._max_backoff = max_backoff_seconds
        # By the uid of a Job, and the index in it where indexes fail on their own: how often it
        # failed since it last succeeded, and when.
        self._failures: dict[tuple[str, int | None], tuple[int, float]] = {}
        # By the uid of a Job whose Pods are refused: how often that was, and when it tries again.
        self._refused: dict[str, tuple[int, float]] = {}
        self._alarms = Alarms()

    def sync(self) -> float | None:
        """See to every Job."""
        of_jobs: dict[str, list[Object]] = {}
        for pod in self._store.all(POD):
            for owner in items(pod["metadata"], "ownerReferences"):
                if owner.get("controller") and owner["kind"] == JOB.name:
                    of_jobs.setdefault(owner["uid"], []).append(pod)
                    break
            else:
                self._release(pod)
        for job in self._store.all(JOB):
            self._sync(job, of_jobs.pop(job["metadata"]["uid"], []))
        for pod in (one for pods in of_jobs.values() for one in pods):
            self._release(pod)
        return self._alarms.next()

    def _release(self, pod: Object) -> None:
        """A Pod without a Job that would count it may go."""
        if TRACKING in items(pod["metadata"], "finalizers"):
            metadata = pod["metadata"]
            self._registry.update(POD, metadata["namespace"], metadata["name"], without_tracking)

    def _sync(self, job: Object, pods: list[Object]) -> None:
        old = part(job, "status")
        if holds(old, "Complete") or holds(old, "Failed"):
            self._expire(job)
            return
        if job["spec"].get("managedBy") not in {None, "kubernetes.io/job-controller"}:
            return
        run = JobRun(job, pods)
        run.count()
        self._remember(run)
        if "startTime" not in run.status and not run.spec["suspend"]:
            run.status["startTime"] = now()
        run.decide(self._deadline_passed(run))
        if run.target is not None:
            self._end(run)
        elif "deletionTimestamp" not in job["metadata"]:
            self._manage(run)
        self._write(run)

    def _deadline_passed(self, run: JobRun) -> bool:
        limit, start = run.spec.get("activeDeadlineSeconds"), run.status.get("startTime")
        if limit is None or start is None or run.spec["suspend"]:
            return False
        left = limit - seconds_since(start)
        if left > 0:
            self._alarms.after(left)
        return bool(left <= 0)

    def _remember(self, run: JobRun) -> None:
        """How often it failed, which decides how long it waits."""
        for pod in (*run.new_succeeded, *run.new_failed):
            index = indexes.index_of(pod) if run.per_index else None
            key = run.uid, index
            if phase(pod) == "Succeeded":
                self._failures.pop(key, None)
            else:
                times, _ = self._failures.get(key, (0, 0.0))
                self._failures[key] = times + 1, time.monotonic()

    def _wait(self, run: JobRun, index: int | None = None) -> float:
        """Seconds to wait before a Pod that follows one that failed."""
        times, last = self._failures.get((run.uid, index), (0, 0.0))
        if not times:
            return 0
        # Beyond that it is more than any limit.
        wait = min(self._backoff * 2 ** min(times - 1, 30), self._max_backoff)
        return float(max(wait - (time.monotonic() - last), 0))

    def _manage(self, run: JobRun) -> None:
        """Make Pods, or delete them, so that as many run as should."""
        if run.spec["suspend"]:
            for pod in run.active:
                self._delete(run, pod)
            run.suspended = True
            return
        wanted = run.wanted()
        extra = run.to_remove(wanted)
        for pod in extra:
            self._delete(run, pod)
        if extra:
            return
        replacing_failed = run.spec["podReplacementPolicy"] == "Failed"
        missing = wanted - len(run.active) - (len(run.terminating) if replacing_failed else 0)
        if missing <= 0:
            return
        if not run.per_index and (wait := self._wait(run)) > 0:
            self._alarms.after(wait)
            return
        self._fill(run, missing)

    def _fill(self, run: JobRun, missing: int) -> None:
        """Make Pods, unless they were refused only now."""
        left = self._refused.get(run.uid, (0, 0.0))[1] - time.monotonic()
        if left > 0:
            self._alarms.after(left)
            return
        chosen: list[int | None] = [None] * missing
        if run.indexed:
            chosen = [*run.pending_indexes(missing)]
        for index in chosen:
            if run.per_index and (wait := self._wait(run, index)) > 0:
                self._alarms.after(wait)
            elif not self._create(run, index):
                times, _ = self._refused.get(run.uid, (0, 0.0))
                wait = min(max(self._backoff, 0.05) * 2 ** min(times, 30), self._max_backoff)
                self._refused[run.uid] = times + 1, time.monotonic() + wait
                self._alarms.after(wait)
                return
        self._refused.pop(run.uid, None)

    def _create(self, run: JobRun, index: int | None) -> bool:
        failures = self._failures.get((run.uid, index), (0, 0.0))[0] if run.per_index else None
        pod = new_pod(run.job, index, failures)
        try:
            made = self._registry.create(POD, run.namespace, pod)
        except StatusError as error:
            self._tell(run, "Warning", "FailedCreate", f"Error creating: {error.message}")
            return False
        run.active.append(made)
        self._tell(run, "Normal", "SuccessfulCreate", f"Created pod: {made['metadata']['name']}")
        return True

    def _delete(self, run: JobRun, pod: Object) -> None:
        name = pod["metadata"]["name"]
        self._registry.delete(POD, run.namespace, name, DeleteOptions())
        run.active = [one for one in run.active if one is not pod]
        run.terminating.append(pod)
        self._tell(run, "Normal", "SuccessfulDelete", f"Deleted pod: {name}")

    def _end(self, run: JobRun) -> None:
        """End what still runs of a Job that is over."""
        for pod in list(run.active):
            self._delete(run, pod)
        if run.target is not None and run.target[0] == "FailureTarget":
            run.count_rest()

    def _write(self, run: JobRun) -> None:
        """Write the status; then let go of what was counted; then end the Job, if it is over."""
        status = run.written()
        if run.suspended is not None:
            status = self._told_suspended(run, status)
        if run.target is not None:
            kind, reason, message = run.target
            if find_condition(status, kind) is None:
                status = set_condition(status, kind, "True", reason, message)
        self._store_status(run, status)
        over = run.target is not None or "deletionTimestamp" in run.job["metadata"]
        counted = {id(pod) for pod in (*run.new_succeeded, *run.new_failed)}
        for pod in run.pods:
            if over or id(pod) in counted:
                found = self._store.find(POD, run.namespace, pod["metadata"]["name"])
                if found is not None and found["metadata"]["uid"] == pod["metadata"]["uid"]:
                    self._release(found)
        if run.target is None or any(
            phase(one) not in OVER
            for pod in run.pods
            if (one := self._store.find(POD, run.namespace, pod["metadata"]["name"])) is not None
        ):
            return
        kind, reason, message = run.target
        failed = kind == "FailureTarget"
        status = set_condition(status, "Failed" if failed else "Complete", "True", reason, message)
        status["terminating"] = 0
        if failed:
            self._tell(run, "Warning", reason, message)
        else:
            status["completionTime"] = now()
            self._tell(run, "Normal", "Completed", "Job completed")
        self._store_status(run, status)
        for key in [key for key in self._failures if key[0] == run.uid]:
            del self._failures[key]

    def _told_suspended(self, run: JobRun, status: Object) -> Object:
        if run.suspended:
            if not holds(status, "Suspended"):
                self._tell(run, "Normal", "Suspended", "Job suspended")
            status.pop("startTime", None)
            return set_condition(status, "Suspended", "True", "JobSuspended", "Job suspended")
        self._tell(run, "Normal", "Resumed", "Job resumed")
        status["startTime"] = now()
        return set_condition(status, "Suspended", "False", "JobResumed", "Job resumed")

    def _store_status(self, run: JobRun, status: Object) -> None:
        present = self._store.find(JOB, run.namespace, run.name)
        if present is not None and present["metadata"]["uid"] == run.uid:
            self._store.replace(JOB, present, {**present, "status": status})

    def _expire(self, job: Object) -> None:
        """Delete a Job that is over when nobody needs it any longer."""
        limit = job["spec"].get("ttlSecondsAfterFinished")
        if limit is None or "deletionTimestamp" in job["metadata"]:
            return
        status = job["status"]
        end = find_condition(status, "Complete") or find_condition(status, "Failed")
        left = limit - seconds_since(end["lastTransitionTime"] if end else now())
        if left > 0:
            self._alarms.after(left)
            return
        metadata = job["metadata"]
        options = DeleteOptions(propagation="Foreground", uid=metadata["uid"])
        self._registry.delete(JOB, metadata["namespace"], metadata["name"], options)

    def _tell(self, run: JobRun, severity: str, reason: str, message: str) -> None:
        self._recorder.record(JOB, run.job, severity, reason, message)
