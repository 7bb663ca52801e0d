"""What an objective does with its trial besides Optuna's own calls: notes and attributes."""

from __future__ import annotations

import importlib
import logging
import threading
from typing import TYPE_CHECKING, Any, Final

from aiauto import config
from aiauto.errors import ArgumentTypeError, ArgumentValueError

if TYPE_CHECKING:
    import optuna

__all__ = ["RESERVED_ATTRIBUTES", "TrialController", "flush_notes"]

RESERVED_ATTRIBUTES: Final = frozenset(
    {"pod_name", "trialbatch_name", "gpu_name", "artifact_id", "artifact_removed"}
)
"""User attributes of a trial that aiauto sets itself."""

FLUSH_EVERY: Final = 5
"""After so many lines a note is saved."""

MAX_NOTE_CHARACTERS: Final = 20_000
# Saving a note writes all of it into the journal.
_CUT: Final = "[earlier lines are left out]"

logger: logging.Logger = logging.getLogger("optuna")


class TrialController:
    """Writes into the note of a trial, which the dashboard shows, and sets its attributes.

    Controllers of one trial share one note, so that a helper function may make its own.

    Args:
        trial: The trial that the objective was given, or one that was asked for. A `FrozenTrial`
            has no storage behind it: its lines are shown, and not kept.

    Raises:
        ArgumentTypeError: It is no trial.
    """

    def __init__(self, trial: optuna.Trial | optuna.trial.FrozenTrial) -> None:
        if not hasattr(trial, "number") or not hasattr(trial, "user_attrs"):
            message = (
                f"trial must be the trial that the objective was given, not {type(trial).__name__}."
            )
            raise ArgumentTypeError(message, argument="trial")
        self._trial = trial
        self._note = _notes.setdefault(_key(trial), _Note(trial))

    def get_trial(self) -> optuna.Trial | optuna.trial.FrozenTrial:
        """Give the trial that this was made with."""
        return self._trial

    def log(self, value: object) -> None:
        """Add a line to the note.

        The note is saved after every fifth line, by `flush`, and when the trial ends. It keeps the
        newest 20,000 characters; ``study.logs`` has all lines.

        Args:
            value: The line.
        """
        text = str(value)
        if config.in_worker():
            # What a worker prints is kept, line by line, and can be followed.
            print(text, flush=True)  # noqa: T201
        else:
            logger.info("Trial %d: %s", self._trial.number, text)
        self._note.add(text)

    def flush(self) -> None:
        """Save the note now."""
        self._note.save()

    def set_user_attr(self, key: str, value: object) -> None:
        """Set a user attribute of the trial.

        Args:
            key: Its name.
            value: Its value: anything that JSON can hold.

        Raises:
            ArgumentValueError: The name is one that aiauto sets itself.
        """
        if key in RESERVED_ATTRIBUTES:
            message = (
                f"the user attribute {key!r} is set by aiauto itself: choose another name than "
                f"{', '.join(sorted(RESERVED_ATTRIBUTES))}."
            )
            raise ArgumentValueError(message, argument="key")
        self._trial.set_user_attr(key, value)


class _Note:
    """The lines of one trial."""

    def __init__(self, trial: optuna.Trial | optuna.trial.FrozenTrial) -> None:
        self._trial = trial
        self._lock = threading.Lock()
        self._lines: list[str] = []
        self._cut = False
        self._unsaved = 0

    def add(self, text: str) -> None:
        with self._lock:
            self._lines.append(text)
            self._unsaved += 1
            size = sum(map(len, self._lines)) + len(self._lines)
            while size > MAX_NOTE_CHARACTERS and len(self._lines) > 1:
                size -= len(self._lines.pop(0)) + 1
                self._cut = True
            due = self._unsaved >= FLUSH_EVERY
        if due:
            self.save()

    def save(self) -> None:
        with self._lock:
            if not self._unsaved or not hasattr(self._trial, "storage"):
                return
            self._unsaved = 0
            lines = [*([_CUT] if self._cut else []), *self._lines]
        try:
            # It takes half a second to import, has no types, and is for whoever has notes only.
            dashboard: Any = importlib.import_module("optuna_dashboard")
            # Two spaces end a line in Markdown, which is what a note is.
            dashboard.save_note(self._trial, "  \n".join(lines))
        except Exception as error:  # noqa: BLE001 - a note is no reason to lose a trial
            logger.warning("The note of trial %d was not saved: %s", self._trial.number, error)


_notes: Final[dict[tuple[int, int], _Note]] = {}
"""Those of trials that have not ended."""


def flush_notes(trial: optuna.Trial) -> None:
    """Save the note of a trial that ends, if it has one."""
    note = _notes.pop(_key(trial), None)
    if note is not None:
        note.save()


def _key(trial: optuna.Trial | optuna.trial.FrozenTrial) -> tuple[int, int]:
    """Tells trials apart: their ids are unique within a storage."""
    storage = getattr(trial, "storage", None)
    return id(storage), trial._trial_id  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
