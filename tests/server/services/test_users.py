"""Users over a socket: made, listed, kept out, let in again and deleted, by admins."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1 import connect as stubs
from sqlalchemy import func, select

from aiauto import errors
from aiauto.embedded import process_is_alive
from aiauto.server import users as making
from aiauto.server.accounts import UntrustedUsersError
from aiauto.server.data_dir import DataDir
from aiauto.server.database.models import Token, User
from aiauto.server.web.sessions import LoggedIn, Sessions
from tests.server.conftest import RunningApp, serving, until
from tests.server.people import People

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from sqlalchemy.orm import Session

    from aiauto.server.auth import Principal


@pytest.fixture
async def people(tmp_path: Path, database_url: str) -> AsyncIterator[People]:
    async with serving(tmp_path / "data", database_url=database_url, trust_users=True) as app:
        people = People(app)
        yield people
        await people.close()


async def test_made_and_listed(people: People) -> None:
    root = await people.admin()
    made = await root.add("ada", admin=True)
    assert made.user
    assert (made.user.name, made.user.is_admin, made.user.disabled) == ("ada", True, False)
    ada = people.with_token(made.token)
    bob = people.with_token((await ada.add("bob")).token)
    await bob.service.create_token(v1.CreateTokenRequest())
    users = await ada.listed()
    assert list(users) == ["root", "ada", "bob"]
    assert [one.token_count for one in users.values()] == [1, 1, 2]
    assert [one.is_admin for one in users.values()] == [True, True, False]
    assert users["ada"].id == made.user.id
    assert users["bob"].created_at.endswith("Z")
    for one, expected in ((root, ("root", True)), (bob, ("bob", False))):
        active = await one.service.get_active_token(v1.GetActiveTokenRequest())
        assert (active.user_name, active.is_admin) == expected
    with pytest.raises(errors.PermissionDeniedError, match="Only admins"):
        await bob.listed()
    # Each has a workspace of their own, and the token is kept as its hash alone.
    names = [
        (await one.service.ensure_workspace(v1.EnsureWorkspaceRequest())).workspace_name
        for one in (root, ada, bob)
    ]
    assert len(set(names)) == 3
    hashes = await people.app.parts.database.read(
        lambda session: list(session.scalars(select(Token.hash)))
    )
    assert made.token not in hashes


@pytest.mark.parametrize(
    "name",
    ["", "Ada", "1ada", "ada-", ".ada", "a b", "ada\n", "ada\0", "아다", "ada/..", "a" * 33],
)
async def test_names_that_are_not_taken(people: People, name: str) -> None:
    root = await people.admin()
    with pytest.raises(errors.InvalidArgumentError, match="use 1 to 32 lowercase letters"):
        await root.add(name)
    assert list(await root.listed()) == ["root"]


async def test_names_that_are(people: People) -> None:
    root = await people.admin()
    for name in ("a", "ada", "ada.lovelace", "a-1_2", "a" * 32):
        await root.add(name)
    # Whoever runs the server would become this user, whoever it was before.
    with pytest.raises(errors.InvalidArgumentError, match="who runs the server"):
        await root.add("local")
    with pytest.raises(errors.AlreadyExistsError, match="'ada'"):
        await root.add("ada")


async def test_who_is_not_there(people: People) -> None:
    root = await people.admin()
    for call in (root.disable, root.enable, root.issue):
        with pytest.raises(errors.NotFoundError, match="no user 'nobody'"):
            await call("nobody")
    assert not await root.delete("nobody")


async def test_who_can_not_be_kept_out(people: People) -> None:
    root = await people.admin()
    await people.app.parts.accounts.local_user(None)
    for call in (root.disable, root.delete):
        with pytest.raises(errors.FailedPreconditionError, match="this is you"):
            await call("root")
        with pytest.raises(errors.FailedPreconditionError, match="runs the server"):
            await call("local")
    users = await root.listed()
    assert (users["local"].is_admin, users["local"].disabled) == (True, False)


async def test_a_token_for_who_lost_theirs(people: People) -> None:
    root = await people.admin()
    bob = people.with_token((await root.add("bob")).token)
    again = people.with_token(await root.issue("bob"))
    await bob.has_no_study()
    await again.has_no_study()
    last = people.with_token(await root.issue("bob", revoke_others=True))
    await bob.refused()
    await again.refused()
    await last.has_no_study()
    assert (await root.listed())["bob"].token_count == 1


async def test_no_more_than_so_many(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "MAX_USERS", 3)
    root = await people.admin()
    answers = await asyncio.gather(
        *(root.add(f"user{number}") for number in range(5)), return_exceptions=True
    )
    refused = [one for one in answers if isinstance(one, errors.ResourceExhaustedError)]
    assert (len(refused), len(await root.listed())) == (3, 3)
    assert all("3 users" in str(one) for one in refused)


async def running_worker(app: RunningApp, batch: str) -> int:
    """The process of a batch's worker, once its trial runs."""

    async def begun() -> bool:
        workers = await app.parts.batches.live_workers(batch)
        leased = [one for one in workers if await app.parts.batches.has_leased(one.name)]
        return bool(leased)

    await until(begun)
    (worker,) = await app.parts.batches.live_workers(batch)
    assert worker.process_id
    return worker.process_id


async def pages(app: RunningApp, **how: Any) -> int:
    """How the dashboard answers."""
    async with (
        aiohttp.ClientSession(app.url) as session,
        session.get("/api/studies", allow_redirects=False, **how) as answer,
    ):
        return answer.status


async def test_kept_out_and_let_in_again(people: People) -> None:
    app = people.app
    root = await people.admin()
    made = await root.add("bob")
    assert made.user
    bob = people.with_token(made.token)
    batch = await bob.begin("study-of-bob")
    process = await running_worker(app, batch)
    ticket = await app.parts.batches.create_worker(batch)
    worker = people.with_token(ticket.token)
    journal = stubs.JournalServiceClient(worker.transport)
    await journal.read_entries(v1.ReadEntriesRequest())
    sessions = Sessions(DataDir(app.data_dir).secret())
    user_id = int(made.user.id)
    ways_in: list[dict[str, Any]] = [
        {"headers": {"Authorization": f"Bearer {bob.token}"}},
        {"cookies": {sessions.cookie_name: sessions.cookie(LoggedIn(user_id))}},
    ]
    key = {"params": {"key": sessions.key(user_id)}}
    assert [await pages(app, **one) for one in (*ways_in, key)] == [200, 200, 303]

    await root.disable("bob")
    await bob.refused()
    with pytest.raises(errors.UnauthenticatedError):
        await journal.read_entries(v1.ReadEntriesRequest())
    assert [await pages(app, **one) for one in (*ways_in, key)] == [401, 401, 401]
    assert not process_is_alive(process)
    assert await app.parts.batches.is_over(batch)
    assert (await root.listed())["bob"].disabled
    await root.disable("bob")

    await root.enable("bob")
    status = await bob.service.get_status(v1.GetStatusRequest(study_name="study-of-bob"))
    assert status.trialbatches[batch].count_failed == 1
    assert status.trialbatches[batch].count_active == 0
    assert [await pages(app, **one) for one in (*ways_in, key)] == [200, 200, 303]


async def test_what_is_looked_up_meanwhile_is_not_remembered(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = await people.admin()
    bob = people.with_token((await root.add("bob")).token)
    await root.listed()
    database, auth = people.app.parts.database, people.app.parts.auth

    async def read_late(unit: Callable[[Session], Any]) -> Any:
        monkeypatch.undo()
        found = await database.read(unit)
        await root.disable("bob")
        return found

    monkeypatch.setattr(database, "read", read_late)
    principal: Principal = await auth.authenticate(bob.token)
    assert principal.worker is None
    await bob.refused()


async def test_deleted(people: People) -> None:
    app = people.app
    root = await people.admin()
    bob = people.with_token((await root.add("bob")).token)
    batch = await bob.begin("study-of-bob")
    process = await running_worker(app, batch)
    principal = await app.parts.auth.authenticate(bob.token)
    assert principal.workspace_id
    folder = app.parts.files.store.own_folder(principal.workspace_id, "shared-cache")
    sessions = Sessions(DataDir(app.data_dir).secret())
    cookie = {sessions.cookie_name: sessions.cookie(LoggedIn(principal.user_id))}
    assert await pages(app, cookies=cookie) == 200

    assert await root.delete("bob")
    await bob.refused()
    assert not process_is_alive(process)
    assert not folder.exists()
    assert not (app.data_dir / "batches" / batch).exists()
    assert await pages(app, cookies=cookie) == 401
    assert list(await root.listed()) == ["root"]
    tokens = await app.parts.database.read(
        lambda session: session.scalar(
            select(func.count()).select_from(Token).where(Token.user_id == principal.user_id)
        )
    )
    assert tokens == 0
    assert not await root.delete("bob")

    # Who has the name next is somebody else.
    made = await root.add("bob")
    assert made.user
    assert made.user.id != str(principal.user_id)
    new = people.with_token(made.token)
    await new.service.ensure_workspace(v1.EnsureWorkspaceRequest())
    await new.has_no_study()
    await bob.refused()
    assert await pages(app, cookies=cookie) == 401


async def test_a_delete_that_broke_off_is_done_again(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = await people.admin()
    bob = people.with_token((await root.add("bob")).token)
    await bob.service.ensure_workspace(v1.EnsureWorkspaceRequest())
    store = people.app.parts.files.store
    with monkeypatch.context() as patch:
        patch.setattr(store, "remove_workspace", None)
        with pytest.raises(errors.InternalError):
            await root.delete("bob")
    await bob.refused()
    assert (await root.listed())["bob"].disabled
    assert await root.delete("bob")
    assert list(await root.listed()) == ["root"]


async def test_one_user_unless_told_otherwise(running_app: RunningApp) -> None:
    people = People(running_app)
    root = await people.admin()
    with pytest.raises(errors.FailedPreconditionError, match="--trust-users"):
        await root.add("ada")
    assert list(await root.listed()) == ["root"]
    await people.close()


async def test_a_server_with_several_users_does_not_start_untold(
    tmp_path: Path, database_url: str
) -> None:
    async with serving(tmp_path / "first", database_url=database_url) as app:
        await app.parts.accounts.local_user(None)
    async with serving(tmp_path / "second", database_url=database_url) as app:
        await app.token_of("ada")
    with pytest.raises(UntrustedUsersError, match=r"2 users.*AIAUTO_TRUST_USERS=1"):
        async with serving(tmp_path / "third", database_url=database_url):
            pass
    async with serving(tmp_path / "fourth", database_url=database_url, trust_users=True) as app:
        count = await app.parts.database.read(
            lambda session: session.scalar(select(func.count()).select_from(User))
        )
    assert count == 2
