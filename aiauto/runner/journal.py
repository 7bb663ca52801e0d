"""The journal as a worker uses it: what nobody waits for travels with what somebody waits for."""

from __future__ import annotations

import json
import logging
import math
import threading
import time
from collections import Counter
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from aiauto_gen.aiauto import v1

from aiauto.errors import AbortedError, PermissionDeniedError, RpcError
from aiauto.legible import legible
from aiauto.storage import UNCERTAIN, JournalBackend, as_texts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from aiauto.storage import JournalClient

logger: logging.Logger = logging.getLogger("aiauto.runner")

# `op_code` of what makes and deletes a study.
OF_ALL_STUDIES = frozenset({0, 1})
CREATE_TRIAL = 4
RUNNING = 0
# `op_code` of parameters, intermediate values and user attributes of a trial. Nobody but the worker
# that runs the trial writes them, so nothing can go wrong with them that Optuna would have to know
# at once. System attributes are no such thing: by them samplers and pruners claim what others must
# leave alone, and look then who else has claimed it.
DEFERRED = frozenset({5, 7, 8})
SET_TRIAL_SYSTEM_ATTR = 9
# But for the parameters that TPE has drawn and not given out yet: it tells them to those who keep
# away from running trials, as parameters do, and nobody claims anything by them.
DRAWN_BY_TPE = "tpe:relative_params"
# After so long at most they are sent by themselves, for those who watch a long trial.
PATIENCE_SECONDS = 1.0
# So old may what a sampler or pruner sees of other workers' trials be.
FRESH_SECONDS = 0.05


class WorkerJournal(JournalBackend):
    """A journal for one worker: one call a trial instead of one for every parameter.

    Parameters, reports and attributes wait for the next entry that somebody must know of, and a
    read that follows another one at once is answered from what is here. A read after a write of
    this worker always sees it: what waits is handed to Optuna before it is sent, and left out when
    it comes back. Nobody else writes there, so the order does not matter. The call that ends a
    trial asks for the next lease, and brings what Optuna will append first under that one: the
    entry that creates its trial.

    Attributes:
        study_id: Optuna's id of the study that the worker works on, once it is known.
        patience: Seconds after which what waits goes with the next read, and soon after that by
            itself.
        lease: The lease under which the worker appends.
        error: Why its trial failed, told with the entries that fail it.
    """

    def __init__(
        self, client: JournalClient, study_name: str, attributes: Mapping[str, str]
    ) -> None:
        """Make a journal.

        Args:
            client: Speaks to the server with the worker's token.
            study_name: The study that the worker works on.
            attributes: User attributes of every trial that this worker creates. They travel with
                the entry that creates it.
        """
        super().__init__(client, study_name)
        self._attributes = dict(attributes)
        # What Optuna has appended and not read yet, where it need not be sent for that.
        self._own: list[str] = []
        # What was handed to it before it came back.
        self._ahead: Counter[str] = Counter()
        # Whether something waits to be sent that can't wait.
        self._urgent = False
        self._fresh_until = 0.0
        self._read_at = 0.0
        self._refused: Exception | None = None
        self.study_id: int | None = None
        self.patience: float = 0.0
        # Since when something waits, and whether something does.
        self._waiting_since = 0.0
        self._waiting = threading.Event()
        self.lease: v1.LeaseRef | None = None
        self.error: str = ""
        # Whether the next lease shall come with the answer to what ends this one, and what did.
        self._wants_next = False
        self._next: v1.AcquireLeaseResponse | None = None
        self._came_along: v1.LeaseRef | None = None
        # The entry that created a trial: the next one is created by its like.
        self._creating: dict[str, Any] | None = None
        # Whether the next trial has been created already.
        self._begun = False
        threading.Thread(target=self._send_all, name="aiauto-journal", daemon=True).start()

    def begin(self, lease: v1.LeaseRef) -> None:
        """Work under a lease from now on. What an earlier one left unsent no longer counts."""
        with self._lock:
            self.lease, self.error = lease, ""
            self._unsent, self._sending, self._refused = [], None, None
            self._own, self._urgent = [], False
            if lease != self._came_along:
                # A trial that waits to be run must be seen. What came with the lease shows it.
                self._fresh_until = 0.0
                self._begun = False
            self._wants_next, self._next = False, None

    def want_next(self) -> None:
        """Ask for the next lease with what ends this one."""
        self._wants_next = True

    def take_next(self) -> v1.AcquireLeaseResponse | None:
        """What came of asking for the next lease; None where nobody asked, or this was called."""
        answer, self._next = self._next, None
        if answer is not None and (lease := answer.lease) is not None:
            self._came_along = v1.LeaseRef(lease_id=lease.lease_id, fence=lease.fence)
        return answer

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Take entries."""
        self._check_reach(logs)
        if self._begun and any(map(self._creates_trial, logs)):
            # It is in the journal, and came back with the answer to what ended the trial before.
            self._begun = False
            self._fresh_until = self._read_at + FRESH_SECONDS
            return
        texts = as_texts(map(self._with_attributes, logs))
        with self._lock:
            if not self.has_unsent:
                self._waiting_since = time.monotonic()
            self._unsent += texts
            if all(map(_may_wait, logs)):
                self._own += texts
                self._waiting.set()
            else:
                self._urgent = True

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        """Send what was appended, and read what is new, where that can't wait."""
        if self._refused is not None:
            # What was sent in the background: whoever wrote it is told now.
            refused, self._refused = self._refused, None
            raise refused
        if self._own:
            texts = self._hand_over()
        elif self._must_send or time.monotonic() >= self._fresh_until:
            texts = self._read_new(log_number_from)
        else:
            texts = []
        return [json.loads(text) for text in texts]

    @property
    def _must_send(self) -> bool:
        return self._urgent or (self.has_unsent and self._waits_for >= self.patience)

    @property
    def _waits_for(self) -> float:
        return time.monotonic() - self._waiting_since

    def _hand_over(self) -> list[str]:
        with self._lock:
            texts, self._own = self._own, []
            self._ahead.update(texts)
            self._spared -= len(texts)
        return texts

    def _read_new(self, log_number_from: int) -> list[str]:
        try:
            texts = self._read(log_number_from)
        except UNCERTAIN:
            raise  # the next read sends the same call again
        except (RpcError, KeyError):
            self._urgent = False
            raise
        self._urgent = False
        self._read_at = time.monotonic()
        # Where this worker's trial is among them, what may wait to be run now is for another lease:
        # Optuna must not see it before it has asked for the trial.
        self._fresh_until = math.inf if self._begun else self._read_at + FRESH_SECONDS
        return self._without_known(texts)

    def _without_known(self, texts: list[str]) -> list[str]:
        """Leave out what Optuna was handed before."""
        if not self._ahead:
            return texts
        new: list[str] = []
        with self._lock:
            for text in texts:
                if self._ahead[text]:
                    self._ahead[text] -= 1
                    self._spared += 1
                else:
                    new.append(text)
            self._ahead = +self._ahead
        return new

    def send_deferred(self) -> None:
        """Send what waits, for those who watch a long trial."""
        if not self.has_unsent:
            return
        # What else is new comes with the next read.
        self._fresh_until = 0.0
        # An error is noted before another trial can begin: it is none of that one's.
        with self._lock:
            try:
                # What comes back is read again by Optuna.
                self._send()
            except UNCERTAIN as error:
                # Whoever appends, reads or sends next sends the same call again.
                logger.debug("Entries were not sent: %s", error)
            except (RpcError, KeyError) as error:
                self._refused = error

    def _check_reach(self, logs: list[dict[str, Any]]) -> None:
        """Refuse here what the server would refuse, and what waits to be sent with it.

        Raises:
            PermissionDeniedError: An entry makes or deletes a study, or is about another one.
        """
        for log in logs if self.study_id is not None else ():
            if log["op_code"] in OF_ALL_STUDIES:
                raise PermissionDeniedError(
                    "A worker can't create or delete studies of the workspace. For a study within "
                    "an objective use optuna.create_study() without a storage."
                )
            if log.get("study_id", self.study_id) != self.study_id:
                raise PermissionDeniedError(
                    "A worker can't write to another study than that of its batch. What an "
                    "objective may change is trial.study."
                )

    def _creates_trial(self, log: Mapping[str, Any]) -> bool:
        """Whether an entry is what `optuna.Study.ask` appends for a new trial."""
        operation: object = log["op_code"], log.get("study_id"), log.get("state", RUNNING)
        return operation == (CREATE_TRIAL, self.study_id, RUNNING)

    def _with_attributes(self, log: dict[str, Any]) -> dict[str, Any]:
        if not self._creates_trial(log):
            return log
        self._creating = {**log, "user_attrs": {**log.get("user_attrs", {}), **self._attributes}}
        return self._creating

    def _request(self, entries: list[str]) -> v1.AppendEntriesRequest:
        request = super()._request(entries)
        request.lease, request.error = self.lease, legible(self.error)
        request.acquire_next = self._wants_next
        if self._wants_next and self._creating is not None:
            begin = {**self._creating, "datetime_start": datetime.now(timezone.utc).isoformat()}
            (request.begin_next,) = as_texts([begin])
        return request

    def _blameless(self, entries: list[str], error: RpcError) -> list[str]:
        logs = [(text, json.loads(text)) for text in entries]
        to_blame = [log.get("trial_id") for _, log in logs if not _may_wait(log)]
        if isinstance(error, AbortedError) or not to_blame:
            return []
        # What waited only travelled with it.
        return [text for text, log in logs if _may_wait(log) and log["trial_id"] not in to_blame]

    def _note(self, answer: v1.AppendEntriesResponse) -> None:
        if answer.next is not None:
            self._next, self._begun = answer.next, answer.next_begun

    def _send_all(self) -> None:
        while self._waiting.wait():
            self._waiting.clear()
            while self.has_unsent:
                rest = max(self.patience, FRESH_SECONDS) - self._waits_for
                if rest <= 0:
                    self.send_deferred()
                    # The server may be away, and the trial say nothing more for hours.
                    rest = PATIENCE_SECONDS if self.has_unsent else 0.0
                time.sleep(rest)


def _may_wait(log: Mapping[str, Any]) -> bool:
    """Whether nobody has to know of an entry at once."""
    if log["op_code"] == SET_TRIAL_SYSTEM_ATTR:
        return all(name.startswith(DRAWN_BY_TPE) for name in log["system_attr"])
    return log["op_code"] in DEFERRED
