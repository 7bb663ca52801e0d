"""What is answered from memory is what is in the database."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from aiauto.errors import OutOfRangeError
from aiauto.server.database import Database
from aiauto.server.database.models import JournalChunk
from aiauto.server.journal import Journal, newest
from tests.server.conftest import new_workspace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from sqlalchemy.orm import Session

    from aiauto.server.journal.journal import Slice


def creating(names: Sequence[str]) -> list[dict[str, object]]:
    """Entries that create studies."""
    return [
        {"op_code": 0, "worker_id": "w", "study_name": name, "directions": [1]} for name in names
    ]


class Kept:
    """A journal in a database."""

    def __init__(self, database: Database, workspace_id: int) -> None:
        self.database = database
        self.workspace_id = workspace_id
        self.journal = Journal(database)

    async def append(self, names: Sequence[str], *, undo: bool = False) -> None:
        def unit(session: Session) -> None:
            self.journal.append(session, self.workspace_id, creating(names))
            if undo:
                message = "undone"
                raise ValueError(message)

        await self.database.write(unit)

    async def read(self, position: int) -> tuple[Slice, Slice]:
        """From the database, and as an append is answered."""

        def unit(session: Session) -> tuple[Slice, Slice]:
            return (
                self.journal.read(session, self.workspace_id, position),
                self.journal.read_newest(session, self.workspace_id, position),
            )

        return await self.database.write(unit)

    async def agrees(self) -> None:
        length = (await self.read(0))[0].length
        for position in range(length + 1):
            kept, remembered = await self.read(position)
            assert kept == remembered
            assert len(kept.entries) == length - position
        with pytest.raises(OutOfRangeError):
            await self.read(length + 1)


@pytest.fixture
async def kept(database_url: str) -> AsyncIterator[Kept]:
    database = Database(database_url)
    await database.open()

    yield Kept(database, await database.write(lambda session: new_workspace(session).id))
    await database.close()


async def test_at_every_position(kept: Kept) -> None:
    await kept.agrees()
    await kept.append(["a"])
    await kept.append(["b", "c"])
    await kept.agrees()


async def test_what_is_undone_is_forgotten(kept: Kept) -> None:
    await kept.append(["a"])
    for undone in (["x"], ["y", "z"]):
        with pytest.raises(ValueError, match="undone"):
            await kept.append(undone, undo=True)
        await kept.agrees()
    # Units that share a transaction with one that is undone.
    results = await asyncio.gather(
        kept.append(["b"]),
        kept.append(["x"], undo=True),
        kept.append(["c"]),
        return_exceptions=True,
    )
    assert [result is None for result in results] == [True, False, True]
    await kept.agrees()


async def test_what_is_too_much_to_remember(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newest, "MAX_CHARACTERS", 200)
    for number in range(9):
        await kept.append([f"study {number}"])
    await kept.agrees()


@pytest.mark.parametrize("remembered", [0, newest.MAX_CHARACTERS])
async def test_a_unit_reads_what_it_has_appended(
    kept: Kept, monkeypatch: pytest.MonkeyPatch, remembered: int
) -> None:
    monkeypatch.setattr(newest, "MAX_CHARACTERS", remembered)

    def unit(session: Session) -> list[list[str]]:
        found: list[list[str]] = []
        for names in (["a", "b"], ["c"], ["d"]):
            kept.journal.append(session, kept.workspace_id, creating(names))
            found.append(kept.journal.read_newest(session, kept.workspace_id, 1).entries)
        return found

    found = await kept.database.write(unit)
    assert [[json.loads(text)["study_name"] for text in texts] for texts in found] == [
        ["b"],
        ["b", "c"],
        ["b", "c", "d"],
    ]
    await kept.agrees()


async def test_what_a_unit_appends_is_one_row(kept: Kept) -> None:
    def unit(session: Session) -> None:
        for name in ("a", "b"):
            kept.journal.append(session, kept.workspace_id, creating([name]))

    await asyncio.gather(kept.database.write(unit), kept.database.write(unit))
    rows = await kept.database.read(
        lambda session: session.execute(select(JournalChunk.start, JournalChunk.stop)).all()
    )
    assert [tuple(row) for row in rows] == [(0, 2), (2, 4)]
    await kept.agrees()


async def test_another_server_may_append(kept: Kept) -> None:
    await kept.append(["a"])
    other = Kept(kept.database, kept.workspace_id)
    await other.append(["b"])
    await kept.agrees()
    await kept.append(["c"])
    await other.agrees()


async def test_a_server_that_comes_later_knows_it_all(kept: Kept) -> None:
    await kept.append(["a", "b"])
    await Kept(kept.database, kept.workspace_id).agrees()
