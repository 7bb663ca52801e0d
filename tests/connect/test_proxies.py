"""Proxies that the environment names: used on the way to other machines, and only there."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
from typing import TYPE_CHECKING

import pytest
import trustme
from aiauto_gen.aiauto.v1 import LogLine
from aiohttp import web

from aiauto import connect
from tests.connect.conftest import COUNT, ECHO, Lines

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

LINE = LogLine(text="hello", sequence=2)
HOST = "aiauto.example.test"
CREDENTIALS = "Basic " + base64.b64encode(b"name:s3cret").decode()
NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


class Proxy:
    """A proxy that finds every host at one port of this machine.

    Attributes:
        url: Its address, with a password.
        asked: What it was asked for: first line, and credentials.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self.url = ""
        self.asked: list[tuple[str, str]] = []

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.decode().split("\r\n")
            named = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
            written = dict(line.split(": ", 1) for line in lines[1:] if line)
            password = next(
                (text for name, text in written.items() if name.lower() == "proxy-authorization"),
                "",
            )
            assert named["host"].startswith(HOST)
            self.asked.append((lines[0], password))
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
            if lines[0].startswith("CONNECT "):
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                back.write(head)
            await asyncio.gather(pass_on(reader, back), pass_on(there, writer))
        writer.close()


async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@pytest.fixture(params=["http", "https"])
async def proxy(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> AsyncIterator[tuple[Proxy, str, ssl.SSLContext | None]]:
    """A proxy, the address behind it, and whom to trust there."""
    for name in (*NAMES, *map(str.lower, NAMES)):
        monkeypatch.delenv(name, raising=False)
    ours: ssl.SSLContext | None = None
    theirs: ssl.SSLContext | None = None
    if request.param == "https":
        authority = trustme.CA()
        ours = ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())
        certificate = tmp_path / "certificate.pem"
        authority.issue_cert(HOST).private_key_and_cert_chain_pem.write_to_path(str(certificate))
        theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        theirs.load_cert_chain(certificate)
    app = web.Application()
    connect.add_services(app, [Lines()])
    runner = connect.app_runner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=theirs).start()
    proxy = Proxy(runner.addresses[0][1])
    server = await asyncio.start_server(proxy.handle, "127.0.0.1", 0)
    proxy.url = f"http://name:s3cret@127.0.0.1:{server.sockets[0].getsockname()[1]}"
    monkeypatch.setenv(f"{request.param.upper()}_PROXY", proxy.url)
    yield proxy, f"{request.param}://{HOST}", ours
    server.close()
    await runner.cleanup()


async def test_calls_go_through_it(proxy: tuple[Proxy, str, ssl.SSLContext | None]) -> None:
    through, url, trust = proxy
    async with connect.Transport(url, ssl_context=trust, retries=connect.NO_RETRIES) as transport:
        assert await transport.unary(ECHO, LINE) == LINE
        async with transport.server_stream(COUNT, LINE) as stream:
            assert [line async for line in stream]
    assert through.asked
    for first, password in through.asked:
        expected = f"CONNECT {HOST}:443 " if trust else f"POST {url}/"
        assert first.startswith(expected)
        assert password == CREDENTIALS


async def test_what_it_is_not_for(
    proxy: tuple[Proxy, str, ssl.SSLContext | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    through, url, trust = proxy
    monkeypatch.setenv("NO_PROXY", f"elsewhere.test,{HOST}")
    async with connect.Transport(url, ssl_context=trust, retries=connect.NO_RETRIES) as transport:
        with pytest.raises(connect.UnavailableError, match="can't be reached") as caught:
            await transport.unary(ECHO, LINE)
    assert "s3cret" not in str(caught.value)
    assert not through.asked


async def test_one_that_is_not_there(
    proxy: tuple[Proxy, str, ssl.SSLContext | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, url, trust = proxy
    monkeypatch.setenv(f"{url.partition(':')[0].upper()}_PROXY", "http://name:s3cret@127.0.0.1:1")
    async with connect.Transport(url, ssl_context=trust, retries=connect.NO_RETRIES) as transport:
        with pytest.raises(connect.UnavailableError) as caught:
            await transport.unary(ECHO, LINE)
    assert "s3cret" not in str(caught.value)
