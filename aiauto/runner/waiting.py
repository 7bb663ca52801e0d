"""Trials that wait to be run, found without looking at all that there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optuna.storages import JournalStorage
from optuna.trial import TrialState

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    from optuna.storages.journal import BaseJournalBackend
    from optuna.trial import FrozenTrial

WAITING = (TrialState.WAITING,)


class WorkerStorage(JournalStorage):
    """A storage whose every `optuna.Study.ask` costs the same, however many trials there are.

    Optuna asks for the trials that wait before it makes a new one, and for that looks at each trial
    of the study. A trial waits from its creation on or never, so that those are enough that have
    come since the last time, and those that waited then.
    """

    def __init__(self, log_storage: BaseJournalBackend, attributes: Mapping[str, str]) -> None:
        """As `optuna.storages.JournalStorage`.

        Args:
            log_storage: The journal. Reads that follow each other at once should cost it nothing.
            attributes: User attributes of every trial that waited and is started here.
        """
        super().__init__(log_storage)
        self._attributes = dict(attributes)
        self._was_outrun = False
        # By study: how many trials were looked at, and which of them waited when last seen.
        self._looked_at: dict[int, int] = {}
        self._waited: dict[int, list[int]] = {}

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,  # noqa: FBT001, FBT002 - as Optuna has it
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """The trials of a study, as `optuna.storages.BaseStorage` has it."""
        if deepcopy or states != WAITING:
            return super().get_all_trials(study_id, deepcopy=deepcopy, states=states)
        if study_id not in self._looked_at:
            trials = super().get_all_trials(study_id, deepcopy=False)
            waiting = [trial for trial in trials if trial.state in WAITING]
            self._looked_at[study_id] = len(trials)
        else:
            candidates = [*self._waited[study_id], *self._new_trials(study_id)]
            waiting = [trial for trial in map(self.get_trial, candidates) if trial.state in WAITING]
        self._waited[study_id] = [trial._trial_id for trial in waiting]  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        return waiting

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """Set a trial's state, as `optuna.storages.BaseStorage` has it."""
        if state is not TrialState.RUNNING:
            return super().set_trial_state_values(trial_id, state, values)
        self._was_outrun = True
        if not super().set_trial_state_values(trial_id, state, values):
            return False
        self._was_outrun = False
        # Only now: of several workers that saw it wait, one has got it.
        for name, value in self._attributes.items():
            self.set_trial_user_attr(trial_id, name, value)
        return True

    def take_outrun(self) -> bool:
        """Whether the last trial that was to be started here had been started elsewhere.

        Each time is told once.
        """
        was_outrun, self._was_outrun = self._was_outrun, False
        return was_outrun

    def _new_trials(self, study_id: int) -> list[int]:
        """The ids of the trials that have come since this was last called."""
        found: list[int] = []
        while True:
            number = self._looked_at[study_id]
            try:
                trial_id = self.get_trial_id_from_study_id_trial_number(study_id, number)
            except KeyError:
                return found
            found.append(trial_id)
            self._looked_at[study_id] = number + 1
