"""The journal as a worker uses it: what nobody waits for travels with what somebody waits for."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from aiauto_gen.aiauto import v1

from aiauto.errors import RpcError
from aiauto.storage import UNCERTAIN, JournalBackend

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from aiauto.storage import JournalClient

logger: logging.Logger = logging.getLogger("aiauto.runner")

CREATE_TRIAL = 4
SET_TRIAL_STATE = 6
SET_TRIAL_USER_ATTR = 8
RUNNING = 0
# `op_code` of parameters, intermediate values and attributes of a trial. Nobody but the worker that
# runs the trial writes them, so nothing can go wrong with them that Optuna would have to know at
# once.
DEFERRED = frozenset({5, 7, 8, 9})
# After so long at most they are sent by themselves, for those who watch a long trial.
FLUSH_SECONDS = 1.0
# So old may what a sampler or pruner sees of other workers' trials be.
FRESH_SECONDS = 0.05


class WorkerJournal(JournalBackend):
    """A journal for one worker: three calls a trial instead of one for every parameter.

    Parameters, reports and attributes wait for the next entry that somebody must know of, and a
    read that follows another one at once is answered from what is here. A read after a write of
    this worker always sees it.
    """

    def __init__(
        self, client: JournalClient, study_name: str, attributes: Mapping[str, str]
    ) -> None:
        """Make a journal.

        Args:
            client: Speaks to the server with the worker's token.
            study_name: The study that the worker works on.
            attributes: User attributes of every trial that this worker starts. They travel with the
                entry that starts it.
        """
        super().__init__(client, study_name)
        self._attributes = dict(attributes)
        self._deferred = False
        self._fresh_until = 0.0
        self._position = 0
        self._refused: Exception | None = None
        # The lease that came with the answer to what ended the one before.
        self._came_along: v1.LeaseRef | None = None
        threading.Thread(target=self._flush_all, name="aiauto-journal", daemon=True).start()

    def begin(self, lease: v1.LeaseRef) -> None:
        """Work under a lease from now on. What an earlier one left unsent no longer counts."""
        with self._lock:
            self.lease: v1.LeaseRef | None = lease
            self.error: str = ""
            self._unsent, self._sending, self._refused = [], None, None
            if lease != self._came_along:
                # A trial that waits to be run must be seen. What came with the lease shows it.
                self._fresh_until = 0.0
            self.acquire_next: bool = False
            self.next: v1.AcquireLeaseResponse | None = None

    def take_next(self) -> v1.AcquireLeaseResponse | None:
        """What came of asking for the next lease; None where nobody asked, or this was called."""
        answer, self.next = self.next, None
        if answer is not None and (lease := answer.lease) is not None:
            self._came_along = v1.LeaseRef(lease_id=lease.lease_id, fence=lease.fence)
        return answer

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Take entries."""
        # Optuna reads right after it appends: that read is told by this to wait.
        self._deferred = all(log["op_code"] in DEFERRED for log in logs)
        super().append_logs([entry for log in logs for entry in self._with_attributes(log)])

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        """Send what was appended, and read what is new, where that can't wait."""
        deferred, self._deferred = self._deferred, False
        if self._refused is not None:
            # What was sent in the background: whoever wrote it is told now.
            refused, self._refused = self._refused, None
            raise refused
        if deferred or (not self.has_unsent and time.monotonic() < self._fresh_until):
            return []
        entries = list(super().read_logs(log_number_from))
        self._position = log_number_from + len(entries)
        self._fresh_until = time.monotonic() + FRESH_SECONDS
        return entries

    def _with_attributes(self, log: dict[str, Any]) -> list[dict[str, Any]]:
        if log["op_code"] == CREATE_TRIAL and log.get("state", RUNNING) == RUNNING:
            return [{**log, "user_attrs": {**log.get("user_attrs", {}), **self._attributes}}]
        if log["op_code"] == SET_TRIAL_STATE and log["state"] == RUNNING:
            start = {"worker_id": log["worker_id"], "trial_id": log["trial_id"]}
            return [
                log,
                *(
                    {"op_code": SET_TRIAL_USER_ATTR, **start, "user_attr": {name: value}}
                    for name, value in self._attributes.items()
                ),
            ]
        return [log]

    def _flush_all(self) -> None:
        while True:
            time.sleep(FLUSH_SECONDS)
            if not self.has_unsent:
                continue
            # They are no longer unsent then, and still to be read.
            self._fresh_until = 0.0
            try:
                # What comes back is read again by Optuna, which counts for itself what it has.
                self.flush(self._position)
            except UNCERTAIN as error:
                # Whoever appends or reads next sends the same call again.
                logger.debug("Entries were not sent: %s", error)
            except (RpcError, KeyError) as error:
                self._refused = error
