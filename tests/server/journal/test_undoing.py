"""Two servers on one database, and units that are undone: what is remembered is what is there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from sqlalchemy.exc import OperationalError

from aiauto.server.database import Database
from aiauto.server.journal import Journal
from aiauto.server.journal.entries import check
from aiauto.server.journal.ledger import Ledger
from tests.server.conftest import new_workspace
from tests.server.journal.test_entries import everything

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from sqlalchemy.orm import Session


class RefusedError(Exception):
    pass


class Server:
    def __init__(self, url: str) -> None:
        self.database = Database(url)
        self.journal = Journal(self.database)

    async def append(
        self, workspace_id: int, texts: Sequence[str], *, raises: Exception | None = None
    ) -> None:
        def unit(session: Session) -> None:
            for text in texts:
                self.journal.append(session, workspace_id, [check(text)], [text])
            if raises is not None:
                raise raises

        await self.database.write(unit)

    async def ledger(self, workspace_id: int) -> Ledger:
        return await self.database.write(lambda session: self.journal.ledger(session, workspace_id))


def state(ledger: Ledger) -> object:
    """All that it knows."""
    studies = {
        study_id: (
            study.name,
            study.directions,
            list(study.trial_ids),
            set(study.waiting),
            {state: count for state, count in study.counts.items() if count},
            study.best_trial_id,
            study.best_value,
            study.front._points.tolist(),
        )
        for study_id, study in ledger.studies.items()
    }
    newest = ledger.newest
    trials = [repr(trial) for trial in ledger.trials]
    read = (list(newest._texts), newest._characters, newest._stop)
    return ledger.length, studies, trials, read, ledger._next_study_id


def fresh(texts: Sequence[str]) -> Ledger:
    ledger = Ledger()
    ledger.extend([(check(text), text) for text in texts])
    return ledger


@pytest.fixture
async def servers(database_url: str) -> AsyncIterator[tuple[Server, Server]]:
    servers = Server(database_url), Server(database_url)
    for server in servers:
        await server.database.open()
    yield servers
    for server in servers:
        await server.database.close()


async def test_what_is_undone_is_forgotten_at_once(servers: tuple[Server, Server]) -> None:
    texts = everything()[0].texts
    one, other = servers
    workspace_id = await one.database.write(lambda session: new_workspace(session).id)
    for start in range(len(texts)):
        new, to_come, wrong = ([*texts, *texts][start : start + size] for size in (1, 4, 6))
        ledger = await one.ledger(workspace_id)
        with pytest.raises(RefusedError):
            await one.append(workspace_id, to_come, raises=RefusedError())
        assert state(ledger) == state(fresh(texts[:start]))
        # In one commit with what counts, or with nothing that does.
        appends = [
            one.append(workspace_id, wrong[1:], raises=RefusedError()),
            one.append(workspace_id, new if start % 2 else []),
            one.append(workspace_id, wrong[2:], raises=RefusedError()),
        ]
        await asyncio.gather(*appends, return_exceptions=True)
        if not start % 2:
            await other.append(workspace_id, new)
        for server in servers:
            assert state(await server.ledger(workspace_id)) == state(fresh(texts[: start + 1]))
        assert await one.ledger(workspace_id) is ledger, "it is not learnt anew"


async def test_a_commit_that_is_lost(
    servers: tuple[Server, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = everything()[0].texts
    server, _ = servers
    workspace_id = await server.database.write(lambda session: new_workspace(session).id)
    await server.append(workspace_id, texts[:9])
    ledger = await server.ledger(workspace_id)

    def fails(*_: object) -> None:
        raise OperationalError("COMMIT", {}, Exception("the connection is gone"))

    with monkeypatch.context() as patch:
        patch.setattr(server.database._engine.dialect, "do_commit", fails)
        appends = (server.append(workspace_id, texts[9:30]) for _ in range(5))
        outcomes = await asyncio.gather(*appends, return_exceptions=True)
    assert all(outcomes)
    assert state(ledger) == state(fresh(texts[:9]))
    await server.append(workspace_id, texts[9:])
    assert state(await server.ledger(workspace_id)) == state(fresh(texts))


async def test_a_removal_that_is_undone(servers: tuple[Server, Server]) -> None:
    texts = everything()[0].texts
    server, _ = servers
    workspace_id = await server.database.write(lambda session: new_workspace(session).id)
    await server.append(workspace_id, texts)
    ledger = await server.ledger(workspace_id)

    def unit(session: Session) -> None:
        server.journal.remove(session, workspace_id)
        raise RefusedError

    with pytest.raises(RefusedError):
        await server.database.write(unit)
    assert await server.ledger(workspace_id) is ledger
