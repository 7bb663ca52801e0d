"""Several servers on one database: what one of them knows, the others know."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1 import connect as stubs
from sqlalchemy import create_engine, inspect, select

import aiauto
from aiauto import connect
from aiauto.errors import ArgumentValueError, UnauthenticatedError
from aiauto.server.accounts import LOCAL_USER
from aiauto.server.auth import new_token
from aiauto.server.database.migrations import migrate
from aiauto.server.database.models import Token, User
from tests.server.conftest import serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sqlalchemy.orm import Session

    from tests.postgresql import PostgreSQL
    from tests.server.conftest import RunningApp

pytestmark = pytest.mark.once

TOKEN = "aiauto_" + "0123456789abcdef" * 2
OTHER_TOKEN = "aiauto_" + "fedcba9876543210" * 2


@pytest.fixture
def database(postgresql: PostgreSQL) -> str:
    return postgresql.create_database()


@pytest.fixture
async def replicas(tmp_path: Path, database: str) -> AsyncIterator[tuple[RunningApp, RunningApp]]:
    """Two servers with folders of their own, as two Pods have them."""
    shared = {
        "database_url": database,
        "files_dir": tmp_path / "shared" / "files",
        "session_secret": "a secret of more than thirty-two characters",
    }
    async with serving(tmp_path / "1", **shared) as one, serving(tmp_path / "2", **shared) as two:
        yield one, two


async def test_a_chosen_token_is_good_everywhere(replicas: tuple[RunningApp, RunningApp]) -> None:
    users = await asyncio.gather(*(one.parts.accounts.admit(TOKEN) for one in replicas))
    assert users[0] == users[1]
    for one in replicas:
        principal = await one.parts.auth.authenticate(TOKEN)
        assert (principal.user_id, principal.is_admin) == (users[0], True)


async def test_another_chosen_token_takes_the_place_of_the_last(
    replicas: tuple[RunningApp, RunningApp],
) -> None:
    one, _ = replicas
    user_id = await one.parts.accounts.admit(TOKEN)
    kept = await one.parts.database.write(lambda session: new_token(session, user_id))
    await one.parts.accounts.admit(OTHER_TOKEN)
    with pytest.raises(UnauthenticatedError):
        await one.parts.auth.authenticate(TOKEN)
    for token in (OTHER_TOKEN, kept):
        assert (await one.parts.auth.authenticate(token)).user_id == user_id


async def test_a_chosen_token_that_was_rotated_is_good_again_after_a_restart(
    replicas: tuple[RunningApp, RunningApp],
) -> None:
    one, other = replicas
    await one.parts.accounts.admit(TOKEN)
    transport = connect.Transport(one.url, token=TOKEN)
    service = stubs.AIAutoServiceClient(transport)
    rotated = await service.rotate_token(v1.RotateTokenRequest(keep_seconds=0))
    await transport.close()
    await other.parts.accounts.admit(TOKEN)
    one.parts.auth.forget()
    assert (await other.parts.auth.authenticate(TOKEN)).is_admin
    with pytest.raises(UnauthenticatedError):
        await other.parts.auth.authenticate(rotated.token)


async def test_a_token_of_somebody_else_is_not_taken(
    replicas: tuple[RunningApp, RunningApp],
) -> None:
    one, _ = replicas
    token = await one.token_of("ada")
    with pytest.raises(ArgumentValueError, match="somebody else's"):
        await one.parts.accounts.admit(token)
    local = select(User).where(User.name == LOCAL_USER)
    assert await one.parts.database.read(lambda session: session.scalar(local)) is None
    assert not (await one.parts.auth.authenticate(token)).is_admin


async def test_a_session_is_good_everywhere(replicas: tuple[RunningApp, RunningApp]) -> None:
    one, two = replicas
    token = await one.token_of("ada")
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
        headers = {"Origin": one.url}
        async with browser.post(f"{one.url}/login", data={"token": token}, headers=headers) as sent:
            assert sent.status == 200
        async with browser.get(f"{two.url}/", headers={"Accept": "text/html"}) as answer:
            assert answer.status == 200


async def test_a_file_is_there_for_all(
    replicas: tuple[RunningApp, RunningApp], tmp_path: Path
) -> None:
    one, two = replicas
    token = await one.token_of("ada")
    (tmp_path / "data.bin").write_bytes(b"for all")

    def send() -> None:
        aiauto.AIAutoController(token, one.url).upload_to_shared_cache(tmp_path / "data.bin")

    def fetch() -> None:
        controller = aiauto.AIAutoController(token, two.url)
        controller.download_from_shared_cache("data.bin", tmp_path / "fetched.bin")

    await asyncio.to_thread(send)
    await asyncio.to_thread(fetch)
    assert (tmp_path / "fetched.bin").read_bytes() == b"for all"
    assert not (one.data_dir / "files").exists()


async def test_studies_of_one_are_those_of_all(replicas: tuple[RunningApp, RunningApp]) -> None:
    one, two = replicas
    token = await one.token_of("ada")

    def work(url: str, count: int) -> list[int]:
        study = aiauto.AIAutoController(token, url).create_study("shared").get_study()
        numbers: list[int] = []
        for _ in range(count):
            trial = study.ask()
            study.tell(trial, trial.suggest_float("x", 0, 1))
            numbers.append(trial.number)
        return numbers

    await asyncio.to_thread(work, one.url, 0)
    found = await asyncio.gather(
        asyncio.to_thread(work, one.url, 8), asyncio.to_thread(work, two.url, 8)
    )
    assert sorted(number for numbers in found for number in numbers) == list(range(16))


def test_servers_that_start_at_once_bring_the_tables_up_to_date_in_turn(database: str) -> None:
    failures: list[BaseException] = []
    together = threading.Barrier(4)

    def start() -> None:
        engine = create_engine(database)
        try:
            together.wait(30)
            migrate(engine)
        except BaseException as error:  # noqa: BLE001 - shown below
            failures.append(error)
        finally:
            engine.dispose()

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    engine = create_engine(database)
    assert "trial_batch" in inspect(engine).get_table_names()
    engine.dispose()


async def test_the_list_of_tokens_tells_the_chosen_one(
    running_app: RunningApp,
) -> None:
    user_id = await running_app.parts.accounts.admit(TOKEN)

    def names(session: Session) -> list[str]:
        return list(session.scalars(select(Token.name).where(Token.user_id == user_id)))

    assert await running_app.parts.database.read(names) == ["AIAUTO_ADMIN_TOKEN"]
