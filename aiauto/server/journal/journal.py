"""Appending to and reading from the journals of all workspaces."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from aiauto.errors import InvalidArgumentError, NotFoundError, OutOfRangeError
from aiauto.server.database import when_undone
from aiauto.server.database.unit import of_unit, when_ending
from aiauto.server.journal import rows
from aiauto.server.journal.entries import Operation, check
from aiauto.server.journal.kept import Kept
from aiauto.server.journal.ledgers import Ledgers
from aiauto.server.journal.replica import Replica
from aiauto.server.settings import MAX_ENTRIES_PER_APPEND

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optuna.storages import BaseStorage
    from sqlalchemy.orm import Session

    from aiauto.server.database import Database
    from aiauto.server.journal.entries import Entry
    from aiauto.server.journal.ledger import Ledger, TrialChange

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
        self._ledgers = Ledgers(database)
        self._replicas: Kept[Replica] = Kept()
        self._replicas_lock = threading.Lock()

    def ledger(self, session: Session, workspace_id: int) -> Ledger:
        """What is known of a workspace's journal. Only for units of `Database.write`.

        Args:
            session: The unit's session.
            workspace_id: The workspace.

        Raises:
            NotFoundError: The workspace is gone.
            PostponedError: There is much to be read before.
        """
        return self._ledgers.get(session, workspace_id)

    def append(
        self,
        session: Session,
        workspace_id: int,
        entries: Sequence[Entry],
        texts: Sequence[str] | None = None,
        request_id: str | None = None,
        *,
        is_new: bool = False,
    ) -> list[TrialChange] | None:
        """Append entries, in a unit of `Database.write`.

        All that a unit appends is one row, written as the unit ends.

        Args:
            session: The unit's session.
            workspace_id: The workspace.
            entries: What to append, checked.
            texts: The same as it was sent; None where the server itself made the entries.
            request_id: Id of the call that sent them.
            is_new: Whether not to look for a call of this id. If there was one, what it has sent
                does not go a second time, or the unit fails with an `IntegrityError` as it ends.

        Returns:
            The trials that the entries started and ended; None where a call of this id has been
            answered before.

        Raises:
            NotFoundError: An entry speaks of a study that is not there.
        """
        ledger = self.ledger(session, workspace_id)
        if request_id and not is_new and rows.is_known(session, workspace_id, request_id):
            return None
        self._check_references(ledger, entries)
        if not entries:
            return []
        if texts is None:
            texts = [json.dumps(entry, separators=(",", ":")) for entry in entries]
        chunk = self._chunk(session, workspace_id, ledger)
        chunk.texts += texts
        chunk.request_id = chunk.request_id or request_id
        extension = ledger.extend(list(zip(entries, texts, strict=True)))
        when_undone(session, extension.undo)
        return extension.changes

    def remove(self, session: Session, workspace_id: int) -> None:
        """Remove the whole journal of a workspace that is being deleted."""
        rows.remove(session, workspace_id)
        of_unit(session, rows.Chunk).pop(workspace_id, None)
        self._ledgers.remove(session, workspace_id)
        with self._replicas_lock:
            self._replicas.pop(workspace_id)

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
            limit: Characters after which to cut; None for all entries. The entry that goes beyond
                is the last one.

        Raises:
            OutOfRangeError: The journal is shorter than that.
        """
        length = rows.length(session, workspace_id)
        _check_position(position, length)
        entries: list[str] = []
        characters = 0
        # What came in one message need not fit into another, with what came before it.
        for text in chain.from_iterable(rows.read(session, workspace_id, position)):
            entries.append(text)
            characters += len(text)
            if limit is not None and characters > limit:
                break
        return Slice(entries, length)

    def read_newest(self, session: Session, workspace_id: int, position: int) -> Slice:
        """`read`, in a unit of `Database.write`, most often from memory.

        Args:
            session: The unit's session.
            workspace_id: The workspace.
            position: Number of the first entry.

        Raises:
            OutOfRangeError: The journal is shorter than that.
        """
        ledger = self.ledger(session, workspace_id)
        _check_position(position, ledger.length)
        newest = ledger.newest.since(position)
        if newest is None:
            self._write(session, workspace_id)
            return self.read(session, workspace_id, position)
        return Slice(newest, ledger.length)

    def storage(self, workspace_id: int) -> BaseStorage:
        """An Optuna storage of a workspace, for threads: the dashboard, details of trials."""
        with self._replicas_lock:
            replica = self._replicas.get(workspace_id)
            if replica is None:
                replica = Replica(self._database, self, workspace_id)
                self._replicas.put(workspace_id, replica)
        return replica.storage

    def drop_unused(self, seconds: float) -> None:
        """Let go of what is kept of workspaces that nobody has asked for in so many seconds."""
        self._ledgers.drop_unused(seconds)
        with self._replicas_lock:
            self._replicas.drop_unused(seconds)

    def close(self) -> None:
        """Read no further."""
        self._ledgers.close()

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

    def _chunk(self, session: Session, workspace_id: int, ledger: Ledger) -> rows.Chunk:
        """What the unit has appended and not written yet."""
        chunks = of_unit(session, rows.Chunk)
        if workspace_id not in chunks:
            chunks[workspace_id] = rows.Chunk(ledger.length)
            when_ending(session, partial(self._write, session, workspace_id))
        return chunks[workspace_id]

    @staticmethod
    def _write(session: Session, workspace_id: int) -> None:
        """Write what the unit has appended."""
        if (chunk := of_unit(session, rows.Chunk).pop(workspace_id, None)) is not None:
            rows.add(session, workspace_id, chunk)

    @staticmethod
    def _check_references(ledger: Ledger, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if entry["op_code"] == Operation.CREATE_TRIAL and (
                entry["study_id"] not in ledger.studies
            ):
                raise NotFoundError(
                    f"The study with id {entry['study_id']} is not there: it was deleted."
                )


def _check_position(position: int, length: int) -> None:
    if not 0 <= position <= length:
        raise OutOfRangeError(
            f"position is {position}, and the journal has {length} entries: was the workspace "
            "deleted and made anew? Open the study again."
        )
