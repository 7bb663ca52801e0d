"""Tokens over a socket: issued, listed, used, replaced, revoked, and over."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1 import connect as stubs
from sqlalchemy import select, update

from aiauto import connect, errors
from aiauto.server import auth
from aiauto.server.database.models import Token, now

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.server.conftest import RunningApp


class Holder:
    """Who calls with a token."""

    def __init__(self, transport: connect.Transport) -> None:
        self.service = stubs.AIAutoServiceClient(transport)

    async def create(self, **given: str) -> str:
        return (await self.service.create_token(v1.CreateTokenRequest(**given))).token

    async def tokens(self) -> list[v1.TokenInfo]:
        return (await self.service.list_tokens(v1.ListTokensRequest())).tokens

    async def current(self) -> v1.TokenInfo:
        (current,) = (token for token in await self.tokens() if token.current)
        return current

    async def revoke(self, token_id: str) -> bool:
        return (await self.service.revoke_token(v1.RevokeTokenRequest(token_id=token_id))).found

    async def refused(self) -> None:
        with pytest.raises(errors.UnauthenticatedError, match="not valid"):
            await self.service.get_active_token(v1.GetActiveTokenRequest())


class Holders:
    """Makes them."""

    def __init__(self, app: RunningApp) -> None:
        self._app = app
        self._transports: list[connect.Transport] = []

    async def of(self, user: str) -> Holder:
        return self.with_token(await self._app.token_of(user))

    def with_token(self, token: str) -> Holder:
        self._transports.append(connect.Transport(self._app.url, token=token))
        return Holder(self._transports[-1])

    async def close(self) -> None:
        for transport in self._transports:
            await transport.close()


@pytest.fixture
async def holders(running_app: RunningApp) -> AsyncIterator[Holders]:
    holders = Holders(running_app)
    yield holders
    await holders.close()


async def test_a_token_that_ends_itself(holders: Holders) -> None:
    alice = await holders.of("alice")
    token = await alice.create(expiry_days="1")
    assert token.startswith("aiauto_")
    other = holders.with_token(token)
    active = await other.service.get_active_token(v1.GetActiveTokenRequest())
    assert active.has_active_token
    assert active.expires_at.endswith("Z")
    await other.service.delete_token(v1.DeleteTokenRequest())
    await other.refused()


@pytest.mark.parametrize("days", ["0", "-1", "soon", "1.5", "99999999"])
async def test_a_token_that_would_last_for_no_time(holders: Holders, days: str) -> None:
    alice = await holders.of("alice")
    with pytest.raises(errors.InvalidArgumentError, match="expiry_days"):
        await alice.create(expiry_days=days)


@pytest.mark.parametrize("name", ["x" * 101, "two\nlines", "\0"])
async def test_a_token_with_a_name_that_nobody_could_read(holders: Holders, name: str) -> None:
    alice = await holders.of("alice")
    with pytest.raises(errors.InvalidArgumentError, match="name"):
        await alice.create(name=name)


async def test_the_list(holders: Holders, running_app: RunningApp) -> None:
    alice, bob = await holders.of("alice"), await holders.of("bob")
    token = await alice.create(name="노트북", expiry_days="7")
    first, second = await alice.tokens()
    assert (first.current, second.current, second.name) == (True, False, "노트북")
    assert (first.expires_at, second.last_used_at) == ("", "")
    lifetime = datetime.fromisoformat(second.expires_at.replace("Z", "+00:00")) - now()
    assert timedelta(days=6.9) < lifetime <= timedelta(days=7)
    assert token.startswith(second.hint)
    assert len(second.hint) == len("aiauto_") + 4
    # It was shown once.
    secret = token.removeprefix(second.hint)
    active = await holders.with_token(token).service.get_active_token(v1.GetActiveTokenRequest())
    for shown in (*await alice.tokens(), active):
        assert secret not in shown.to_json()
    assert first.last_used_at
    # Its owner sees when it is used; others see nothing of it, and the hash alone is kept.
    await holders.with_token(token).tokens()
    assert (await alice.tokens())[1].last_used_at
    assert [one.name for one in await bob.tokens()] == [""]

    def kept(session: object) -> str:
        del session
        with running_app.parts.database._engine.connect() as connection:  # pyright: ignore[reportPrivateUsage]
            return repr(connection.execute(select(Token)).all())

    rows = await running_app.parts.database.read(kept)
    assert token not in rows
    assert token.removeprefix(second.hint) not in rows


async def test_revoked(holders: Holders) -> None:
    alice, bob = await holders.of("alice"), await holders.of("bob")
    lost = holders.with_token(await alice.create(name="lost"))
    token_id = (await lost.current()).id
    # What is not theirs is not there.
    assert not await bob.revoke(token_id)
    await lost.tokens()
    assert await alice.revoke(token_id)
    await lost.refused()
    assert not await alice.revoke(token_id)
    for nonsense in ("", "0", "-1", "1e9", "9" * 400, "lost", "\0"):
        assert not await alice.revoke(nonsense)
    assert await alice.revoke((await alice.current()).id)
    await alice.refused()


async def test_expired(holders: Holders, running_app: RunningApp) -> None:
    alice = await holders.of("alice")
    brief = holders.with_token(await alice.create(name="brief", expiry_days="1"))
    token_id = (await brief.current()).id
    past = now() - timedelta(seconds=1)
    await running_app.parts.database.write(
        lambda session: session.execute(
            update(Token).where(Token.name == "brief").values(expires_at=past)
        )
    )
    running_app.parts.auth.forget()
    await brief.refused()
    assert [one.name for one in await alice.tokens()] == [""]
    assert not await alice.revoke(token_id)


async def test_nobody_is_remembered_for_longer_than_their_token_is_valid(
    holders: Holders, running_app: RunningApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth, "REMEMBERED_SECONDS", 3600.0)
    alice = await holders.of("alice")
    brief = holders.with_token(await alice.create(name="brief", expiry_days="1"))
    end = now() + timedelta(seconds=300)
    await running_app.parts.database.write(
        lambda session: session.execute(
            update(Token).where(Token.name == "brief").values(expires_at=end)
        )
    )
    running_app.parts.auth.forget()
    await brief.current()
    later = SimpleNamespace(monotonic=lambda: time.monotonic() + 301)
    monkeypatch.setattr(auth, "time", later)
    monkeypatch.setattr(auth, "now", lambda: now() + timedelta(seconds=301))
    await brief.refused()


async def test_rotated(holders: Holders) -> None:
    alice = await holders.of("alice")
    old = holders.with_token(await alice.create(name="server", expiry_days="30"))
    before = await old.current()
    # Whoever loses the answer asks again.
    await old.service.rotate_token(v1.RotateTokenRequest())
    answer = await old.service.rotate_token(v1.RotateTokenRequest())
    left = datetime.fromisoformat(answer.old_expires_at.replace("Z", "+00:00")) - now()
    assert timedelta(seconds=240) < left <= timedelta(seconds=300)
    new = holders.with_token(answer.token)
    after = await new.current()
    assert (after.name, after.id != before.id) == ("server", True)
    assert after.expires_at >= before.expires_at
    await old.tokens()
    at_once = await new.service.rotate_token(v1.RotateTokenRequest(keep_seconds=0))
    await new.refused()
    # It never lasts longer for being replaced.
    newest = holders.with_token(at_once.token)
    short = await newest.service.rotate_token(v1.RotateTokenRequest(keep_seconds=60))
    assert (await newest.current()).expires_at == short.old_expires_at
    again = await newest.service.rotate_token(v1.RotateTokenRequest(keep_seconds=86_400))
    assert again.old_expires_at == short.old_expires_at
    for keep in (-1, 86_401):
        with pytest.raises(errors.InvalidArgumentError, match="keep_seconds"):
            await newest.service.rotate_token(v1.RotateTokenRequest(keep_seconds=keep))
