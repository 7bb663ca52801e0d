"""What the server must know of a workspace's journal before it appends: kept in step with it.

It follows the rules by which Optuna replays entries (`optuna.storages.JournalStorage`): ids are
given in order, entries for what does not exist or has ended change nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from optuna.study import StudyDirection
from optuna.trial import TrialState

from aiauto.server.journal.entries import Operation, external_value
from aiauto.server.journal.feasibility import broken_constraints
from aiauto.server.journal.front import Front
from aiauto.server.journal.newest import Newest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from aiauto.server.journal.entries import Entry


@dataclass
class StudyRecord:
    """A study as the journal knows it.

    Attributes:
        name: Its name.
        directions: Its directions.
        trial_ids: Ids of its trials by their number.
        waiting: Ids of its trials that wait to be run.
        counts: How many of its trials are in each state.
        best_trial_id: The best complete trial of a study with one objective that breaks no
            constraint, None while there is none.
        front: With several objectives, the values that no other such trial beats.
    """

    name: str
    directions: list[StudyDirection]
    trial_ids: list[int] = field(default_factory=list[int])
    waiting: set[int] = field(default_factory=set[int])
    counts: Counter[TrialState] = field(default_factory=Counter[TrialState])
    best_trial_id: int | None = None
    best_value: float = 0.0
    front: Front = field(init=False)

    def __post_init__(self) -> None:
        self.front = Front(self.directions)

    def count(self, state: TrialState, before: TrialState | None = None) -> None:
        """Count a trial in its state, and no longer in the one that it had before, if any."""
        self.counts[state] += 1
        if before is not None:
            self.counts[before] -= 1

    def uncount(self, state: TrialState, before: TrialState | None = None) -> None:
        """Take back what `count` did."""
        self.counts[state] -= 1
        if before is not None:
            self.counts[before] += 1

    def set_best(self, trial_id: int | None, value: float) -> None:
        """Note the best trial."""
        self.best_trial_id, self.best_value = trial_id, value


@dataclass
class TrialRecord:
    """A trial as the journal knows it.

    Attributes:
        study_id: Its study.
        number: Its number there.
        state: Where it stands.
        params: Its parameters as users know them, until it ends.
        broken: The constraints that it breaks.
    """

    study_id: int
    number: int
    state: TrialState
    params: dict[str, Any] = field(default_factory=dict[str, Any])
    broken: frozenset[str] = frozenset()

    def note(self, system_attrs: Mapping[str, object]) -> None:
        """Take system attributes, among which there may be constraints."""
        for name, is_broken in broken_constraints(system_attrs).items():
            self.broken = self.broken | {name} if is_broken else self.broken - {name}


@dataclass(frozen=True)
class TrialChange:
    """A trial that an entry started or ended.

    Attributes:
        trial_id: Its id.
        study_id: Its study.
        number: Its number in the study.
        state: The state that it has now.
        params: The parameters that it had, where it ended.
        improves: Whether it is better than every trial of the study before; with several
            objectives, whether none before is at least as good in all of them. Trials that break
            a constraint don't count.
    """

    trial_id: int
    study_id: int
    number: int
    state: TrialState
    params: dict[str, Any] = field(default_factory=dict[str, Any])
    improves: bool = False


@dataclass(frozen=True)
class Extension:
    """What entries did that were appended.

    Attributes:
        changes: The trials that they started and ended.
        undo: Takes them back, where they were not appended after all. What was done later must be
            taken back before.
    """

    changes: list[TrialChange]
    undo: Callable[[], None]


class Ledger:
    """Studies and trials of one workspace, as far as the server needs them to append.

    Attributes:
        length: How many entries it has taken.
        newest: The last of them.
        studies: Studies by their id.
        trials: Trials by their id.
    """

    def __init__(self) -> None:
        self.length: int = 0
        self.newest: Newest = Newest()
        self.studies: dict[int, StudyRecord] = {}
        self.trials: list[TrialRecord] = []
        self._next_study_id = 0
        # How to take back what is being taken.
        self._steps: list[Callable[[], object]] = []

    def study_id(self, name: str) -> int | None:
        """The id of a study by its name, None where there is none."""
        return next((id_ for id_, study in self.studies.items() if study.name == name), None)

    def extend(self, entries: Sequence[tuple[Entry, str]]) -> Extension:
        """Take entries that were appended.

        Args:
            entries: Each checked, and as text.
        """
        steps: list[Callable[[], object]] = [partial(setattr, self, "length", self.length)]
        self._steps = steps

        def undo() -> None:
            while steps:
                steps.pop()()

        try:
            changes = [self.apply(entry) for entry, _ in entries]
        except Exception:
            undo()
            raise
        self.newest.extend(text for _, text in entries)
        steps.append(partial(self.newest.drop, len(entries)))
        return Extension([change for change in changes if change is not None], undo)

    def apply(self, entry: Entry) -> TrialChange | None:
        """Take an entry that was appended.

        Args:
            entry: The entry, checked.

        Returns:
            The trial that it started or ended, if it did.
        """
        self.length += 1
        operation = entry["op_code"]
        if operation == Operation.CREATE_TRIAL:
            return self._create_trial(entry)
        if operation == Operation.SET_TRIAL_STATE_VALUES:
            return self._set_state(entry)
        if operation == Operation.CREATE_STUDY:
            if self.study_id(entry["study_name"]) is None:
                directions = [StudyDirection(one) for one in entry["directions"]]
                self.studies[self._next_study_id] = StudyRecord(entry["study_name"], directions)
                self._next_study_id += 1
                self._steps.append(self._uncreate_study)
        elif operation == Operation.SET_TRIAL_PARAM:
            self._set_param(entry)
        elif operation == Operation.SET_TRIAL_SYSTEM_ATTR:
            self._set_system_attr(entry)
        elif operation == Operation.DELETE_STUDY:
            self._delete_study(entry["study_id"])
        return None

    def _delete_study(self, study_id: int) -> None:
        if (deleted := self.studies.pop(study_id, None)) is not None:
            self._steps.append(partial(self.studies.__setitem__, study_id, deleted))

    def _uncreate_study(self) -> None:
        self._next_study_id -= 1
        del self.studies[self._next_study_id]

    def _create_trial(self, entry: Entry) -> TrialChange | None:
        study = self.studies.get(entry["study_id"])
        if study is None:
            return None
        trial_id, number = len(self.trials), len(study.trial_ids)
        state = TrialState(entry.get("state", TrialState.RUNNING))
        trial = TrialRecord(entry["study_id"], number, state)
        trial.note(entry.get("system_attrs") or {})
        self.trials.append(trial)
        self._steps.append(self.trials.pop)
        if not state.is_finished():
            fixed: object = entry.get("system_attrs", {}).get("fixed_params")
            if isinstance(fixed, dict):  # whoever sent it may have written anything there
                trial.params.update(cast("dict[str, Any]", fixed))
        study.trial_ids.append(trial_id)
        self._steps.append(study.trial_ids.pop)
        study.count(state)
        self._steps.append(partial(study.uncount, state))
        values = entry.get("values") or ([] if entry.get("value") is None else [entry["value"]])
        improves = self._note_best(study, trial_id, state, values)
        self._note_waiting(study, trial_id, state)
        if state == TrialState.WAITING:
            return None
        return TrialChange(trial_id, entry["study_id"], number, state, improves=improves)

    def _set_param(self, entry: Entry) -> None:
        trial_id: int = entry["trial_id"]
        trial = self.trials[trial_id] if trial_id < len(self.trials) else None
        if trial is not None and not trial.state.is_finished():
            name: str = entry["param_name"]
            self._steps.append(_restore(trial.params, name))
            trial.params[name] = external_value(entry)

    def _set_system_attr(self, entry: Entry) -> None:
        trial_id: int = entry["trial_id"]
        trial = self.trials[trial_id] if trial_id < len(self.trials) else None
        if trial is not None and not trial.state.is_finished():
            self._steps.append(partial(setattr, trial, "broken", trial.broken))
            trial.note(entry["system_attr"])

    def _set_state(self, entry: Entry) -> TrialChange | None:
        trial_id: int = entry["trial_id"]
        trial = self.trials[trial_id] if trial_id < len(self.trials) else None
        state = TrialState(entry["state"])
        if trial is None or trial.state.is_finished():
            return None
        if state == trial.state == TrialState.RUNNING:
            return None  # somebody else started it first
        before, trial.state = trial.state, state
        self._steps.append(partial(setattr, trial, "state", before))
        improves = False
        if (study := self.studies.get(trial.study_id)) is not None:
            study.count(state, before)
            self._steps.append(partial(study.uncount, state, before))
            self._note_waiting(study, trial_id, state)
            improves = self._note_best(study, trial_id, state, entry.get("values") or [])
        params: dict[str, Any] = {}
        if state.is_finished():
            params, trial.params = trial.params, {}
            self._steps.append(partial(setattr, trial, "params", params))
        return TrialChange(trial_id, trial.study_id, trial.number, state, params, improves)

    def _note_waiting(self, study: StudyRecord, trial_id: int, state: TrialState) -> None:
        if state == TrialState.WAITING:
            study.waiting.add(trial_id)
            self._steps.append(partial(study.waiting.discard, trial_id))
        elif trial_id in study.waiting:
            study.waiting.discard(trial_id)
            self._steps.append(partial(study.waiting.add, trial_id))

    def _note_best(
        self, study: StudyRecord, trial_id: int, state: TrialState, values: list[Any]
    ) -> bool:
        if self.trials[trial_id].broken:
            return False
        if state != TrialState.COMPLETE or len(values) != len(study.directions):
            return False
        numbers = [float(value) for value in values]
        if any(math.isnan(number) for number in numbers):
            return False
        if len(numbers) > 1:
            self._steps.append(study.front.restorer())
            return study.front.add(numbers)
        value = numbers[0]
        maximize = study.directions[0] == StudyDirection.MAXIMIZE
        better = value > study.best_value if maximize else value < study.best_value
        if study.best_trial_id is not None and not better:
            return False
        self._steps.append(partial(study.set_best, study.best_trial_id, study.best_value))
        study.set_best(trial_id, value)
        return True


def _restore(params: dict[str, Any], name: str) -> Callable[[], None]:
    """What brings back what a parameter is now."""
    if name in params:
        return partial(params.__setitem__, name, params[name])
    return partial(params.pop, name)
