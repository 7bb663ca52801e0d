"""The values of a study with several objectives that no other trial beats."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from optuna.study import StudyDirection

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

# With many objectives nearly every trial is beaten by none: the newest of them are enough to tell
# whether there is any progress.
MAX_POINTS = 10_000


class Front:
    """The Pareto front of a study, as trials end."""

    def __init__(self, directions: Sequence[StudyDirection]) -> None:
        """Make an empty one.

        Args:
            directions: Directions of the study.
        """
        maximized = [direction == StudyDirection.MAXIMIZE for direction in directions]
        self._signs: NDArray[np.float64] = np.where(maximized, -1.0, 1.0)
        self._points: NDArray[np.float64] = np.empty((0, len(directions)))

    def restorer(self) -> Callable[[], None]:
        """What makes it again what it is now."""
        # They are replaced by others, never changed.
        return partial(setattr, self, "_points", self._points)

    def add(self, values: Sequence[float]) -> bool:
        """Take the values of a trial.

        Args:
            values: One for each direction.

        Returns:
            Whether they are new: no trial before is at least as good in every objective.
        """
        point = self._signs * np.asarray(values, dtype=np.float64)
        if bool((self._points <= point).all(axis=1).any()):
            return False
        unbeaten = self._points[~(point <= self._points).all(axis=1)]
        self._points = np.vstack([unbeaten[-MAX_POINTS + 1 :], point])
        return True
