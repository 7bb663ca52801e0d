"""What is asked of studies again and again, kept at hand: nobody looks at their trials for it."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from optuna.study import StudyDirection
from optuna.trial import TrialState

from aiauto.server.journal.state import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

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
    """

    name: str
    directions: list[StudyDirection]
    counts: Mapping[TrialState, int]


@dataclass
class _Tally:
    """What the trials of a study come to.

    Attributes:
        counts: How many are in each state.
        told: What was told of the study, while it is true.
    """

    counts: Counter[TrialState] = field(default_factory=Counter[TrialState])
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
            tally.told = StudyOverview(study.name, directions, tally.counts.copy())
        return tally.told

    def _moved(self, trial_id: int, before: TrialState | None) -> None:
        trial = self._trials[trial_id]
        state = TrialState(trial["state"])
        tally = self._tallies[trial["study_id"]]
        tally.told = None
        tally.counts[state] += 1
        if before is not None:
            tally.counts[before] -= 1
        if state.is_finished():
            self._trials[trial_id] = _ENDED
