"""The `optuna.Study` that a user gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import optuna

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

TRIALBATCH_ATTRIBUTE = "trialbatch_name"
ASK_TELL_LOCAL = "ask_tell_local"


class LocalStudy(optuna.Study):
    """An `optuna.Study` in every respect, whose own trials say that they belong to no batch.

    Trials that are asked for here carry the user attribute ``trialbatch_name`` with the value
    ``ask_tell_local``, as on the hosted service, where the trials of batches carry the batch's
    name.
    """

    def ask(
        self, fixed_distributions: dict[str, BaseDistribution] | None = None
    ) -> optuna.trial.Trial:
        """Create a trial to run here, as `optuna.Study.ask` does."""
        trial = super().ask(fixed_distributions)
        trial.set_user_attr(TRIALBATCH_ATTRIBUTE, ASK_TELL_LOCAL)
        return trial


def load(
    study_name: str,
    storage: optuna.storages.BaseStorage,
    sampler: optuna.samplers.BaseSampler | None,
    pruner: optuna.pruners.BasePruner | None,
) -> LocalStudy:
    """Open a study of a storage.

    Args:
        study_name: Name of the study.
        storage: The storage.
        sampler: Chooses the parameters of trials asked for here. Default: Optuna's.
        pruner: Decides on trials that run here. Default: Optuna's.

    Returns:
        The study.
    """
    # Optuna chooses the defaults by the study's directions.
    study = optuna.load_study(
        study_name=study_name, storage=storage, sampler=sampler, pruner=pruner
    )
    return LocalStudy(study_name, storage, study.sampler, study.pruner)
