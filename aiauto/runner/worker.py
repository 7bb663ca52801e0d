"""A worker: prepares itself, and runs trials as long as there are leases."""

from __future__ import annotations

import logging
import os
import platform
import socket
import sys
import threading
import time
from enum import IntEnum
from typing import TYPE_CHECKING

from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1.connect import JournalServiceClientSync, RunnerServiceClientSync

from aiauto import config
from aiauto.connect import RetryPolicy, SyncTransport
from aiauto.errors import RpcError, UnauthenticatedError
from aiauto.legible import legible
from aiauto.runner.environment import EnvironmentFailedError, enter_environment
from aiauto.runner.heartbeat import Heartbeat
from aiauto.runner.printed import LAST_CALL_SECONDS, LAST_LINES_SECONDS, Printed

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from aiauto.runner.trials import Trials

logger: logging.Logger = logging.getLogger("aiauto.runner")

# For so long a worker waits for a server that is away: it may be started again.
PATIENCE_SECONDS = 600.0
RETRIES = RetryPolicy(attempts=1_000_000, initial_delay=0.1, max_delay=5.0)
MAX_FAILURES_BEFORE_TRIAL = 3
# Whoever stops a worker does not wait for long.
LAST_WORD_SECONDS = 2.0
MIN_PAUSE_SECONDS = 0.1


class Exit(IntEnum):
    """How a worker ends. An objective may end its process with any code: hardly with these."""

    DONE = 0
    USAGE = 2
    STOPPED = 3
    SERVER_LOST = 4
    LEASE_LOST = 5
    CANT_RUN = 78  # EX_CONFIG of sysexits.h


class StoppedError(BaseException):
    """Somebody asked this worker to end. No Exception: an objective must not take it for one."""


class Worker:
    """One worker of a batch. Use it with `with`."""

    def __init__(self, base_url: str, token: str) -> None:
        """Make a worker.

        Args:
            base_url: Address of the server.
            token: The worker's token.
        """
        self._transport = SyncTransport(
            base_url, token=token, timeout=PATIENCE_SECONDS, retries=RETRIES
        )
        self._runner = RunnerServiceClientSync(self._transport)
        self._printed = Printed(self._runner)
        self._heartbeat = Heartbeat(base_url, token, last_word=self._printed.close)
        self._lease: v1.LeaseRef | None = None
        self._stopping = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        exc_traceback: TracebackType | None,
    ) -> None:
        if self._lease is not None and not isinstance(exc, RpcError):
            if not isinstance(exc, StoppedError) and exc is not None:
                self._give_up(f"The worker failed ({exc!r}) when this trial ran.")
            elif config.POD_NAME_VARIABLE not in os.environ:
                # Of a Pod the cluster knows why, and the server hears it from there at once.
                self._give_up("The worker was stopped while this trial ran.", stopped=True)
        self._heartbeat.stop()
        self._printed.close(LAST_LINES_SECONDS if exc is None else LAST_CALL_SECONDS)
        self._transport.close()

    def stop(self) -> None:
        """Ask it to end after this trial, should the one in the objective go unheard."""
        self._stopping.set()

    def run(self) -> int:
        """Run trials until there are no more.

        Returns:
            The exit code.
        """
        assignment = self._runner.register_worker(
            v1.RegisterWorkerRequest(
                python_version=platform.python_version(),
                host_name=os.environ.get(config.NODE_NAME_VARIABLE) or socket.gethostname(),
                process_id=os.getpid(),
            )
        )
        os.environ[config.WORKER_VARIABLE] = assignment.worker_name
        self._printed.start()
        try:
            trials = self._prepare(assignment)
        except RpcError:
            raise  # no fault of the batch
        except EnvironmentFailedError as error:
            return self._cant_run(str(error))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever the user's code raises
            from aiauto.runner.trials import formatted  # noqa: PLC0415 - as below

            return self._cant_run(formatted(error))
        self._heartbeat.start(assignment.heartbeat_interval_seconds)
        try:
            return self._run_trials(trials)
        except UnauthenticatedError:
            # The token ends with the batch.
            self._lease = None
            return Exit.DONE

    def _prepare(self, assignment: v1.RegisterWorkerResponse) -> Trials:
        requirements = (assignment.objective or v1.ObjectivePayload()).requirements_txt
        enter_environment(requirements, before_leaving=self._printed.close)
        # Optuna and the user's code are imported here, in the environment that was asked for.
        from aiauto.runner.trials import Trials  # noqa: PLC0415

        return Trials(
            assignment, JournalServiceClientSync(self._transport), on_stop=self._stop_batch
        )

    def _stop_batch(self) -> None:
        self._runner.stop_batch(v1.StopBatchRequest(reason="StoppedByObjective"))

    def _run_trials(self, trials: Trials) -> int:
        failures = 0
        pause = MIN_PAUSE_SECONDS
        while not self._stopping.is_set():
            answer = self._acquire(trials)
            if answer.lease is None:
                if answer.finished:
                    return Exit.DONE
                # The first trials of an unknown search space show more of it every moment.
                pause = min(2 * pause, max(answer.retry_after_seconds, MIN_PAUSE_SECONDS))
                time.sleep(pause)
                continue
            pause = MIN_PAUSE_SECONDS
            self._lease = v1.LeaseRef(lease_id=answer.lease.lease_id, fence=answer.lease.fence)
            self._heartbeat.hold(self._lease)
            outcome = trials.run(
                self._lease,
                on_begin=self._printed.tag,
                goes_on=lambda: not self._stopping.is_set(),
            )
            self._heartbeat.hold(None)
            if outcome.lost:
                logger.warning("This trial no longer counts. %s", outcome.lost)
            # A lease whose trial has not ended must not stay open.
            elif unfinished := outcome.not_begun or outcome.not_told:
                logger.error("The trial failed:\n%s", unfinished)
                self._give_up(unfinished)
            self._lease = None
            self._printed.tag(None)
            failures = failures + 1 if outcome.not_begun else 0
            if failures == MAX_FAILURES_BEFORE_TRIAL:
                return self._cant_run(outcome.not_begun)
        return Exit.STOPPED

    def _acquire(self, trials: Trials) -> v1.AcquireLeaseResponse:
        """Ask for a lease, where there is something left to try."""
        if (answer := trials.take_next()) is not None:
            return answer
        room = trials.room()
        if room is None:
            return self._runner.acquire_lease(v1.AcquireLeaseRequest())
        if room.is_used_up:
            self._runner.stop_batch(v1.StopBatchRequest(reason="SearchSpaceExhausted"))
        return self._runner.acquire_lease(v1.AcquireLeaseRequest(trial_limit=room.trial_limit))

    def _cant_run(self, error: str) -> int:
        print(error, file=sys.stderr)  # noqa: T201 - for the worker's own log
        self._runner.fail_worker(v1.FailWorkerRequest(error=legible(error)))
        return Exit.CANT_RUN

    def _give_up(self, error: str, *, stopped: bool = False) -> None:
        lease, self._lease = self._lease, None
        patience = LAST_WORD_SECONDS if self._stopping.is_set() else PATIENCE_SECONDS
        try:
            request = v1.FailLeaseRequest(lease=lease, error=legible(error), worker_stopped=stopped)
            self._runner.fail_lease(request, timeout=patience)
        except RpcError as problem:
            # The server finds out by itself, a bit later.
            logger.warning("The lease could not be given up: %s", problem)
