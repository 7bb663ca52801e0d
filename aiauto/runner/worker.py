"""A worker: prepares itself, and runs trials as long as there are leases."""

from __future__ import annotations

import logging
import os
import platform
import socket
import traceback
from enum import IntEnum
from typing import TYPE_CHECKING

from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1.connect import JournalServiceClientSync, RunnerServiceClientSync

from aiauto.connect import RetryPolicy, SyncTransport
from aiauto.runner.environment import EnvironmentFailedError, enter_environment
from aiauto.runner.heartbeat import Heartbeat
from aiauto.runner.printed import Printed

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from aiauto.runner.trials import Trials

logger = logging.getLogger("aiauto.runner")

# For so long a worker waits for a server that is away: it may be started again.
PATIENCE_SECONDS = 600.0
RETRIES = RetryPolicy(attempts=1_000_000, initial_delay=0.1, max_delay=5.0)
MAX_FAILURES_BEFORE_TRIAL = 3


class Exit(IntEnum):
    """How a worker ends."""

    DONE = 0
    CANT_RUN = 1
    USAGE = 2
    STOPPED = 3
    SERVER_LOST = 4


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
        self._heartbeat = Heartbeat(base_url, token)
        self._lease: v1.LeaseRef | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        exc_traceback: TracebackType | None,
    ) -> None:
        self._heartbeat.stop()
        if self._lease is not None and exc is not None:
            self._give_up(f"The worker was stopped while this trial ran ({exc!r}).")
        self._printed.close()
        self._transport.close()

    def run(self) -> int:
        """Run trials until there are no more.

        Returns:
            The exit code.
        """
        assignment = self._runner.register_worker(
            v1.RegisterWorkerRequest(
                python_version=platform.python_version(),
                host_name=socket.gethostname(),
                process_id=os.getpid(),
            )
        )
        try:
            requirements = (assignment.objective or v1.ObjectivePayload()).requirements_txt
            enter_environment(requirements)
            self._printed.start()
            trials = self._prepare(assignment)
        except EnvironmentFailedError as error:
            self._runner.fail_worker(v1.FailWorkerRequest(error=str(error)))
            return Exit.CANT_RUN
        except Exception:  # noqa: BLE001 - whatever the user's code raises when it is loaded
            self._runner.fail_worker(v1.FailWorkerRequest(error=traceback.format_exc()))
            return Exit.CANT_RUN
        self._heartbeat.start(assignment.heartbeat_interval_seconds)
        return self._run_trials(trials)

    def _prepare(self, assignment: v1.RegisterWorkerResponse) -> Trials:
        # Optuna and the user's code are imported here, in the environment that was asked for.
        from aiauto.runner.trials import Trials  # noqa: PLC0415

        return Trials(assignment, JournalServiceClientSync(self._transport))

    def _run_trials(self, trials: Trials) -> int:
        failures = 0
        while True:
            answer = self._runner.acquire_lease(v1.AcquireLeaseRequest())
            if answer.lease is None:
                return Exit.DONE
            lease = v1.LeaseRef(lease_id=answer.lease.lease_id, fence=answer.lease.fence)
            self._lease = lease
            self._heartbeat.hold(lease)
            error = trials.run(lease, on_begin=self._printed.tag)
            self._heartbeat.hold(None)
            self._printed.tag(None)
            if error is not None:
                # There is no trial: the sampler failed, say. The lease must not stay open.
                failures += 1
                self._give_up(error)
                if failures == MAX_FAILURES_BEFORE_TRIAL:
                    self._runner.fail_worker(v1.FailWorkerRequest(error=error))
                    return Exit.CANT_RUN
            else:
                failures = 0
            self._lease = None

    def _give_up(self, error: str) -> None:
        lease, self._lease = self._lease, None
        try:
            self._runner.fail_lease(v1.FailLeaseRequest(lease=lease, error=error), timeout=5.0)
        except Exception as problem:  # noqa: BLE001 - the server finds out by itself, a bit later
            logger.warning("The lease could not be given up: %s", problem)
