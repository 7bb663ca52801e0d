"""An Optuna storage whose journal lives on the server.

`optuna.storages.JournalStorage` keeps studies and trials by replaying a journal, and leaves open
where the journal is. Here it is behind `JournalService`: every program that opens the workspace
replays the same entries, or a shorter list of entries that leads to the same.

How fresh reads are: every read of the storage first asks the server for what is new, so it sees
everything that was acknowledged to anybody before the read began.
"""

from __future__ import annotations

import json
import os
import threading
import uuid
import weakref
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Protocol

from aiauto_gen.aiauto import v1
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend

from aiauto.errors import (
    ArgumentValueError,
    DataLossError,
    DeadlineExceededError,
    NotFoundError,
    RpcError,
    UnavailableError,
    UnimplementedError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# After these nobody knows whether the entries were appended: they are sent again, as the same call.
UNCERTAIN = (UnavailableError, DeadlineExceededError)
# What is more goes in several calls: the server takes 10,000 entries, and messages of 64 MiB.
MAX_ENTRIES_PER_CALL = 5000
MAX_CHARACTERS_PER_CALL = 8 * 1024 * 1024
# What is longer the server refuses. Here it is known who wrote it.
MAX_CHARACTERS_PER_ENTRY = 1024 * 1024


_opened: weakref.WeakSet[JournalStorage] = weakref.WeakSet()


def as_texts(logs: Iterable[Mapping[str, Any]]) -> list[str]:
    """Entries as they are sent.

    Raises:
        ArgumentValueError: One is too long.
    """
    texts = [json.dumps(log, separators=(",", ":")) for log in logs]
    longest = max(texts, key=len, default="")
    if len(longest) > MAX_CHARACTERS_PER_ENTRY:
        message = (
            f"{_subject(json.loads(longest))} takes {len(longest):,} characters as JSON, and there "
            f"is room for {MAX_CHARACTERS_PER_ENTRY:,}: keep what is large in a file "
            "(aiauto.AIAutoController.upload_artifact), and the artifact's id here."
        )
        raise ArgumentValueError(message, argument="value")
    return texts


def _subject(log: Mapping[str, Any]) -> str:
    """What an entry is about, for people."""
    for field, kind in (("user_attr", "user attribute"), ("system_attr", "system attribute")):
        for name in log.get(field, ()):
            return f"The {kind} {name[:100]!r}"
    return f"The parameter {log['param_name'][:100]!r}" if "param_name" in log else "The trial"


class JournalClient(Protocol):
    """What the storage needs of the generated `JournalServiceClientSync`."""

    def append_entries(self, request: v1.AppendEntriesRequest, /) -> v1.AppendEntriesResponse:
        """Append entries and answer with what is new."""
        ...

    def read_entries(self, request: v1.ReadEntriesRequest, /) -> v1.ReadEntriesResponse:
        """Answer with the entries from a position on."""
        ...

    def read_state(self, request: v1.ReadStateRequest, /) -> Iterable[v1.ReadStateResponse]:
        """Answer with entries that lead to what is there, and how many of the journal's they are.

        Raises:
            UnimplementedError: The server knows no such thing.
        """
        ...


def open_storage(client: JournalClient) -> JournalStorage:
    """Open the caller's workspace as an Optuna storage. Reads what is in it.

    Args:
        client: Speaks to the server with the caller's token.

    Returns:
        A storage over all studies of the workspace. It may be used from several threads.

    Raises:
        RpcError: The server can't be reached, or refuses.
    """
    storage = JournalStorage(JournalBackend(client))
    _opened.add(storage)
    return storage


class JournalBackend(BaseJournalBackend):
    """The journal of a workspace, as Optuna's storage wants it.

    Optuna appends entries and then at once reads what is new: the two travel in one call. It counts
    the entries that it has replayed; where those at the beginning are fewer than the journal's own,
    this class translates between the two counts. So each storage needs one of its own.
    """

    def __init__(self, client: JournalClient, study_name: str = "") -> None:
        """Make a journal.

        Args:
            client: Speaks to the server with the caller's token.
            study_name: The study whose trials are wanted; empty for those of all. Trials of another
                that were there before have nothing but their number.
        """
        self._client = client
        self._study_name = study_name
        # How many more entries the journal has than the reader counts.
        self._spared = 0
        # Up to which entry the journal was read.
        self._read_up_to = 0
        self._lock = threading.Lock()
        self._unsent: list[str] = []
        # A call of which it is not known whether it arrived. What is appended in the meantime must
        # not join it: sent again, it must be the same call.
        self._sending: v1.AppendEntriesRequest | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"client": self._client, "study_name": self._study_name}

    def __setstate__(self, state: dict[str, Any]) -> None:
        # A lease is its worker's, and what was not sent is sent by whoever appended it.
        self.__init__(**state)  # type: ignore[misc]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Take entries. They are sent by the read that follows.

        Args:
            logs: Entries of Optuna's journal.

        Raises:
            ArgumentValueError: One is too long for a journal.
        """
        with self._lock:
            self._unsent += as_texts(logs)

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        """Send what was appended, and read what is new.

        Args:
            log_number_from: How many entries the reader has replayed.

        Returns:
            What comes after them.

        Raises:
            RpcError: The server can't be reached, or refuses what was appended.
            KeyError: What was appended speaks of a study that is not there.
        """
        return [json.loads(text) for text in self._read(log_number_from)]

    def _read(self, log_number_from: int) -> list[str]:
        with self._lock:
            texts = self._read_state() if log_number_from == 0 else []
            position = log_number_from + len(texts) + self._spared
            new, length = self._exchange(position)
            texts += new
            position += len(new)
            while position < length:
                answer = self._client.read_entries(v1.ReadEntriesRequest(position=position))
                if not answer.entries:
                    message = f"The journal has {length} entries, and none from {position} on came."
                    raise DataLossError(message)
                texts += answer.entries
                position += len(answer.entries)
                length = answer.length
            self._read_up_to = position
        return texts

    @property
    def has_unsent(self) -> bool:
        """Whether entries wait to be sent."""
        return bool(self._unsent) or self._sending is not None

    def flush(self) -> None:
        """Send what was appended, and leave what is new to the next read.

        Raises:
            RpcError: The server can't be reached, or refuses what was appended.
        """
        with self._lock:
            self._send()

    def _send(self) -> None:
        if self.has_unsent:
            self._exchange(self._read_up_to)

    def _read_state(self) -> list[str]:
        """What a new reader begins with in place of the journal's first entries."""
        try:
            return self._stream_state()
        except UNCERTAIN:
            # A server that is away is waited for by calls with one answer, and not by streams.
            self._client.read_entries(v1.ReadEntriesRequest(position=0))
            return self._stream_state()

    def _stream_state(self) -> list[str]:
        texts: list[str] = []
        position = 0
        try:
            for answer in self._client.read_state(v1.ReadStateRequest(study_name=self._study_name)):
                texts += answer.entries
                position = answer.position
        except UnimplementedError:
            pass  # an older server: all there is is the journal
        self._spared = position - len(texts)
        return texts

    def _exchange(self, position: int) -> tuple[list[str], int]:
        """One call: what was appended goes out, what is new comes in."""
        if self._sending is None and self._unsent:
            self._sending = self._request(self._next_to_send())
        if self._sending is None:
            read = self._client.read_entries(v1.ReadEntriesRequest(position=position))
            return read.entries, read.length
        self._sending.position = position
        try:
            answer = self._client.append_entries(self._sending)
        except UNCERTAIN:
            raise  # the next read sends the same call again
        except RpcError as error:
            # Refused: sent again it would be refused again, and stop everything after it.
            refused, self._sending = self._sending, None
            self._unsent = self._blameless(refused.entries, error) + self._unsent
            if isinstance(error, NotFoundError):
                # What Optuna's storages raise for a study that is not there.
                raise KeyError(error.message) from error
            raise
        sent, self._sending = self._sending, None
        self._note(answer)
        if self._unsent:
            # What was appended while the call before hung, and what was too much for it.
            return self._exchange(position)
        return _whole(answer, sent), answer.length

    def _request(self, entries: list[str]) -> v1.AppendEntriesRequest:
        """The call that sends entries."""
        return v1.AppendEntriesRequest(
            entries=entries, request_id=str(uuid.uuid4()), leave_out_own=True
        )

    def _blameless(self, entries: list[str], error: RpcError) -> list[str]:  # noqa: ARG002
        """What of a call that was refused is to be sent again, with what comes next.

        Args:
            entries: The entries of the call.
            error: Why it was refused.
        """
        return []

    def _note(self, answer: v1.AppendEntriesResponse) -> None:
        """Take what an answer says beside what is new."""

    def _next_to_send(self) -> list[str]:
        """Takes as much of what was appended as fits into a call."""
        characters = accumulate(map(len, self._unsent[:MAX_ENTRIES_PER_CALL]))
        count = max(1, sum(total <= MAX_CHARACTERS_PER_CALL for total in characters))
        taken, self._unsent = self._unsent[:count], self._unsent[count:]
        return taken


def _whole(answer: v1.AppendEntriesResponse, sent: v1.AppendEntriesRequest) -> list[str]:
    """What is new, with what the answer leaves out since it was sent."""
    if answer.own_position is None:
        return answer.entries
    begun = [sent.begin_next] if answer.next_begun and sent.begin_next else []
    start = answer.own_position - sent.position
    return [*answer.entries[:start], *sent.entries, *answer.entries[start:], *begun]


def _renew_after_fork() -> None:
    """Give a child storages of its own: a twin that signs entries alike would confuse both.

    What the parent has not sent is the parent's, and a thread of it may have held a lock.
    """
    for storage in list(_opened):
        state: dict[str, Any] = storage.__getstate__()
        backend: JournalBackend = state["_backend"]
        backend.__setstate__(backend.__getstate__())
        storage.__setstate__(state)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_after_fork)
