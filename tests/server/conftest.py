"""The whole server inside of the test, on a real port."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from sqlalchemy import select

from aiauto import connect
from aiauto.server import failed_logins
from aiauto.server.app import PARTS, create_app
from aiauto.server.auth import new_token
from aiauto.server.database.models import User, Workspace
from aiauto.server.executors.local import LocalExecutor
from aiauto.server.logs import access_log
from aiauto.server.openid.admission import Admission
from aiauto.server.settings import Settings
from tests.issuer import LocalIssuer, issuing
from tests.server.visitors import Visitor

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from sqlalchemy.orm import Session

    from aiauto.server.parts import Parts


def new_workspace(session: Session) -> Workspace:
    """A workspace in a database that has none, and whose it is."""
    user = User(name="someone")
    session.add(user)
    session.flush()
    workspace = Workspace(
        user_id=user.id,
        name="workspace",
        storage_size="1Gi",
        artifact_store_size="1Gi",
        shared_cache_dir="/mnt",
        shared_cache_size="1Gi",
    )
    session.add(workspace)
    session.flush()
    return workspace


class RunningApp:
    """A server in this process.

    Attributes:
        url: Its address.
        app: The application.
        data_dir: Where it keeps its data.
        parts: Its parts.
    """

    def __init__(self, url: str, app: web.Application, data_dir: Path) -> None:
        self.url = url
        self.data_dir = data_dir
        self.app = app
        self.parts: Parts = app[PARTS]

    @property
    def executor(self) -> LocalExecutor:
        """What runs batches here."""
        assert isinstance(self.parts.executor, LocalExecutor)
        return self.parts.executor

    def start_no_workers(self) -> None:
        """Let batches wait for ever."""
        self.executor._closing = True

    async def token_of(self, name: str, *, admin: bool = False) -> str:
        """A new token of a user, who is made if need be."""

        def unit(session: Session) -> str:
            user = session.scalar(select(User).where(User.name == name))
            if user is None:
                user = User(name=name, is_admin=admin)
                session.add(user)
                session.flush()
            return new_token(session, user.id)

        return await self.parts.database.write(unit)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what is seen only by looking."""

    async def look() -> None:
        while not await condition():  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.05)

    await asyncio.wait_for(look(), 60)


@contextlib.asynccontextmanager
async def serving(data_dir: Path, **how: Any) -> AsyncGenerator[RunningApp]:
    """Run a server in this process while the block runs. Takes the fields of `Settings`."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        (data_dir / "batches").mkdir(parents=True)
        settings = Settings(data_dir=data_dir, port=port, stop_grace=2.0, **how)
        runner = connect.app_runner(
            create_app(settings),
            shutdown_timeout=1.0,
            access_log_class=access_log(settings.trusted_proxies),
        )
        await runner.setup()
        assert runner.server is not None
        parts = runner.app[PARTS]
        watching = [
            asyncio.create_task(one.watch(runner.server))
            for one in (parts.slow_senders, parts.slow_readers)
        ]
        await web.SockSite(runner, listener).start()
        try:
            yield RunningApp(f"http://127.0.0.1:{port}", runner.app, data_dir)
        finally:
            for task in watching:
                task.cancel()
            await parts.executor.close()
            await runner.cleanup()


@pytest.fixture
async def running_app(tmp_path: Path, database_url: str) -> AsyncIterator[RunningApp]:
    async with serving(tmp_path / "data", database_url=database_url) as running:
        yield running


@pytest.fixture
async def issuer() -> AsyncIterator[LocalIssuer]:
    async with issuing() as issuer:
        yield issuer


class Lab:
    """A server where people log in by the issuer."""

    def __init__(self, app: RunningApp, issuer: LocalIssuer) -> None:
        self.app = app
        self.issuer = issuer
        self._visitors: list[Visitor] = []

    def visitor(self, **headers: str) -> Visitor:
        """A browser of its own."""
        self._visitors.append(Visitor(self.app, **headers))
        return self._visitors[-1]

    async def close(self) -> None:
        for visitor in self._visitors:
            await visitor.http.close()


@pytest.fixture
async def open_lab(
    tmp_path: Path, issuer: LocalIssuer, caplog: pytest.LogCaptureFixture
) -> AsyncIterator[Callable[..., Awaitable[Lab]]]:
    """Starts such servers, with fields of `Settings`. At the end no secret is in the log."""
    caplog.set_level(logging.DEBUG, "aiauto")
    async with contextlib.AsyncExitStack() as stack:
        labs: list[Lab] = []

        async def open_(allowed: str = "*@example.org", **how: Any) -> Lab:
            how.setdefault("openid", issuer.settings(admission=Admission.parse(allowed)))
            how.setdefault("trust_users", True)
            folder = tmp_path / f"lab{len(labs)}"
            labs.append(Lab(await stack.enter_async_context(serving(folder, **how)), issuer))
            stack.push_async_callback(labs[-1].close)
            return labs[-1]

        yield open_
    for secret in issuer.secret_things:
        assert secret not in caplog.text


@pytest.fixture
async def lab(open_lab: Callable[..., Awaitable[Lab]]) -> Lab:
    """Such a server, for all whose verified address is at example.org."""
    return await open_lab()


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has to wait who is refused again and again."""
    monkeypatch.setattr(failed_logins, "LONGEST_PAUSE_SECONDS", 0.0)
