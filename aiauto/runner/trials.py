"""Runs the trials of a batch with Optuna: asks, calls the objective, tells."""

from __future__ import annotations

import logging
import math
import os
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import TrialState

from aiauto import config, samplers
from aiauto import objective as objectives
from aiauto.errors import AbortedError, AIAutoError, SearchSpaceExhausted
from aiauto.exhaustive import ExhaustiveCategoricalSampler, Room, room
from aiauto.local_study import ASK_TELL_LOCAL, TRIALBATCH_ATTRIBUTE
from aiauto.runner import user_modules
from aiauto.runner.advice import advice
from aiauto.runner.journal import FRESH_SECONDS, PATIENCE_SECONDS, WorkerJournal
from aiauto.runner.waiting import WorkerStorage
from aiauto.storage import UNCERTAIN
from aiauto.trial import flush_notes

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from aiauto_gen.aiauto import v1
    from optuna.trial import FrozenTrial

    from aiauto.storage import JournalClient

logger: logging.Logger = logging.getLogger("aiauto.runner")

CARE_FOR_ENDED_TRIALS = frozenset(
    {
        optuna.samplers.CmaEsSampler,
        optuna.samplers.NSGAIIISampler,
        optuna.samplers.NSGAIISampler,
        optuna.samplers.RandomSampler,
    }
)
KEEP_AWAY_FROM_RUNNING_TRIALS = frozenset({optuna.samplers.GPSampler, optuna.samplers.TPESampler})
HERE = str(Path(__file__).parent)


class WorkerStudy(optuna.Study):
    """The study as an objective finds it at its trial: it may end the batch."""

    def __init__(
        self,
        name: str,
        storage: WorkerStorage,
        sampler: optuna.samplers.BaseSampler,
        pruner: optuna.pruners.BasePruner,
        on_stop: Callable[[], None],
    ) -> None:
        """As `optuna.Study`.

        Args:
            name: Its name.
            storage: Where it is.
            sampler: What suggests.
            pruner: What prunes.
            on_stop: Called where an objective calls `stop`.
        """
        super().__init__(name, storage, sampler, pruner)
        self._waiting = storage
        self._on_stop = on_stop

    def stop(self) -> None:
        """Let no further trial of the batch begin, as `optuna.Study.stop` does for its loop."""
        self._on_stop()

    def _pop_waiting_trial_id(self) -> int | None:
        """As Optuna's, but looks once more where others were quicker to start what waited.

        What has come to wait since would be left behind by a new trial that takes its place.
        """
        while True:
            trial_id = super()._pop_waiting_trial_id()
            if trial_id is not None or not self._waiting.take_outrun():
                return trial_id


class Trials:
    """The trials that one worker runs."""

    def __init__(
        self,
        assignment: v1.RegisterWorkerResponse,
        client: JournalClient,
        *,
        on_stop: Callable[[], None],
    ) -> None:
        """Load everything that a trial needs.

        Args:
            assignment: What to run.
            client: The way to the journal.
            on_stop: Called where an objective calls `trial.study.stop`.

        Raises:
            Exception: Whatever loading the user's code raises.
        """
        # "Trial 5 finished with ..." is what the user's own screen is for.
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        if assignment.objective is None or assignment.study is None:
            message = "the server gave this worker nothing to run"
            raise RuntimeError(message)
        self._objective = objectives.unpack(assignment.objective)
        user_modules.enter(assignment.objective.pickled)
        sampler = samplers.load_sampler(
            assignment.study.sampler_json, worker_ordinal=assignment.worker_ordinal
        )
        pruner = samplers.load_pruner(assignment.study.pruner_json)
        attributes = _attributes(assignment)
        self._journal = WorkerJournal(client, assignment.study.study_name, attributes)
        self._storage = WorkerStorage(self._journal, attributes)
        # Optuna chooses the defaults by the study's directions.
        study = optuna.load_study(
            study_name=assignment.study.study_name,
            storage=self._storage,
            sampler=sampler,
            pruner=pruner,
        )
        self._journal.study_id = study._study_id  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        self._journal.patience = patience_with(study.sampler)
        self._study = WorkerStudy(
            study.study_name, self._storage, study.sampler, study.pruner, on_stop
        )
        self._directions = len(self._study.directions)
        self._is_limited = isinstance(study.sampler, ExhaustiveCategoricalSampler)

    def room(self) -> Room | None:
        """How many trials there is room for; None where the sampler sets no limit."""
        return room(self._study, _is_of_batch)

    def take_next(self) -> v1.AcquireLeaseResponse | None:
        """What came of asking for a lease as the last trial ended; None where nobody has."""
        return self._journal.take_next()

    def run(
        self,
        lease: v1.LeaseRef,
        *,
        on_begin: Callable[[int], None],
        goes_on: Callable[[], bool],
    ) -> Outcome:
        """Run one trial.

        Args:
            lease: The right to do so.
            on_begin: Told the number of the trial before the objective runs.
            goes_on: Asked after it whether this worker wants another lease.

        Returns:
            What became of it.

        Raises:
            RpcError: The server is gone, and with it whatever this trial had to say.
        """
        self._journal.begin(lease)
        try:
            trial = self._study.ask()
        except UNCERTAIN:
            raise
        except AbortedError as error:
            return Outcome(lost=str(error))
        except Exception as error:  # noqa: BLE001 - the user's sampler may raise anything
            return Outcome(not_begun=formatted(error))
        on_begin(trial.number)
        state, values, reason = self._call(trial)
        if reason:
            logger.error("Trial %d failed:\n%s", trial.number, reason)
        # Where the sampler sets a limit, it is known only once this trial has ended.
        if goes_on() and not self._is_limited:
            self._journal.want_next()
        return self._tell(trial, state, values, reason)

    def _call(self, trial: optuna.Trial) -> tuple[TrialState, list[float] | None, str]:
        """Call the objective.

        Returns:
            How the trial ended, its values, and why it failed.
        """
        try:
            result: object = self._objective(trial)
        except (optuna.TrialPruned, SearchSpaceExhausted):
            return TrialState.PRUNED, None, ""
        except (Exception, SystemExit, KeyboardInterrupt) as error:  # noqa: BLE001 - the trial fails
            reason = "\n\n".join(filter(None, (formatted(error), advice(error))))
            return TrialState.FAIL, None, reason
        values, problem = checked_values(result, self._directions)
        return (TrialState.FAIL if problem else TrialState.COMPLETE), values, problem

    def _tell(
        self, trial: optuna.Trial, state: TrialState, values: list[float] | None, reason: str
    ) -> Outcome:
        self._journal.error = reason
        try:
            flush_notes(trial)
            self._study.tell(trial, values, state)
        except UNCERTAIN:
            raise
        except AbortedError as error:
            return self._report_late(trial, state, values, str(error))
        except Exception as error:  # noqa: BLE001 - a sampler may look at the trial and raise
            reason = reason or formatted(error)
            return self._after_failed_tell(trial, state, values, reason)
        return Outcome()

    def _after_failed_tell(
        self, trial: optuna.Trial, state: TrialState, values: list[float] | None, reason: str
    ) -> Outcome:
        """Find out where the trial stands: it may have been told, here or by somebody else."""
        try:
            frozen = self._storage.get_all_trials(self._study._study_id, deepcopy=False)[  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
                trial.number
            ]
        except UNCERTAIN:
            raise
        except AbortedError as error:
            return self._report_late(trial, state, values, str(error))
        except Exception as error:  # noqa: BLE001 - the study is gone, say
            return Outcome(not_told=f"{reason}\n\n{formatted(error)}")
        if not frozen.state.is_finished():
            return Outcome(not_told=reason)
        if frozen.state == TrialState.FAIL != state:
            return self._report_late(trial, state, values, "It had failed already.")
        logger.warning("Trial %d is over (%s): %s", trial.number, frozen.state.name, reason)
        return Outcome()

    def _report_late(
        self, trial: optuna.Trial, state: TrialState, values: list[float] | None, why: str
    ) -> Outcome:
        """Tell how a trial ended that was taken from this worker: the server sets that aside."""
        try:
            self._storage.set_trial_state_values(trial._trial_id, state, values)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        except UNCERTAIN:
            raise
        except Exception as error:  # noqa: BLE001 - it is refused, which is no news
            logger.debug("A late result was refused: %s", error)
        return Outcome(
            lost=f"{why} It ended as {state.name}{'' if values is None else f', {values}'}."
        )


def _is_of_batch(trial: FrozenTrial) -> bool:
    """Whether the server sees to it that a trial ends. Those of the user's program may not."""
    batch: object = trial.user_attrs.get(TRIALBATCH_ATTRIBUTE, ASK_TELL_LOCAL)
    return batch != ASK_TELL_LOCAL


def _attributes(assignment: v1.RegisterWorkerResponse) -> dict[str, str]:
    """User attributes of every trial that this worker runs."""
    attributes = {
        "pod_name": assignment.worker_name,
        TRIALBATCH_ATTRIBUTE: assignment.trialbatch_name,
    }
    if gpu_name := os.environ.get(config.GPU_NAME_VARIABLE):
        attributes["gpu_name"] = gpu_name
    return attributes


class Outcome:
    """What became of a lease.

    Attributes:
        lost: Why it is no longer this worker's; empty where it was to the end.
        not_begun: Why there is no trial; empty where there is one.
        not_told: Why the end of the trial could not be told; empty where it was.
    """

    def __init__(self, *, lost: str = "", not_begun: str = "", not_told: str = "") -> None:
        self.lost = lost
        self.not_begun = not_begun
        self.not_told = not_told


def patience_with(sampler: optuna.samplers.BaseSampler) -> float:
    """For how many seconds a sampler does without what trials have suggested that still run."""
    kind = type(sampler)
    if kind in CARE_FOR_ENDED_TRIALS or getattr(sampler, "_constant_liar", True) is False:
        return PATIENCE_SECONDS
    # Those that keep away from such trials; any other may take them for tried.
    return FRESH_SECONDS if kind in KEEP_AWAY_FROM_RUNNING_TRIALS else 0.0


def checked_values(result: object, directions: int) -> tuple[list[float] | None, str]:
    """What an objective returned as values, or what is wrong with it, in Optuna's words.

    Args:
        result: What it returned.
        directions: How many values the study wants.

    Returns:
        The values, or None; and what is wrong, or an empty text.
    """
    returned: Any = result
    several = isinstance(result, Sequence) and not isinstance(result, (str, bytes))
    items: list[Any] = list(returned) if several else [returned]
    values: list[float] = []
    for one in items:
        try:
            if isinstance(one, (str, bytes)):
                raise TypeError  # noqa: TRY301 - text is no number even if it looks like one
            values.append(float(one))
        except (TypeError, ValueError):
            return None, f"The value {one!r} could not be cast to float: return a number."
        if math.isnan(values[-1]):
            return None, f"The value {one!r} is not acceptable: it is not a number."
    if len(values) != directions:
        return None, (
            f"The number of the values {len(values)} did not match the number of the objectives "
            f"{directions}: return one value for each direction of the study."
        )
    return values, ""


def formatted(error: BaseException) -> str:
    """A traceback that begins where the user's code does.

    What this package says by itself needs none: there the cause's traceback follows the words.
    """
    if isinstance(error, AIAutoError) and error.__cause__ is not None:
        return f"{error}\n\n{formatted(error.__cause__)}"
    frames: TracebackType | None = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(HERE):
        frames = frames.tb_next
    if frames is None and isinstance(error, AIAutoError):
        return str(error)
    return "".join(traceback.format_exception(type(error), error, frames)).rstrip()
