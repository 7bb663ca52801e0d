"""Appending to and reading from the journals of all workspaces."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select

from aiauto.errors import InvalidArgumentError, NotFoundError, OutOfRangeError
from aiauto.server.database.models import JournalChunk, Workspace
from aiauto.server.journal.entries import Operation, check
from aiauto.server.journal.ledger import Ledger, TrialChange
from aiauto.server.journal.replica import Replica
from aiauto.server.settings import MAX_ENTRIES_PER_APPEND

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optuna.storages import BaseStorage
    from sqlalchemy.orm import Session

    from aiauto.server.database import Database
    from aiauto.server.journal.entries import Entry

# An answer is cut there; the caller reads on.
MAX_ANSWER_CHARACTERS = 4 * 1024 * 1024


@dataclass(frozen=True)
class Slice:
    """Entries from a position on, and how many there are in all."""

    entries: list[str]
    length: int


class Journal:
    """The journals of all workspaces. Appends run in units of `Database.write`."""

    def __init__(self, database: Database) -> None:
        """Open the journals.

        Args:
            database: Where they are kept.
        """
        self._database = database
        self._ledgers: dict[int, Ledger] = {}
        self._replicas: dict[int, Replica] = {}
        self._replicas_lock = threading.Lock()
        database.on_lost_commit(self._ledgers.clear)

    def ledger(self, session: Session, workspace_id: int) -> Ledger:
        """What is known of a workspace's journal. Only for units of `Database.write`.

        Args:
            session: The unit's session.
            workspace_id: The workspace.
        """
        # Locked until the unit ends: another server on the same database may append as well.
        workspace = session.get_one(Workspace, workspace_id, with_for_update=True)
        ledger = self._ledgers.get(workspace_id)
        if ledger is None or ledger.length > workspace.journal_length:
            # None yet, or it holds entries of a unit that was undone.
            ledger = self._ledgers[workspace_id] = Ledger()
        if ledger.length < workspace.journal_length:
            for text in self.read(session, workspace_id, ledger.length, limit=None).entries:
                ledger.apply(json.loads(text))
        return ledger

    def append(
        self,
        session: Session,
        workspace_id: int,
        entries: Sequence[Entry],
        texts: Sequence[str] | None = None,
        request_id: str | None = None,
    ) -> list[TrialChange] | None:
        """Append entries, in a unit of `Database.write`.

        Args:
            session: The unit's session.
            workspace_id: The workspace.
            entries: What to append, checked.
            texts: The same as it was sent; None where the server itself made the entries.
            request_id: Id of the call that sent them.

        Returns:
            The trials that the entries started and ended; None where a call of this id has been
            answered before.

        Raises:
            NotFoundError: An entry speaks of a study that is not there.
        """
        ledger = self.ledger(session, workspace_id)
        workspace = session.get_one(Workspace, workspace_id)
        if request_id is not None and self._is_known(session, workspace_id, request_id):
            return None
        self._check_references(ledger, entries)
        if not entries:
            return []
        if texts is None:
            texts = [json.dumps(entry, separators=(",", ":")) for entry in entries]
        start = workspace.journal_length
        session.execute(
            insert(JournalChunk),
            {
                "workspace_id": workspace_id,
                "start": start,
                "stop": start + len(entries),
                "request_id": request_id,
                "entries": "\n".join(texts),
            },
        )
        workspace.journal_length = start + len(entries)
        changes = (ledger.apply(entry) for entry in entries)
        return [change for change in changes if change is not None]

    def remove(self, session: Session, workspace_id: int) -> None:
        """Remove the whole journal of a workspace that is being deleted."""
        session.execute(delete(JournalChunk).where(JournalChunk.workspace_id == workspace_id))
        self._ledgers.pop(workspace_id, None)
        with self._replicas_lock:
            self._replicas.pop(workspace_id, None)

    def read(
        self,
        session: Session,
        workspace_id: int,
        position: int,
        *,
        limit: int | None = MAX_ANSWER_CHARACTERS,
    ) -> Slice:
        """Read entries.

        Args:
            session: Any session.
            workspace_id: The workspace.
            position: Number of the first entry.
            limit: Characters after which to cut; None for all entries.

        Raises:
            OutOfRangeError: The journal is shorter than that.
        """
        length = session.scalar(
            select(Workspace.journal_length).where(Workspace.id == workspace_id)
        )
        if length is None:
            raise NotFoundError("The workspace is gone: it was deleted.")
        if not 0 <= position <= length:
            raise OutOfRangeError(
                f"position is {position}, and the journal has {length} entries: was the workspace "
                "deleted and made anew? Open the study again."
            )
        rows = session.execute(
            select(JournalChunk.start, JournalChunk.entries)
            .where(JournalChunk.workspace_id == workspace_id, JournalChunk.stop > position)
            .order_by(JournalChunk.start)
            .execution_options(yield_per=256)
        )
        entries: list[str] = []
        characters = 0
        for start, chunk in rows:
            entries += chunk.split("\n")[max(0, position - start) :]
            characters += len(chunk)
            if limit is not None and characters > limit:
                break
        return Slice(entries, length)

    def storage(self, workspace_id: int) -> BaseStorage:
        """An Optuna storage of a workspace, for threads: the dashboard, details of trials."""
        with self._replicas_lock:
            replica = self._replicas.get(workspace_id)
            if replica is None:
                replica = Replica(self._database, self, workspace_id)
                self._replicas[workspace_id] = replica
        return replica.storage

    @staticmethod
    def parse(texts: Sequence[str]) -> list[Entry]:
        """Check entries as they came in.

        Raises:
            InvalidArgumentError: Too many of them, or one that can't be replayed.
        """
        if len(texts) > MAX_ENTRIES_PER_APPEND:
            raise InvalidArgumentError(
                f"{len(texts)} entries in one call: at most {MAX_ENTRIES_PER_APPEND} are allowed."
            )
        return [check(text) for text in texts]

    @staticmethod
    def _is_known(session: Session, workspace_id: int, request_id: str) -> bool:
        query = select(JournalChunk.start).where(
            JournalChunk.workspace_id == workspace_id, JournalChunk.request_id == request_id
        )
        return session.scalar(query) is not None

    @staticmethod
    def _check_references(ledger: Ledger, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if entry["op_code"] == Operation.CREATE_TRIAL and (
                entry["study_id"] not in ledger.studies
            ):
                raise NotFoundError(
                    f"The study with id {entry['study_id']} is not there: it was deleted."
                )
