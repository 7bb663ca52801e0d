"""What is asked of studies again and again, kept at hand: nobody looks at their trials for it."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from optuna.distributions import json_to_distribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from aiauto.server.journal.feasibility import is_feasible
from aiauto.server.journal.state import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from aiauto.server.journal.entries import Entry

# Stands for every trial that has ended: nothing changes it any more.
_ENDED: Final[Entry] = {"state": int(TrialState.FAIL)}


@dataclass(frozen=True)
class StudyOverview:
    """A study as it stands.

    Attributes:
        name: Its name.
        directions: Its directions.
        counts: How many of its trials are in each state.
        best_trial: With one objective, its best trial as `optuna.Study.best_trial` tells it; None
            while no trial has completed that breaks no constraint.
        best_values: With several objectives, the best value of each among such trials, in their
            order; empty while there is none.
    """

    name: str
    directions: list[StudyDirection]
    counts: Mapping[TrialState, int]
    best_trial: FrozenTrial | None
    best_values: list[float]


@dataclass
class _Tally:
    """What the trials of a study come to.

    Attributes:
        counts: How many are in each state.
        numbers: Numbers of those that have not ended, by their ids.
        best_trial: What `StudyOverview.best_trial` is.
        best_values: What `StudyOverview.best_values` is.
        told: What was told of the study, while it is true.
    """

    counts: Counter[TrialState] = field(default_factory=Counter[TrialState])
    numbers: dict[int, int] = field(default_factory=dict[int, int])
    best_trial: FrozenTrial | None = None
    best_values: list[float] = field(default_factory=list[float])
    told: StudyOverview | None = None


class Overview(State):
    """The studies of one workspace, folded from entries.

    It holds the trials that have not ended, and forgets each as it does.

    Attributes:
        length: How many entries it has taken.
    """

    def __init__(self) -> None:
        super().__init__()
        self.length: int = 0
        self._tallies: defaultdict[int, _Tally] = defaultdict(_Tally)

    def extend(self, texts: Iterable[str]) -> None:
        """Take the entries that come next, as text."""
        for text in texts:
            self.length += 1
            self.apply([json.loads(text)])

    def studies(self) -> dict[int, StudyOverview]:
        """The studies that are there, by their id. What is given out never changes."""
        return {
            study_id: self._told(study_id)
            for study_id, study in enumerate(self._studies)
            if not study.is_deleted
        }

    def _told(self, study_id: int) -> StudyOverview:
        tally = self._tallies[study_id]
        if tally.told is None:
            study = self._studies[study_id]
            directions = [StudyDirection(one) for one in study.directions]
            tally.told = StudyOverview(
                study.name, directions, tally.counts.copy(), tally.best_trial, tally.best_values
            )
        return tally.told

    def _moved(self, trial_id: int, before: TrialState | None) -> None:
        trial = self._trials[trial_id]
        study_id: int = trial["study_id"]
        state = TrialState(trial["state"])
        tally = self._tallies[study_id]
        tally.told = None
        if before is None:
            tally.numbers[trial_id] = tally.counts.total()
        else:
            tally.counts[before] -= 1
        tally.counts[state] += 1
        if state.is_finished():
            self._trials[trial_id] = _ENDED
            number = tally.numbers.pop(trial_id)
            if state == TrialState.COMPLETE and is_feasible(trial["system_attrs"]):
                directions = self._studies[study_id].directions
                maximize = [direction == StudyDirection.MAXIMIZE for direction in directions]
                _note_best(tally, maximize, trial, trial_id, number)


def _note_best(
    tally: _Tally, maximize: Sequence[bool], trial: Entry, trial_id: int, number: int
) -> None:
    """Take a trial that completed."""
    values = _values(trial)
    # Whose value is none is no best, wherever it stands. Optuna lets no such trial complete.
    if len(values) != len(maximize) or any(map(math.isnan, values)):
        return
    if len(values) > 1:
        so_far = tally.best_values or values
        tally.best_values = [
            max(one, other) if greater else min(one, other)
            for greater, one, other in zip(maximize, so_far, values, strict=True)
        ]
        return
    if (best := tally.best_trial) is not None:
        value, best_value = values[0], best.values[0]
        better = value > best_value if maximize[0] else value < best_value
        # Of equals it is the first that was created, whichever ended first.
        if not better and (value != best_value or number > best.number):
            return
    tally.best_trial = _frozen(trial, trial_id, number)


def _values(trial: Entry) -> list[float]:
    if trial.get("values") is not None:
        values: list[float] = trial["values"]
        return values
    return [] if trial.get("value") is None else [trial["value"]]


def _frozen(trial: Entry, trial_id: int, number: int) -> FrozenTrial:
    """A trial as Optuna has it once it has replayed the entry that would create it."""
    distributions = {
        name: json_to_distribution(text) for name, text in trial["distributions"].items()
    }
    params: dict[str, Any] = {
        name: distributions[name].to_external_repr(value) for name, value in trial["params"].items()
    }
    return FrozenTrial(
        trial_id=trial_id,
        number=number,
        state=TrialState(trial["state"]),
        value=None,
        values=_values(trial),
        params=params,
        distributions=distributions,
        user_attrs=trial["user_attrs"],
        system_attrs=trial["system_attrs"],
        intermediate_values={
            int(step): value for step, value in trial["intermediate_values"].items()
        },
        datetime_start=_moment(trial.get("datetime_start")),
        datetime_complete=_moment(trial.get("datetime_complete")),
    )


def _moment(text: str | None) -> datetime | None:
    """A time as Optuna keeps it: by the clock on the wall, without a zone."""
    return None if text is None else datetime.fromisoformat(text).astimezone().replace(tzinfo=None)
