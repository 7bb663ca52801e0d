"""Snapshots of journals, kept and renewed as they grow old."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiauto.server.database.models import JournalSnapshot, Workspace
from aiauto.server.journal.entries import Operation
from aiauto.server.journal.state import State, bare_trial, operation_prefix

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.orm import Session

    from aiauto.server.database import Database
    from aiauto.server.journal.journal import Journal

# A journal is replayed from its beginning as long as it is no longer than this.
MIN_NEW_ENTRIES = 2000
# A snapshot is renewed once a quarter of its own length has come after it, so that all renewals
# together cost each entry the same however long the journal grows.
MAX_NEW_FRACTION = 0.25
# The fastest level: it is written once, and read by every worker.
COMPRESSION_LEVEL = 1
CHUNK_CHARACTERS = 512 * 1024


@dataclass(frozen=True)
class Snapshot:
    """A shorter journal.

    Attributes:
        position: How many entries of the real journal it stands for.
        lines: Its entries.
    """

    position: int
    lines: list[str]

    def of_study(self, study_name: str) -> Snapshot:
        """The same, with nothing of the trials of all other studies but their number."""
        study_id = _study_id(self.lines, study_name)
        wanted = f'{operation_prefix(Operation.CREATE_TRIAL)}"study_id":{study_id},'
        lines = [line if line.startswith(wanted) else _bare(line) for line in self.lines]
        return Snapshot(self.position, lines)

    def chunks(self) -> Iterator[list[str]]:
        """The entries, as many at a time as fit well into a message."""
        chunk: list[str] = []
        characters = 0
        for line in self.lines:
            chunk.append(line)
            characters += len(line)
            if characters >= CHUNK_CHARACTERS:
                yield chunk
                chunk, characters = [], 0
        if chunk:
            yield chunk


class Snapshots:
    """The snapshots of all journals."""

    def __init__(self, database: Database, journal: Journal) -> None:
        """Make it.

        Args:
            database: Where they are kept.
            journal: The journals.
        """
        self._database = database
        self._journal = journal
        # Of all workers that start together, one renews a snapshot.
        self._locks: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def read(self, workspace_id: int, study_name: str = "") -> Snapshot:
        """A snapshot of a journal, not much older than the journal is.

        Args:
            workspace_id: The workspace.
            study_name: Only the trials of this study are wanted; empty for all.
        """
        async with self._locks[workspace_id]:
            snapshot, data = await self._database.read(
                lambda session: self._current(session, workspace_id)
            )
            if data is not None:
                await self._database.write(
                    lambda session: _keep(session, workspace_id, snapshot.position, data)
                )
        return await asyncio.to_thread(snapshot.of_study, study_name) if study_name else snapshot

    def _current(self, session: Session, workspace_id: int) -> tuple[Snapshot, bytes | None]:
        """The snapshot, and what is to be kept of it where it is new."""
        kept = session.get(JournalSnapshot, workspace_id)
        lines = [] if kept is None else zlib.decompress(kept.entries).decode().split("\n")
        position = 0 if kept is None else kept.stop
        new = self._journal.read(session, workspace_id, position, limit=None).entries
        if len(new) <= max(MIN_NEW_ENTRIES, MAX_NEW_FRACTION * len(lines)):
            return Snapshot(position, lines), None
        state = State()
        state.apply(json.loads(line) for line in lines)
        state.apply(json.loads(line) for line in new)
        lines = list(state.entries())
        data = zlib.compress("\n".join(lines).encode(), COMPRESSION_LEVEL)
        return Snapshot(position + len(new), lines), data


def _keep(session: Session, workspace_id: int, position: int, data: bytes) -> None:
    if session.get(Workspace, workspace_id) is None:
        return  # deleted in the meantime
    kept = session.get(JournalSnapshot, workspace_id)
    if kept is None:
        session.add(JournalSnapshot(workspace_id=workspace_id, stop=position, entries=data))
    elif kept.stop < position:
        kept.stop, kept.entries = position, data


def _study_id(lines: list[str], study_name: str) -> int | None:
    """The id of a study: they are numbered as they come."""
    beginning = operation_prefix(Operation.CREATE_STUDY)
    studies = (line for line in lines if line.startswith(beginning))
    for number, line in enumerate(studies):
        if json.loads(line)["study_name"] == study_name:
            return number
    return None


def _bare(line: str) -> str:
    """Leaves of a trial nothing but that there is one."""
    beginning = f'{operation_prefix(Operation.CREATE_TRIAL)}"study_id":'
    if not line.startswith(beginning):
        return line
    end = line.index(",", len(beginning))
    return bare_trial(int(line[len(beginning) : end]))
