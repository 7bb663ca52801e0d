"""The best of a study so far, as `optuna.Study` tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optuna.trial import TrialState

from aiauto.server.journal.feasibility import is_feasible

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

    from aiauto.server.database.models import Study


def best_of(storage: BaseStorage, study: Study) -> tuple[FrozenTrial | None, list[float]]:
    """The best trial of a study with one objective, or the best values of one with several.

    For threads.

    Args:
        storage: Where its trials are.
        study: The study.

    Returns:
        The trial, None with several objectives; and the best value of each objective, in their
        order, none with one. Neither where no trial has completed, or the study is gone.
    """
    if "," in study.directions:
        return None, _best_values(storage, study)
    return _best_trial(storage, study), []


def _best_trial(storage: BaseStorage, study: Study) -> FrozenTrial | None:
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


def _best_values(storage: BaseStorage, study: Study) -> list[float]:
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
