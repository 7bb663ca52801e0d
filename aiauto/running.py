"""Running a study: what `StudyWrapper` does between its calls, once for both of its forms."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from aiauto_gen.aiauto import v1
from aiauto_gen.connect import NOT_GIVEN

from aiauto import arguments, batch, config, logs, progress
from aiauto.calls import BlockingCalls
from aiauto.errors import (
    ArgumentValueError,
    NoTrialBatchError,
    UnavailableError,
    WaitTimeoutError,
)
from aiauto.objective import pack
from aiauto.progress import WaitOption
from aiauto.status import FINAL_PHASES, StudyStatusWithTrials, study_status

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    import optuna

    from aiauto.calls import Calls
    from aiauto.connection import Connection
    from aiauto.logs import LogLine

logger: Final = logging.getLogger("aiauto")

Objective: TypeAlias = Callable[["optuna.Trial"], float | Sequence[float]]
"""A function of a trial that returns a value, or several for several objectives."""
WaitOptionName = Literal["WAIT_NO", "WAIT_ATLEAST_ONE_TRIAL", "WAIT_ALL_TRIALS"]
"""A `WaitOption` by its name."""

# Seconds between two looks at a single trial: at first, and in the long run.
FIRST_POLL = 0.2
LAST_POLL = 2.0


def _one_ended(status: v1.TrialBatchStatus) -> bool:
    return status.count_completed > 0


def _never(_status: v1.TrialBatchStatus) -> bool:
    return False


class Running:
    """A study on a server, and the batches that run it.

    Attributes:
        study_name: Name of the study.
    """

    study_name: str

    def __init__(self, connection: Connection, spec: v1.StudySpec) -> None:
        self.study_name = spec.study_name
        self._connection = connection
        self._spec = spec
        self._last_trialbatch_name: str | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.study_name!r} on {self._connection!r})"

    @property
    def _blocking(self) -> BlockingCalls:
        return BlockingCalls(self._connection)

    async def _optimize(self, calls: Calls, given: Mapping[str, Any]) -> str:
        """Start a batch and wait for it, as the arguments of `optimize` say."""
        option = arguments.option(given["wait_option"], WaitOption, "wait_option")
        seconds = arguments.seconds(given["wait_timeout"], "wait_timeout")
        spec = batch.specify(self.study_name, given)
        requirements = arguments.requirements(
            given["requirements_file"], given["requirements_list"]
        )
        objective = arguments.objective(given["objective"])
        payload = await calls.work(lambda: pack(objective))
        payload.requirements_txt = requirements
        if spec.gpu_model:
            answer = await calls.list_gpu_flavors(v1.ListGpuFlavorsRequest())
            batch.check_gpu_models(spec, [flavor.name for flavor in answer.gpu_flavors])
        # The id stays the same however often the call is sent: it makes one batch.
        request = v1.OptimizeRequest(objective=payload, batch=spec, request_id=uuid.uuid4().hex)
        with progress.submitting(self.study_name):
            name = (await calls.optimize(request)).trialbatch_name
        self._last_trialbatch_name = name
        logger.info(
            "Batch %s of study %r has begun. Trials: %d, workers: %d.",
            name,
            self.study_name,
            spec.n_trials,
            spec.parallelism,
        )
        if option is WaitOption.WAIT_NO:
            return name
        everything = option is WaitOption.WAIT_ALL_TRIALS
        bar = everything and progress.bar_wanted(given["show_progress_bar"])
        enough = _never if everything else _one_ended
        if not await self._follow(calls, name, seconds, bar=bar, enough=enough):
            message = (
                f"batch {name} of study {self.study_name!r} was not as far as asked after "
                f"{seconds:g} s (wait_timeout). It runs on: get_status() tells how it is doing, "
                f"wait(trialbatch_name={name!r}) waits for it again."
            )
            raise WaitTimeoutError(message, trialbatch_name=name)
        return name

    async def _wait(
        self,
        calls: Calls,
        trial_identifier: object,
        trialbatch_name: object,
        timeout: object,
        *,
        show_progress_bar: bool | None,
    ) -> bool:
        if timeout is NOT_GIVEN:
            timeout = None if trial_identifier is None else config.TRIAL_PATIENCE
        limit = arguments.seconds(timeout, "timeout")
        name = arguments.text(trialbatch_name, "trialbatch_name")
        end = float("inf") if limit is None else time.monotonic() + limit
        if trial_identifier is not None:
            with progress.interruptible(self.study_name, name):
                return await self._wait_for_trial(calls, trial_identifier, name, end)
        bar = progress.bar_wanted(show_progress_bar)
        for one in [name] if name else await self._batches_to_wait_for(calls):
            left = end - time.monotonic()
            if not await self._follow(calls, one, left, bar=bar, enough=_never):
                return False
        return True

    async def _follow(
        self,
        calls: Calls,
        trialbatch_name: str,
        seconds: float | None,
        *,
        bar: bool,
        enough: Callable[[v1.TrialBatchStatus], bool],
    ) -> bool:
        with progress.interruptible(self.study_name, trialbatch_name):
            status = await progress.follow(
                calls,
                trialbatch_name,
                study_name=self.study_name,
                enough=enough,
                timeout=seconds,
                show_progress_bar=bar,
            )
        if status is not None:
            logger.info(
                "Batch %s: %d of %d trials have ended, %d failed.",
                trialbatch_name,
                status.count_completed,
                status.count_total,
                status.count_failed,
            )
        return status is not None

    async def _batches_to_wait_for(self, calls: Calls) -> list[str]:
        """Names of the batches that are running, and of the last one that was started here."""
        batches = (await self._status(calls))["trialbatches"]
        if not batches:
            message = f"study {self.study_name!r} has no batch to wait for: call optimize() first."
            raise NoTrialBatchError(message)
        return [
            name
            for name, one in batches.items()
            if one["phase"] not in FINAL_PHASES or name == self._last_trialbatch_name
        ]

    async def _wait_for_trial(
        self, calls: Calls, trial_identifier: object, trialbatch_name: str, end: float
    ) -> bool:
        delay, reached = FIRST_POLL, time.monotonic()
        while True:
            try:
                outcome = await self._outcome_of(calls, trial_identifier, trialbatch_name)
                reached = time.monotonic()
            except UnavailableError:
                if time.monotonic() - reached > config.WATCH_PATIENCE:
                    raise
                outcome = None
            if outcome is not None:
                return outcome
            if time.monotonic() >= end:
                logger.warning(
                    "No longer waiting: trial %r of study %r has not ended in time (timeout). It "
                    "runs on.",
                    trial_identifier,
                    self.study_name,
                )
                return False
            await calls.sleep(min(delay, max(0.0, end - time.monotonic())))
            delay = min(1.5 * delay, LAST_POLL)

    async def _outcome_of(
        self, calls: Calls, trial_identifier: object, trialbatch_name: str
    ) -> bool | None:
        """Whether a trial has ended; None where it may yet, False where nothing could end it."""
        if await self._is_trial_finished(calls, trial_identifier, trialbatch_name):
            return True
        batches = (await self._status(calls, trialbatch_name))["trialbatches"].values()
        if any(one["phase"] not in FINAL_PHASES for one in batches):
            return None
        # In this order, so that a trial that ends meanwhile is seen.
        if await self._is_trial_finished(calls, trial_identifier, trialbatch_name):
            return True
        logger.warning(
            "Not waiting: trial %r has not ended, and no batch of study %r is running that could "
            "end it.",
            trial_identifier,
            self.study_name,
        )
        return False

    async def _is_trial_finished(
        self, calls: Calls, trial_identifier: object, trialbatch_name: object
    ) -> bool:
        wanted = arguments.trial(trial_identifier, "trial_identifier")
        batches = (await self._status(calls, trialbatch_name, include_trials=True))["trialbatches"]
        if wanted in batches:
            message = (
                f"trial_identifier {wanted!r} is a batch: for a whole batch pass trialbatch_name."
            )
            raise ArgumentValueError(message, argument="trial_identifier")
        ended = [one["completed_trials"] for one in batches.values()]
        if isinstance(wanted, str):
            return any(wanted in trials for trials in ended)
        return any(trial["trialNumber"] == wanted for trials in ended for trial in trials.values())

    async def _status(
        self, calls: Calls, trialbatch_name: object = None, *, include_trials: object = False
    ) -> StudyStatusWithTrials:
        """The status; without its trials where they were not asked for."""
        request = v1.GetStatusRequest(
            study_name=self.study_name,
            trialbatch_name=arguments.text(trialbatch_name, "trialbatch_name"),
            include_trials=arguments.flag(include_trials, "include_trials"),
        )
        answer = await calls.get_status(request)
        return study_status(answer, include_trials=request.include_trials)

    def _logs(
        self, calls: Calls, trial: object, trialbatch_name: object, follow: object
    ) -> AsyncGenerator[LogLine, None]:
        """The lines; what was given is checked before the first one is asked for."""
        return logs.lines(
            calls,
            self.study_name,
            arguments.text(trialbatch_name, "trialbatch_name"),
            trial=arguments.trial_number(trial, "trial"),
            follow=arguments.flag(follow, "follow"),
        )
