"""Runs the trials of a batch with Optuna: asks, calls the objective, tells."""

from __future__ import annotations

import logging
import math
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.storages import JournalStorage
from optuna.trial import TrialState

from aiauto import objective as objectives
from aiauto import samplers
from aiauto.errors import AbortedError, FailedPreconditionError
from aiauto.runner.journal import WorkerJournal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from aiauto_gen.aiauto import v1

    from aiauto.storage import JournalClient

logger = logging.getLogger("aiauto.runner")

# What the server answers, and Optuna raises, where a trial is no longer this worker's.
LOST = (AbortedError, FailedPreconditionError, optuna.exceptions.UpdateFinishedTrialError)
HERE = str(Path(__file__).parent)


class Trials:
    """The trials that one worker runs."""

    def __init__(self, assignment: v1.RegisterWorkerResponse, client: JournalClient) -> None:
        """Load everything that a trial needs.

        Args:
            assignment: What to run.
            client: The way to the journal.

        Raises:
            Exception: Whatever loading the user's code raises.
        """
        # "Trial 5 finished with ..." is what the user's own screen is for.
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        if assignment.objective is None or assignment.study is None:
            message = "the server gave this worker nothing to run"
            raise RuntimeError(message)
        self._objective = objectives.unpack(assignment.objective)
        self._backend = WorkerJournal(client)
        self._study = optuna.load_study(
            study_name=assignment.study.study_name,
            storage=JournalStorage(self._backend),
            sampler=samplers.load_sampler(
                assignment.study.sampler_json, worker_ordinal=assignment.worker_ordinal
            ),
            pruner=samplers.load_pruner(assignment.study.pruner_json),
        )
        self._attributes = {
            "pod_name": assignment.worker_name,
            "trialbatch_name": assignment.trialbatch_name,
        }

    def run(self, lease: v1.LeaseRef, *, on_begin: Callable[[int], None]) -> str | None:
        """Run one trial.

        Args:
            lease: The right to do so.
            on_begin: Told the number of the trial before the objective runs.

        Returns:
            None where the trial has ended, one way or another; else why there is none.
        """
        self._backend.lease, self._backend.error = lease, ""
        try:
            trial = self._study.ask()
            for key, value in self._attributes.items():
                trial.set_user_attr(key, value)
        except LOST as error:
            logger.warning("The trial was not begun: %s", error)
            return None
        except Exception:  # noqa: BLE001 - the user's sampler may raise anything
            return traceback.format_exc()
        on_begin(trial.number)
        try:
            self._finish(trial, *self._call(trial))
        except LOST as error:
            logger.warning("The result of trial %d no longer counts: %s", trial.number, error)
        return None

    def _call(self, trial: optuna.Trial) -> tuple[TrialState, Sequence[float] | None, str]:
        """Call the objective.

        Returns:
            How the trial ended, its values, and why it failed.
        """
        try:
            result: Any = self._objective(trial)
        except optuna.TrialPruned:
            return TrialState.PRUNED, None, ""
        except LOST:
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 - it is the trial that fails
            return TrialState.FAIL, None, _formatted(error)
        values, problem = _checked_values(result, len(self._study.directions))
        return (TrialState.FAIL if problem else TrialState.COMPLETE), values, problem

    def _finish(
        self, trial: optuna.Trial, state: TrialState, values: Sequence[float] | None, error: str
    ) -> None:
        self._backend.error = error
        if error:
            logger.error("Trial %d failed:\n%s", trial.number, error)
        try:
            self._study.tell(trial, values, state)
        except LOST:
            raise
        except Exception as problem:  # noqa: BLE001 - a sampler may look at the trial and raise
            if self._study.get_trials(deepcopy=False)[trial.number].state.is_finished():
                logger.warning("After trial %d: %r", trial.number, problem)
                return
            self._backend.error = _formatted(problem)
            self._study.tell(trial, state=TrialState.FAIL)


def _checked_values(result: object, directions: int) -> tuple[list[float] | None, str]:
    """What an objective returned as values, or what is wrong with it, in Optuna's words."""
    several = isinstance(result, (list, tuple))
    returned: list[Any] = list(result) if several else [result]  # type: ignore[call-overload]
    values: list[float] = []
    for one in returned:
        try:
            values.append(float(one))
        except (TypeError, ValueError):
            return None, f"The value {one!r} could not be cast to float: return a number."
    if any(math.isnan(value) for value in values):
        return None, f"The value {result!r} is not acceptable: it is not a number."
    if len(values) != directions:
        return None, (
            f"The number of the values {len(values)} did not match the number of the objectives "
            f"{directions}: return one value for each direction of the study."
        )
    return values, ""


def _formatted(error: BaseException) -> str:
    """A traceback that begins where the user's code does."""
    frames: TracebackType | None = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(HERE):
        frames = frames.tb_next
    return "".join(traceback.format_exception(type(error), error, frames)).rstrip()
