"""The best of a study so far, as `optuna.Study` tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optuna.trial import TrialState

from aiauto.server.journal.feasibility import is_feasible

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

    from aiauto.server.database.models import Study


def has_several_objectives(study: Study) -> bool:
    """Whether a study has more than one."""
    return "," in study.directions


def best_trial(storage: BaseStorage, study: Study) -> FrozenTrial | None:
    """The best trial of a study with one objective. For threads.

    Returns:
        The trial; None where none has completed, or the study is gone.
    """
    try:
        best = storage.get_best_trial(study.optuna_study_id)
    except (ValueError, KeyError):
        return None
    if is_feasible(best.system_attrs):
        return best
    # As `optuna.Study.best_trial` does it.
    trials = _feasible_trials(storage, study)
    choose = max if study.directions == "maximize" else min
    return choose(trials, key=lambda trial: trial.values[0]) if trials else None


def best_values(storage: BaseStorage, study: Study) -> list[float]:
    """The best value of each objective of a study. For threads.

    Returns:
        The values in the order of the objectives; none where no trial has completed, or the study
        is gone.
    """
    trials = _feasible_trials(storage, study)
    if not trials:
        return []
    each = zip(*(trial.values for trial in trials), strict=True)
    return [
        max(values) if direction == "maximize" else min(values)
        for values, direction in zip(each, study.directions.split(","), strict=True)
    ]


def _feasible_trials(storage: BaseStorage, study: Study) -> list[FrozenTrial]:
    try:
        trials = storage.get_all_trials(
            study.optuna_study_id, deepcopy=False, states=(TrialState.COMPLETE,)
        )
    except KeyError:  # the study is gone
        return []
    return [trial for trial in trials if is_feasible(trial.system_attrs)]
