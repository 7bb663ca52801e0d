"""Rows of the database as messages of the schema."""

from __future__ import annotations

import json
import math
from datetime import timezone
from typing import TYPE_CHECKING

from aiauto_gen.aiauto import v1
from optuna.trial import TrialState

from aiauto.legible import legible
from aiauto.server.batches.stopping import StopReason
from aiauto.server.database.models import now

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from optuna.trial import FrozenTrial

    from aiauto.server.database.models import Lease, Study, TrialBatch, Worker
    from aiauto.server.journal.overview import StudyOverview


def rfc3339(moment: datetime | None) -> str:
    """A time as text, for example ``2025-09-01T11:31:49.375Z``; empty for None."""
    if moment is None:
        return ""
    utc = moment.astimezone(timezone.utc)
    return utc.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def condition(
    type_: v1.WorkspaceCondition | v1.StudyCondition | v1.TrialBatchCondition,
    prefix: str,
    *,
    holds: bool,
    reason: str,
    message: str = "",
    since: datetime | None = None,
) -> v1.Condition:
    """One observation, in the manner of Kubernetes."""
    return v1.Condition(
        type=f"{prefix}_CONDITION_{type_.name}",
        status="True" if holds else "False",
        reason=reason,
        message=message,
        last_transition_time=rfc3339(since or now()),
    )


def batch_phase(batch: TrialBatch) -> str:
    """Where a batch stands, as a `Phase` in text."""
    if batch.is_over:
        # A batch of a search space that others have searched has nothing to do.
        nothing_to_do = batch.stop_reason == StopReason.EXHAUSTED and not batch.n_trials
        usable = batch.count_succeeded + batch.count_pruned
        return "Succeeded" if usable or nothing_to_do else "Failed"
    return "Running" if batch.started_at is not None else "Pending"


def batch_status(batch: TrialBatch) -> v1.TrialBatchStatus:
    """How a batch is doing, without its trials."""
    return v1.TrialBatchStatus(
        trialbatch_name=batch.name,
        count_active=batch.count_active,
        count_succeeded=batch.count_succeeded,
        count_pruned=batch.count_pruned,
        count_failed=batch.count_failed,
        count_total=batch.n_trials,
        count_completed=batch.count_completed,
        phase=batch_phase(batch),
        conditions=_batch_conditions(batch),
        last_error=batch.last_error,
        stop_reason=batch.stop_reason,
    )


def batch_info(batch: TrialBatch, user_id: int) -> v1.TrialBatchInfo:
    """A batch as it stands."""
    return v1.TrialBatchInfo(
        name=batch.name,
        user_id=str(user_id),
        creation_timestamp=rfc3339(batch.created_at),
        spec=v1.TrialBatchSpec.parse(batch.spec),
        status=batch_status(batch),
    )


def study_phase(batches: Sequence[TrialBatch], trials: Mapping[TrialState, int]) -> str:
    """Where a study stands, as a `Phase` in text.

    One usable batch is enough for it to succeed, and so is one usable trial, whoever ran it.

    Args:
        batches: Its batches.
        trials: How many of its trials are in each state.
    """
    phases = {batch_phase(batch) for batch in batches}
    if "Running" in phases or trials.get(TrialState.RUNNING):
        return "Running"
    if "Pending" in phases:
        return "Pending"
    if "Succeeded" in phases or trials.get(TrialState.COMPLETE) or trials.get(TrialState.PRUNED):
        return "Succeeded"
    return "Failed" if phases or trials.get(TrialState.FAIL) else "Pending"


def trial_counts(trials: Mapping[TrialState, int]) -> v1.TrialCounts:
    """How many trials are in each state."""
    return v1.TrialCounts(
        waiting=trials.get(TrialState.WAITING, 0),
        running=trials.get(TrialState.RUNNING, 0),
        complete=trials.get(TrialState.COMPLETE, 0),
        pruned=trials.get(TrialState.PRUNED, 0),
        fail=trials.get(TrialState.FAIL, 0),
    )


def study_info(
    study: Study,
    user_id: int,
    batches: Sequence[TrialBatch],
    there: StudyOverview | None,
    *,
    include_best: bool,
) -> v1.StudyInfo:
    """A study as it stands.

    Args:
        study: The study.
        user_id: Whose it is.
        batches: Its batches.
        there: What the Optuna storage has of it; None where it was deleted there.
        include_best: Whether to tell its best trial, or the best values of its objectives.
    """
    best = there if include_best else None
    best_trial = None if best is None else best.best_trial
    running = any(not batch.is_over for batch in batches)
    directions = study.directions.split(",")
    single = directions[0] if len(directions) == 1 else ""
    kind = v1.StudyCondition
    return v1.StudyInfo(
        name=study.name,
        user_id=str(user_id),
        creation_timestamp=rfc3339(study.created_at),
        study_name=study.name,
        direction=single,
        directions=[] if single else directions,
        sampler_json=study.sampler_json,
        pruner_json=study.pruner_json,
        phase=study_phase(batches, {} if there is None else there.counts),
        conditions=[
            condition(kind.CREATED, "STUDY", holds=True, reason="Created", since=study.created_at),
            condition(kind.READY, "STUDY", holds=True, reason="Ready", since=study.created_at),
            condition(
                kind.PROGRESSING,
                "STUDY",
                holds=running,
                reason="BatchRunning" if running else "NoBatchRunning",
            ),
        ],
        study_id=study.optuna_study_id,
        count_active=sum(batch.count_active for batch in batches),
        count_succeeded=sum(batch.count_succeeded for batch in batches),
        count_pruned=sum(batch.count_pruned for batch in batches),
        count_failed=sum(batch.count_failed for batch in batches),
        count_total=sum(batch.n_trials for batch in batches),
        trials=None if there is None else trial_counts(there.counts),
        best_trial=None if best_trial is None else trial_info(best_trial),
        best_params={} if best_trial is None else params_as_json(best_trial),
        best_values=[] if best is None else best.best_values,
    )


def trial_info(
    trial: FrozenTrial,
    lease: Lease | None = None,
    *,
    pod_name: str = "",
    artifact_removed: bool = False,
) -> v1.TrialInfo:
    """A trial that has ended, with what its lease, if one is given, knows of its failure."""
    values: list[float] = list(trial.values or ())
    value = values[0] if values else 0.0
    special = "" if math.isfinite(value) else str(float(value))
    return v1.TrialInfo(
        trial_number=trial.number,
        state=trial.state.name,
        pod_name=pod_name,
        value=0.0 if special else value,
        values=values,
        user_attrs=_as_json(trial.user_attrs),
        start_time=rfc3339(trial.datetime_start),
        end_time=rfc3339(trial.datetime_complete),
        value_special=special,
        artifact_removed=artifact_removed,
        error="" if lease is None else lease.error,
        reason="" if lease is None else lease.reason,
    )


def params_as_json(trial: FrozenTrial) -> dict[str, str]:
    """The parameters of a trial, each value as JSON."""
    return _as_json(trial.params)


def _as_json(values: Mapping[str, object]) -> dict[str, str]:
    # A journal holds any name that JSON can spell.
    return {legible(name): json.dumps(one, default=str) for name, one in values.items()}


def unstarted_trial_info(lease: Lease, *, pod_name: str) -> v1.TrialInfo:
    """A lease that ended without a trial: the right to run one was spent all the same."""
    return v1.TrialInfo(
        trial_number=-1,
        state=lease.state,
        pod_name=pod_name,
        start_time=rfc3339(lease.acquired_at),
        end_time=rfc3339(lease.ended_at),
        error=lease.error,
        reason=lease.reason,
    )


def pod_info(worker: Worker, restarts: int) -> v1.PodInfo:
    """A worker as it stands, and how many have failed in its place before it."""
    started = rfc3339(worker.started_at)
    state = v1.ContainerState()
    if worker.ended_at is not None:
        state.terminated = v1.ContainerStateTerminated(
            exit_code=-1 if worker.exit_code is None else worker.exit_code,
            reason=worker.reason,
            message=worker.message,
            finished_at=rfc3339(worker.ended_at),
        )
    elif started:
        state.running = v1.ContainerStateRunning(started_at=started)
    else:
        state.waiting = v1.ContainerStateWaiting(
            reason=worker.reason or "Starting", message=worker.message
        )
    return v1.PodInfo(
        name=worker.name,
        phase=worker.phase,
        reason=worker.reason,
        message=worker.message,
        restart_count=restarts,
        container_statuses=[
            v1.ContainerStatusInfo(
                name="worker",
                ready=state.running is not None,
                restart_count=restarts,
                state=state,
            )
        ],
        node_name=worker.host_name,
        start_time=started,
    )


def _of_workers(batch: TrialBatch) -> str:
    if batch.is_over:
        return "Finished"
    if batch.waits_for:
        return "WorkersMissing"
    return "WorkersUp" if batch.started_at else "WorkersStarting"


def _batch_conditions(batch: TrialBatch) -> list[v1.Condition]:
    kind, since = v1.TrialBatchCondition, batch.finished_at or batch.started_at
    over, degraded = batch.is_over, bool(batch.last_error)
    return [
        condition(kind.READY, "TRIAL_BATCH", holds=True, reason="Accepted", since=batch.created_at),
        condition(
            kind.PODS_RUNNING,
            "TRIAL_BATCH",
            holds=batch.started_at is not None and not over,
            reason=_of_workers(batch),
            message="" if over else batch.waits_for,
            since=since or batch.created_at,
        ),
        condition(
            kind.PROGRESSING,
            "TRIAL_BATCH",
            holds=not over,
            reason="Finished" if over else "TrialsLeft",
            since=batch.finished_at or batch.created_at,
        ),
        condition(
            kind.COMPLETE,
            "TRIAL_BATCH",
            holds=over,
            reason="Finished" if over else "TrialsLeft",
            since=batch.finished_at or batch.created_at,
        ),
        condition(
            kind.DEGRADED,
            "TRIAL_BATCH",
            holds=degraded,
            reason="TrialsFailed" if degraded else "AsExpected",
            message=batch.last_error,
            since=batch.last_error_at or batch.created_at,
        ),
    ]
