"""Which parameters mattered: the one answer of the dashboard that it can't be left to give.

The dashboard keeps importances by study id in one cache for the whole process, and study ids are
counted from 0 in every workspace: one user would be shown another's. So this is computed here, in
the dashboard's own words, and kept by workspace.
"""

from __future__ import annotations

import threading
import warnings
from typing import TYPE_CHECKING, TypedDict

import optuna
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import TrialState

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial


class Importance(TypedDict):
    """One parameter's importance, as the dashboard's pages read it."""

    name: str
    importance: float
    distribution: str


class Importances:
    """Importances of the studies in one storage. Safe to use from several threads."""

    def __init__(self, storage: BaseStorage) -> None:
        self._storage = storage
        self._kept: dict[int, tuple[int, list[list[Importance]]]] = {}
        self._lock = threading.Lock()

    def of(self, study_id: int) -> list[list[Importance]]:
        """The importances of a study's parameters for each of its objectives.

        Args:
            study_id: Id of the study in the storage.

        Returns:
            A list for each objective, empty where too little has been tried to tell.

        Raises:
            KeyError: There is no such study.
        """
        study = optuna.load_study(
            study_name=self._storage.get_study_name_from_id(study_id), storage=self._storage
        )
        trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        # One at a time: it is work for the processor, and the other threads are wanted for pages.
        with self._lock:
            count, importances = self._kept.get(study_id, (-1, []))
            if count != len(trials):
                directions = range(len(study.directions))
                importances = [_importances(study, trials, number) for number in directions]
                self._kept[study_id] = len(trials), importances
            return importances


def _importances(
    study: optuna.Study, trials: list[FrozenTrial], objective: int
) -> list[Importance]:
    if len(trials) < 2:
        return []
    # The evaluator asks what makes values low.
    sign = -1 if study.directions[objective] == optuna.study.StudyDirection.MAXIMIZE else 1
    distributions = {
        name: type(distribution).__name__
        for trial in trials
        for name, distribution in trial.distributions.items()
    }
    with warnings.catch_warnings():
        # It warns that it does, whether or not it was heeded.
        warnings.simplefilter("ignore")
        importances = get_param_importances(
            study,
            target=lambda trial: sign * trial.values[objective],
            evaluator=PedAnovaImportanceEvaluator(),
        )
    return [
        {"name": name, "importance": importance, "distribution": distributions[name]}
        for name, importance in importances.items()
    ]
