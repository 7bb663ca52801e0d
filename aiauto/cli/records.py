"""Trials and batches as `--json` shows them. README and docs promise these keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import optuna
    from aiauto_gen.aiauto import v1

TRIAL_COLUMNS: tuple[str, ...] = (
    "number",
    "state",
    "values",
    "params",
    "user_attrs",
    "datetime_start",
    "datetime_complete",
    "duration",
)
BATCH_COLUMNS: tuple[str, ...] = (
    "trialbatch_name",
    "study_name",
    "phase",
    "created_at",
    "count_total",
    "count_active",
    "count_succeeded",
    "count_pruned",
    "count_failed",
    "count_completed",
    "stop_reason",
    "last_error",
)


def trials(count: int) -> str:
    """So many trials, in words."""
    return f"{count} trial" if count == 1 else f"{count} trials"


def trial(one: optuna.trial.FrozenTrial) -> dict[str, Any]:
    """A trial, by `TRIAL_COLUMNS`. Times are local and without a zone, as Optuna has them."""
    start, end, duration = one.datetime_start, one.datetime_complete, one.duration
    return {
        "number": one.number,
        "state": one.state.name,
        "values": one.values,
        "params": one.params,
        "user_attrs": one.user_attrs,
        "datetime_start": start and start.isoformat(),
        "datetime_complete": end and end.isoformat(),
        "duration": duration and duration.total_seconds(),
    }


def batch(one: v1.TrialBatchInfo) -> dict[str, Any]:
    """A batch, by `BATCH_COLUMNS`."""
    from aiauto_gen.aiauto import v1  # noqa: PLC0415 - help needs none of it

    from aiauto.status import last_error  # noqa: PLC0415 - as above

    status, spec = one.status or v1.TrialBatchStatus(), one.spec or v1.TrialBatchSpec()
    return {
        "trialbatch_name": one.name,
        "study_name": spec.study_name,
        "phase": status.phase,
        "created_at": one.creation_timestamp,
        "count_total": status.count_total,
        "count_active": status.count_active,
        "count_succeeded": status.count_succeeded,
        "count_pruned": status.count_pruned,
        "count_failed": status.count_failed,
        "count_completed": status.count_completed,
        "stop_reason": status.stop_reason,
        "last_error": last_error(status),
    }


def trial_counts(one: v1.StudyInfo) -> dict[str, int]:
    """How many trials of a study are in each state, whoever ran them."""
    if (told := one.trials) is None:
        # A server of the hosted schema knows those of its batches only.
        return {
            "waiting": 0,
            "running": one.count_active,
            "complete": one.count_succeeded,
            "pruned": one.count_pruned,
            "fail": one.count_failed,
        }
    return {
        "waiting": told.waiting,
        "running": told.running,
        "complete": told.complete,
        "pruned": told.pruned,
        "fail": told.fail,
    }


def study(one: v1.StudyInfo, batches: list[v1.TrialBatchInfo]) -> dict[str, Any]:
    """A study, with the sums over its batches, and its trials by state."""
    own = [batch(each) for each in batches if each.spec and each.spec.study_name == one.study_name]
    counts = ("total", "active", "succeeded", "pruned", "failed", "completed")
    return {
        "study_name": one.study_name,
        "directions": list(one.directions) or [one.direction],
        "phase": one.phase,
        "created_at": one.creation_timestamp,
        **{f"count_{name}": sum(each[f"count_{name}"] for each in own) for name in counts},
        "trials": trial_counts(one),
    }
