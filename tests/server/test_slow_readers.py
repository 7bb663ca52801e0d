"""Readers who ask for much and do not read it, over raw sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import select
import socket
import uuid
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aiohttp
import pytest
from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1 import connect as stubs

from aiauto import errors
from aiauto.server import connections, slow_readers
from aiauto.server.limits import Limits
from tests.server.conftest import RunningApp, serving, until
from tests.server.people import Person

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator
    from pathlib import Path

pytestmark = pytest.mark.once

LIMIT = 0.5
# More than the system keeps on the way from one socket to another.
QUESTIONS, ENTRIES, ENTRY_BYTES = 6, 40, 100_000
READ = "/aiauto.v1.JournalService/ReadEntries"


class Reader:
    """A connection on which much was asked for."""

    def __init__(self, url: str, token: str, window: int | None) -> None:
        host, port = urlsplit(url).hostname, urlsplit(url).port
        assert host
        assert port
        self.socket = socket.socket()
        if window is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        self.socket.settimeout(60)
        self.socket.connect((host, port))
        lines = [
            f"POST {READ} HTTP/1.1",
            f"Host: {host}:{port}",
            "Content-Type: application/json",
            "Content-Length: 2",
            f"Authorization: Bearer {token}",
        ]
        self.socket.sendall(("\r\n".join([*lines, "", ""]) + "{}").encode() * QUESTIONS)

    async def was_ended(self) -> bool:
        """Whether the server has given it up. Nothing is read for that."""
        poll = select.poll()
        poll.register(self.socket, 0)
        return bool(poll.poll(0))

    async def read(self, size: int) -> int:
        """How much came, of so much at most; 0 where it was ended."""
        with contextlib.suppress(ConnectionResetError):
            return len(await asyncio.to_thread(self.socket.recv, size))
        return 0


@contextlib.contextmanager
def reader(url: str, token: str, window: int | None = 4096) -> Generator[Reader]:
    one = Reader(url, token, window)
    with one.socket:
        yield one


async def write_much(person: Person) -> None:
    await person.service.ensure_workspace(v1.EnsureWorkspaceRequest())
    spec = v1.StudySpec(study_name="much", direction="minimize")
    await person.service.create_study(v1.CreateStudyRequest(spec=spec))
    attribute = {"op_code": 2, "study_id": 0, "user_attr": {"a": "x" * ENTRY_BYTES}}
    request = v1.AppendEntriesRequest(
        entries=[json.dumps({"worker_id": "u", **attribute})] * ENTRIES,
        request_id=uuid.uuid4().hex,
    )
    await stubs.JournalServiceClient(person.transport).append_entries(request)


@contextlib.asynccontextmanager
async def somebody(app: RunningApp, name: str) -> AsyncGenerator[Person]:
    person = Person(app, await app.token_of(name))
    async with person.transport:
        yield person


async def test_what_is_not_read(tmp_path: Path) -> None:
    async with (
        serving(tmp_path / "data", body_timeout=LIMIT) as app,
        somebody(app, "alice") as alice,
    ):
        await write_much(alice)
        with reader(app.url, alice.token) as one:
            await until(one.was_ended)
            # Nobody else was.
            await alice.service.list_studies(v1.ListStudiesRequest())


async def test_what_is_read_slowly_but_steadily(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Slower than this test reads, and faster than what one that is not read could seem to be.
    monkeypatch.setattr(slow_readers, "MIN_BYTES_PER_SECOND", 1024 * 1024)
    async with (
        serving(tmp_path / "data", body_timeout=LIMIT) as app,
        somebody(app, "alice") as alice,
    ):
        await write_much(alice)
        with reader(app.url, alice.token, window=None) as one:
            answer = await stubs.JournalServiceClient(alice.transport).read_entries(
                v1.ReadEntriesRequest()
            )
            expected, read = QUESTIONS * sum(map(len, answer.entries)), 0
            # It takes many times the limit.
            while read < expected // 2:
                read += await one.read(512 * 1024)
                await asyncio.sleep(LIMIT / 10)
                assert not await one.was_ended()
            while read < expected:
                found = await one.read(1024 * 1024)
                assert found
                read += found


async def test_more_than_a_user_may_leave_unread(tmp_path: Path) -> None:
    limits = Limits(max_unread_mib=1)
    async with (
        serving(tmp_path / "data", limits=limits) as app,
        somebody(app, "alice") as alice,
        somebody(app, "bob") as bob,
        aiohttp.ClientSession(app.url) as browser,
    ):
        await write_much(alice)

        async def is_refused() -> bool:
            try:
                await alice.service.list_studies(v1.ListStudiesRequest())
            except errors.ResourceExhaustedError:
                return True
            return False

        with contextlib.ExitStack() as readers:
            for _ in range(3):
                readers.enter_context(reader(app.url, alice.token))
            await until(is_refused)
            told = r"limit is 1 \(its admin sets AIAUTO_MAX_UNREAD_MIB\)"
            with pytest.raises(errors.ResourceExhaustedError, match=told) as no:
                await alice.service.list_studies(v1.ListStudiesRequest())
            assert [one.type_name for one in no.value.details] == ["google.rpc.RetryInfo"]
            headers = {"Authorization": f"Bearer {alice.token}"}
            async with browser.get("/token", headers=headers) as answer:
                assert answer.status == 429
            await bob.service.list_studies(v1.ListStudiesRequest())

        async def is_answered() -> bool:
            return not await is_refused()

        await until(is_answered)


async def test_connections_of_a_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MAX_OF_WORKER", 2)
    async with (
        serving(tmp_path / "data") as app,
        somebody(app, "alice") as alice,
        contextlib.AsyncExitStack() as stack,
    ):
        app.start_no_workers()
        batch = await alice.begin("study")
        first, second = [(await app.parts.batches.create_worker(batch)).token for _ in range(2)]
        sessions = [
            await stack.enter_async_context(aiohttp.ClientSession(app.url)) for _ in range(4)
        ]

        async def status(session: aiohttp.ClientSession, token: str) -> tuple[int, str]:
            headers = {"Authorization": f"Bearer {token}"}
            async with session.post(READ, json={}, headers=headers) as answer:
                return answer.status, await answer.text()

        assert [(await status(one, first))[0] for one in sessions[:2]] == [200, 200]
        code, told = await status(sessions[2], first)
        assert code == 429
        assert "a worker holds 2 at most" in told
        # Those of another one, and of their user, are none of its.
        assert (await status(sessions[3], second))[0] == 200
        assert (await status(sessions[2], alice.token))[0] == 200
