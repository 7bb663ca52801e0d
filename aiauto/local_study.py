"""The `optuna.Study` that a user gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import optuna

from aiauto.trial import flush_notes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optuna.distributions import BaseDistribution
    from optuna.trial import TrialState

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

    def tell(
        self,
        trial: optuna.Trial | int,
        values: float | Sequence[float] | None = None,
        state: TrialState | None = None,
        skip_if_finished: bool = False,  # noqa: FBT001, FBT002 - as Optuna has it
    ) -> optuna.trial.FrozenTrial:
        """End a trial, as `optuna.Study.tell` does, with what its controllers have noted."""
        if isinstance(trial, optuna.Trial):
            flush_notes(trial)
        return super().tell(trial, values, state, skip_if_finished)


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
