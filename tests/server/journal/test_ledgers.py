"""A long journal is read beside those who write, and what nobody uses is let go."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import delete

from aiauto.errors import NotFoundError, UnavailableError
from aiauto.server.database import Database
from aiauto.server.database.models import User, Workspace
from aiauto.server.journal import Journal, ledgers, rows
from aiauto.server.journal.kept import Kept
from tests.server.conftest import new_workspace
from tests.server.journal.test_undoing import Server, fresh, state

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from sqlalchemy.orm import Session

LONG = 4 * ledgers.ENTRIES_IN_UNIT
AT = {"datetime_complete": "2026-01-01T00:00:01"}
BEGINS = json.dumps(
    {"op_code": 4, "worker_id": "w", "study_id": 0, "datetime_start": "2026-01-01T00:00:00"}
)


def study(name: str) -> str:
    """The entry that creates a study."""
    return json.dumps({"op_code": 0, "worker_id": "w", "study_name": name, "directions": [1]})


def long_journal() -> list[str]:
    """Entries of a study with many trials, of which each second one has ended."""
    texts = [study("long")]
    for trial_id in range(LONG // 2):
        texts.append(BEGINS)
        if trial_id % 2:
            ended = {"trial_id": trial_id, "state": 1, "values": [-trial_id], **AT}
            texts.append(json.dumps({"op_code": 6, "worker_id": "w", **ended}))
    return texts


@pytest.fixture
async def server(database_url: str) -> AsyncIterator[Server]:
    server = Server(database_url)
    await server.database.open()
    yield server
    server.journal.close()
    await server.database.close()


@pytest.fixture
async def workspace_id(server: Server) -> int:
    """A workspace with a long journal, which the server has forgotten as by a restart."""

    workspace_id = await server.database.write(lambda session: new_workspace(session).id)
    texts = long_journal()
    for start in range(0, len(texts), 500):
        # Each is a row of its own.
        await server.append(workspace_id, texts[start : start + 500])
    server.journal = Journal(server.database)
    return workspace_id


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Long journals are read once this is set, in many parts."""
    gate = threading.Event()
    part = rows.part

    def waits(*given: Any) -> object:
        assert gate.wait(60)
        return part(*given)

    monkeypatch.setattr(rows, "part", waits)
    monkeypatch.setattr(rows, "CHARACTERS_OF_PART", 10_000)
    yield gate
    gate.set()


async def test_others_write_while_a_long_journal_is_read(
    server: Server, workspace_id: int, gate: threading.Event
) -> None:
    waiting = [asyncio.create_task(server.append(workspace_id, [BEGINS])) for _ in range(10)]
    # All of them are tried, and none keeps the writer.
    for _ in range(20):
        await asyncio.wait_for(server.database.write(lambda _: None), 10)
        assert not any(one.done() for one in waiting)
    gate.set()
    await asyncio.gather(*waiting)
    ledger = await server.ledger(workspace_id)
    assert state(ledger) == state(fresh([*long_journal(), *[BEGINS] * 10]))


async def test_it_is_read_once(
    server: Server, workspace_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts: list[int] = []
    part = rows.part

    def counts(session: Session, workspace_id: int, position: int) -> tuple[list[str], bool]:
        parts.append(position)
        return part(session, workspace_id, position)

    monkeypatch.setattr(rows, "part", counts)
    found = await asyncio.gather(*(server.ledger(workspace_id) for _ in range(10)))
    assert all(one is found[0] for one in found)
    assert parts == [0]


async def test_what_another_server_appends_meanwhile_is_not_missed(
    server: Server, workspace_id: int, gate: threading.Event, database_url: str
) -> None:
    reading = asyncio.create_task(server.ledger(workspace_id))
    other = Server(database_url)
    await other.database.open()

    def unit(session: Session) -> None:
        # Past its own ledger, which would wait as well.
        rows.add(session, workspace_id, rows.Chunk(len(long_journal()), [study("other")]))

    await other.database.write(unit)
    gate.set()
    assert (await reading).study_id("other") == 1
    # As much again: it goes on from where it is.
    before = await server.ledger(workspace_id)
    texts = long_journal()
    await other.append(workspace_id, texts)
    after = await server.ledger(workspace_id)
    assert after is before
    assert state(after) == state(fresh([*texts, study("other"), *texts]))
    other.journal.close()
    await other.database.close()


async def test_threads_wait_as_well(server: Server, workspace_id: int) -> None:
    def unit(session: Session) -> int:
        return server.journal.ledger(session, workspace_id).length

    assert await asyncio.to_thread(server.database.write_now, unit) == len(long_journal())


async def test_a_unit_that_is_put_off_is_undone_before_it_runs_again(
    server: Server, workspace_id: int
) -> None:
    def unit(session: Session) -> None:
        session.add(User(name="once"))
        session.flush()
        server.journal.ledger(session, workspace_id)

    # A second user of that name would be refused.
    await server.database.write(unit)


async def test_a_journal_that_can_t_be_read_is_tried_again(
    server: Server, workspace_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise UnavailableError("The database is away.")

    with monkeypatch.context() as patch:
        patch.setattr(rows, "part", fails)
        with pytest.raises(UnavailableError, match="away"):
            await server.ledger(workspace_id)
    assert state(await server.ledger(workspace_id)) == state(fresh(long_journal()))


async def test_a_workspace_that_is_deleted_meanwhile(
    server: Server, workspace_id: int, gate: threading.Event
) -> None:
    reading = asyncio.create_task(server.ledger(workspace_id))
    # It has been asked for by now: what is written later is done later.
    await server.database.write(lambda _: None)

    def unit(session: Session) -> None:
        server.journal.remove(session, workspace_id)
        session.execute(delete(Workspace).where(Workspace.id == workspace_id))

    await server.database.write(unit)
    gate.set()
    with pytest.raises(NotFoundError, match="deleted"):
        await reading


async def test_a_server_that_is_stopped_reads_no_further(
    server: Server, workspace_id: int, gate: threading.Event
) -> None:
    reading = asyncio.create_task(server.ledger(workspace_id))
    await server.database.write(lambda _: None)
    server.journal.close()
    gate.set()
    with pytest.raises(UnavailableError, match="being stopped"):
        await reading
    # Nor does it begin.
    with pytest.raises(UnavailableError, match="being stopped"):
        await server.ledger(workspace_id)


async def test_what_needs_nothing_to_be_read_goes_on_while_the_server_stops(
    database_url: str,
) -> None:
    database = Database(database_url)
    await database.open()
    journal = Journal(database)
    workspace_id = await database.write(lambda session: new_workspace(session).id)
    await database.write(lambda session: journal.ledger(session, workspace_id))
    journal.close()
    await database.write(lambda session: journal.ledger(session, workspace_id))
    await database.close()


async def test_what_nobody_uses_is_let_go(server: Server, workspace_id: int) -> None:
    ledger = await server.ledger(workspace_id)
    storage = server.journal.storage(workspace_id)
    server.journal.drop_unused(60)
    assert await server.ledger(workspace_id) is ledger
    assert server.journal.storage(workspace_id) is storage
    server.journal.drop_unused(-1)
    again = await server.ledger(workspace_id)
    assert again is not ledger
    assert state(again) == state(ledger)
    assert server.journal.storage(workspace_id) is not storage


def test_what_is_asked_for_is_kept() -> None:
    seconds = 0.0
    clock: Callable[[], float] = lambda: seconds  # noqa: E731
    kept: Kept[str] = Kept(clock)
    kept.put(1, "one")
    kept.put(2, "two")
    seconds = 50.0
    assert kept.get(1) == "one"
    seconds = 70.0
    kept.drop_unused(60)
    assert (kept.get(1), kept.get(2)) == ("one", None)
    assert kept.pop(1) == "one"
    assert kept.pop(1) is None
