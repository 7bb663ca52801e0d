"""What two admins do at once, at one server and at two servers on one database."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
from aiauto_gen.aiauto import v1
from sqlalchemy import create_engine, text

from aiauto import errors
from aiauto.server.services import user as user_calls
from aiauto.server.users import user_named
from tests.server.conftest import serving
from tests.server.people import People, Person

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sqlalchemy.orm import Session

    from aiauto.server.database.models import User
    from tests.postgresql import PostgreSQL

ADMINS = ("root", "ada")
found = user_named


@pytest.fixture
async def admins(tmp_path: Path, database_url: str) -> AsyncIterator[list[Person]]:
    """Two at one server."""
    async with serving(tmp_path / "data", database_url=database_url, trust_users=True) as app:
        people = People(app)
        yield [await people.admin(name) for name in ADMINS]
        await people.close()


async def race(admins: list[Person], count: int) -> None:
    """Two admins make a user of one name, again and again at the same time."""
    answers = await asyncio.gather(
        *(one.add("grace") for _ in range(count) for one in admins),
        return_exceptions=True,
    )
    made = [one for one in answers if isinstance(one, v1.CreateUserResponse)]
    refused = [one for one in answers if isinstance(one, errors.AlreadyExistsError)]
    assert (len(made), len(refused)) == (1, 2 * count - 1), answers
    grace = (await admins[1].listed())["grace"]
    assert made[0].user == grace
    assert grace.token_count == 1


async def test_two_admins_make_the_same_user(admins: list[Person]) -> None:
    await race(admins, 10)


class Meeting:
    """Lets what two servers do at once come as far as it can before either goes on."""

    def __init__(self, database_url: str) -> None:
        self._engine = create_engine(database_url)
        self._arrived: list[str] = []

    def found(self, session: Session, name: str) -> User | None:
        """What `_found` gives, once the other has asked the same or waits for a lock."""
        user = found(session, name)
        self._arrived.append(name)
        waiting = text("select count(*) from pg_locks where not granted")
        with self._engine.connect() as connection:
            while len(self._arrived) < 2 and not connection.scalar(waiting):
                time.sleep(0.01)
        return user

    def close(self) -> None:
        self._engine.dispose()


@pytest.fixture
async def two_servers(
    postgresql: PostgreSQL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[list[Person]]:
    """An admin at each of two servers on one database, who are about to do something at once."""
    database_url = postgresql.create_database()
    how: dict[str, Any] = {"database_url": database_url, "trust_users": True}
    async with serving(tmp_path / "first", **how) as one, serving(tmp_path / "other", **how) as two:
        people, meeting = People(one), Meeting(database_url)
        monkeypatch.setattr(user_calls, "user_named", meeting.found)
        yield [
            people.with_token(await app.token_of(name, admin=True), app)
            for app, name in zip((one, two), ADMINS, strict=True)
        ]
        await people.close()
        meeting.close()


@pytest.mark.once
async def test_two_admins_at_two_servers_make_the_same_user(two_servers: list[Person]) -> None:
    await race(two_servers, 1)


@pytest.mark.once
async def test_two_admins_at_two_servers_keep_each_other_out(two_servers: list[Person]) -> None:
    await keep_each_other_out(*two_servers)


async def test_two_admins_keep_each_other_out(admins: list[Person]) -> None:
    await keep_each_other_out(*admins)


async def keep_each_other_out(root: Person, ada: Person) -> None:
    answers = await asyncio.gather(root.disable("ada"), ada.disable("root"), return_exceptions=True)
    refusals = [one for one in answers if one is not None]
    assert len(refusals) == 1
    assert isinstance(refusals[0], (errors.PermissionDeniedError, errors.UnauthenticatedError))
    who = root if answers[0] is None else ada
    await who.disable("ada" if who is root else "root")
    users = await who.listed()
    assert sorted(one.disabled for one in users.values()) == [False, True]
