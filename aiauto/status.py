"""What `StudyWrapper.get_status` tells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from typing_extensions import NotRequired, TypedDict

from aiauto import notebook

if TYPE_CHECKING:
    from aiauto_gen.aiauto import v1

FINAL_PHASES = frozenset({"Succeeded", "Failed"})


class ConditionStatus(TypedDict):
    """One observation of a batch, in the manner of Kubernetes."""

    type: str
    """For example ``TRIAL_BATCH_CONDITION_COMPLETE``."""
    status: str
    """``True``, ``False`` or ``Unknown``."""
    reason: str
    """One word for programs."""
    message: str
    """A sentence for people."""
    last_transition_time: str
    """RFC 3339 time of the last change of ``status``."""


class TrialStatus(TypedDict):
    """A trial that has ended. The keys are those of the released client."""

    trialNumber: int
    """Its number in the study."""
    state: str
    """``COMPLETE``, ``PRUNED`` or ``FAIL``."""
    podName: str
    """Worker that ran it."""
    value: float | None
    """Its value, the first of several; None where it failed or was pruned before it had any."""
    values: list[float]
    """All of its values."""
    userAttrs: dict[str, str]
    """Its user attributes, each value as JSON."""
    artifactRemoved: bool
    """Whether it had artifacts that are gone, since only those of the best trials are kept."""
    startTime: str
    """RFC 3339 time of its start."""
    endTime: str
    """RFC 3339 time of its end."""
    valueSpecial: str
    """``nan``, ``inf`` or ``-inf``, where the value is that."""
    error: str
    """Why it failed: the traceback of the objective, or what happened to its worker."""
    reason: str
    """The same in one word: ``Error`` (the objective raised), ``Timeout``, ``Cancelled``, ``Lost``,
    ``WorkerEnded``, ``OutOfMemory`` (its worker was killed for that), ``ServerStopped`` or
    ``CantRun``; empty where it did not fail."""


class _BatchCounts(TypedDict):
    trialbatch_name: str
    """Name of the batch."""
    phase: str
    """``Pending``, ``Running``, ``Succeeded``, ``Failed`` or ``Unknown``."""
    conditions: list[ConditionStatus]
    """What the server observes about it."""
    count_active: int
    """Trials running now."""
    count_succeeded: int
    """Trials that returned a value."""
    count_pruned: int
    """Trials that the pruner ended."""
    count_failed: int
    """Trials that raised, or whose worker died."""
    count_total: int
    """``n_trials`` of the batch; where it ended early, how many trials had begun."""
    count_completed: int
    """Trials that have ended: succeeded, pruned and failed."""
    last_error: str
    """The newest error of the batch; empty while there is none."""
    stop_reason: str
    """Why it ended early: ``Cancelled``, ``Timeout``, ``NoImprovement``, ``SearchSpaceExhausted``
    or ``StoppedByObjective``; empty where it did not."""


class TrialBatchStatus(_BatchCounts):
    """How one batch is doing."""

    completed_trials: NotRequired[dict[str, TrialStatus]]
    """The trials that have ended, by a name unique to each; where ``include_trials`` was asked
    for."""


class TrialBatchStatusWithTrials(_BatchCounts):
    """How one batch is doing, and its trials."""

    completed_trials: dict[str, TrialStatus]
    """The trials that have ended, by a name unique to each."""


class _StudyCounts(TypedDict):
    study_name: str
    """Name of the study."""
    count_active: int
    """Trials running now."""
    count_succeeded: int
    """Trials that returned a value."""
    count_pruned: int
    """Trials that the pruner ended."""
    count_failed: int
    """Trials that raised, or whose worker died."""
    count_total: int
    """Trials asked for; of batches that ended early, those that had begun."""
    count_completed: int
    """Trials that have ended: succeeded, pruned and failed."""
    dashboard_url: str
    """Address of the Optuna dashboard."""
    last_error: str
    """The newest error; empty while there is none."""
    updated_at: str
    """RFC 3339 time of this status, for example ``2025-09-01T11:31:49.375Z``."""


class StudyStatus(_StudyCounts):
    """How a study is doing: the counts are sums over its batches."""

    trialbatches: dict[str, TrialBatchStatus]
    """Every batch by its name, oldest first."""


class StudyStatusWithTrials(_StudyCounts):
    """How a study is doing, and the trials that have ended."""

    trialbatches: dict[str, TrialBatchStatusWithTrials]
    """Every batch by its name, oldest first."""


class StatusDict(dict[str, Any]):
    """A status as an ordinary dict, which notebooks show as a table."""

    def _repr_html_(self) -> str:
        return notebook.status_html(self)


def study_status(
    response: v1.GetStatusResponse, *, include_trials: bool = False
) -> StudyStatusWithTrials:
    """Put the server's answer into the form that users meet.

    Args:
        response: The answer.
        include_trials: Whether it lists trials. Without them it is a `StudyStatus` only.

    Returns:
        The status.
    """
    batches = {
        name: trial_batch_status(batch, include_trials=include_trials)
        for name, batch in response.trialbatches.items()
    }
    # The seed's keys come first, in its order.
    status: StudyStatus = {
        "study_name": response.study_name,
        "count_active": sum(batch["count_active"] for batch in batches.values()),
        "count_succeeded": sum(batch["count_succeeded"] for batch in batches.values()),
        "count_pruned": sum(batch["count_pruned"] for batch in batches.values()),
        "count_failed": sum(batch["count_failed"] for batch in batches.values()),
        "count_total": sum(batch["count_total"] for batch in batches.values()),
        "count_completed": sum(batch["count_completed"] for batch in batches.values()),
        "dashboard_url": response.dashboard_url,
        "last_error": _newest_error(batches),
        "updated_at": response.updated_at,
        "trialbatches": batches,
    }
    return cast("StudyStatusWithTrials", StatusDict(status))


def trial_batch_status(
    status: v1.TrialBatchStatus, *, include_trials: bool = False
) -> TrialBatchStatus:
    """Put the status of one batch into the form that users meet."""
    conditions = [
        ConditionStatus(
            type=condition.type,
            status=condition.status,
            reason=condition.reason,
            message=condition.message,
            last_transition_time=condition.last_transition_time,
        )
        for condition in status.conditions
    ]
    result: TrialBatchStatus = {
        "trialbatch_name": status.trialbatch_name,
        "phase": status.phase,
        "conditions": conditions,
        "count_active": status.count_active,
        "count_succeeded": status.count_succeeded,
        "count_pruned": status.count_pruned,
        "count_failed": status.count_failed,
        "count_total": status.count_total,
        "count_completed": status.count_completed,
        "last_error": last_error(status),
        "stop_reason": status.stop_reason,
    }
    if include_trials:
        result["completed_trials"] = {
            name: _trial_status(trial) for name, trial in status.completed_trials.items()
        }
    return result


def last_error(status: v1.TrialBatchStatus) -> str:
    """The newest error of a batch; empty while there is none."""
    # A server that knows only the hosted service's schema tells it by a condition.
    told = (c.message for c in status.conditions if is_degraded(c.type, c.status))
    return status.last_error or next(told, "")


def waits_for(status: v1.TrialBatchStatus) -> str:
    """What keeps a batch from having all of its workers, in a sentence; empty for nothing."""
    told = (c.message for c in status.conditions if c.reason == "WorkersMissing")
    return next(told, "")


def is_degraded(condition_type: str, condition_status: str) -> bool:
    """Tell whether a condition says that something is wrong."""
    return condition_type.endswith("_DEGRADED") and condition_status == "True"


def trial_value(trial: v1.TrialInfo) -> float | None:
    """The value of a trial, the first of several; None where it has none."""
    if trial.values:
        return trial.values[0]
    if trial.value_special:
        return float(trial.value_special)
    # A server of the hosted schema lists no values, and none is 0 there.
    return trial.value if trial.state == "COMPLETE" else trial.value or None


def _trial_status(trial: v1.TrialInfo) -> TrialStatus:
    value = trial_value(trial)
    return TrialStatus(
        trialNumber=trial.trial_number,
        state=trial.state,
        podName=trial.pod_name,
        value=value,
        values=list(trial.values) or ([] if value is None else [value]),
        userAttrs=dict(trial.user_attrs),
        artifactRemoved=trial.artifact_removed,
        startTime=trial.start_time,
        endTime=trial.end_time,
        valueSpecial=trial.value_special,
        error=trial.error,
        reason=trial.reason,
    )


def _newest_error(batches: dict[str, TrialBatchStatus]) -> str:
    failed = [batch for batch in batches.values() if batch["last_error"]]
    # Batches that say nothing about the time stand in the order in which they were made: of equal
    # ones the last is taken.
    newest = max(reversed(failed), key=_error_time, default=None)
    return "" if newest is None else newest["last_error"]


def _error_time(batch: TrialBatchStatus) -> str:
    times = (
        condition["last_transition_time"]
        for condition in batch["conditions"]
        if is_degraded(condition["type"], condition["status"])
    )
    return max(times, default="")
