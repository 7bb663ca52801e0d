"""A server that speaks HTTPS, and its certificate."""

from __future__ import annotations

import asyncio
import http.client
import os
import re
import signal
import ssl
import subprocess
import sys
import urllib.request
from typing import TYPE_CHECKING, cast
from urllib.parse import urlencode, urlsplit

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

import aiauto
from aiauto.errors import ArgumentValueError
from aiauto.server.connections import unread_bytes
from aiauto.server.settings import Settings
from aiauto.server.tls import Certificate, CertificateError
from tests.server.conftest import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from aiohttp.web import RequestHandler

AIAUTO = [sys.executable, "-m", "aiauto.cli"]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def files(tmp_path: Path, authority: trustme.CA) -> tuple[Path, Path]:
    return issue(authority, tmp_path)


def issue(authority: trustme.CA, folder: Path) -> tuple[Path, Path]:
    made = authority.issue_cert("127.0.0.1", "localhost")
    cert, key = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(b"".join(one.bytes() for one in made.cert_chain_pems))
    key.write_bytes(made.private_key_pem.bytes())
    return cert, key


@pytest.fixture
def serve(tmp_path: Path, files: tuple[Path, Path]) -> Iterator[Callable[[], tuple[str, str]]]:
    """Starts `aiauto serve` with the certificate; gives its address and its token."""
    started: list[subprocess.Popen[str]] = []
    cert, key = map(str, files)

    def start() -> tuple[str, str]:
        for process in started:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
        started[:] = [
            subprocess.Popen(
                [
                    *AIAUTO, "serve", "--port", "0", "--data-dir", str(tmp_path / "data"),
                    "--tls-cert", cert, "--tls-key", key,
                ],
                stdout=subprocess.PIPE,
                text=True,
            )
        ]  # fmt: skip
        assert started[0].stdout is not None
        text = ""
        for line in started[0].stdout:
            text += line
            if line.strip().startswith("Data:"):
                break
        url = re.findall(r"running on (https://127\.0\.0\.1:\d+)\.", text)[0]
        token = re.findall(r'AIAutoController\("(aiauto_[\w-]+)"', text)[0]
        return url, token

    yield start
    for process in started:
        process.kill()
        process.communicate()


def minimum(trial: object) -> float:
    """An objective."""
    del trial
    return 1.0


def log_in(url: str, token: str, bundle: Path) -> str:
    """Log in by the form, as a browser does. Gives the cookie as it is set."""
    there = urlsplit(url)
    context = ssl.create_default_context(cafile=str(bundle))
    connection = http.client.HTTPSConnection(there.netloc, context=context, timeout=60)
    form = {"Content-Type": "application/x-www-form-urlencoded", "Origin": url}
    connection.request("POST", "/login", urlencode({"token": token}), form)
    answer = connection.getresponse()
    assert answer.status == 303
    connection.close()
    return answer.headers["Set-Cookie"]


# What Python 3.10 leaves of a connection whose certificate it does not trust.
@pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <function _SSLProtocolTransport:"
    "pytest.PytestUnraisableExceptionWarning"
)
def test_a_study_over_https(
    serve: Callable[[], tuple[str, str]],
    authority: trustme.CA,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIAUTO_ALLOWED_HOSTS", "lab.example")
    url, token = serve()
    with pytest.raises(aiauto.RpcError, match="certificate"):
        aiauto.AIAutoController(token, base_url=url)
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    monkeypatch.setenv("AIAUTO_CA_BUNDLE", str(bundle))
    study = aiauto.AIAutoController(token, base_url=url).create_study("one")
    study.optimize(minimum, n_trials=3, parallelism=1, wait_option="WAIT_ALL_TRIALS")
    assert study.get_status()["count_succeeded"] == 3
    assert study.get_status()["dashboard_url"].startswith(f"{url}/dashboard")
    assert "; Secure" in log_in(url, token, bundle)
    # Workers that a killed server leaves behind find the next one where this one was.
    port = (tmp_path / "data" / "worker_port").read_text(encoding="ascii")
    url, _ = serve()
    assert (tmp_path / "data" / "worker_port").read_text(encoding="ascii") == port
    # Scripts of this machine attach without a certificate, and no others can.
    plain = f"http://127.0.0.1:{int(port)}"
    with urllib.request.urlopen(f"{plain}/healthz") as answer:  # noqa: S310 - of the test
        assert answer.status == 200
    # Browsers are told to come by HTTPS where they do, by a name that is the server's alone.
    context = ssl.create_default_context(cafile=str(bundle))
    for way, name, told in (
        (url, "lab.example", "max-age=31536000"),
        (url, "127.0.0.1", None),
        (plain, "lab.example", None),
    ):
        request = urllib.request.Request(f"{way}/healthz", headers={"Host": name})  # noqa: S310
        with urllib.request.urlopen(request, context=context) as answer:  # noqa: S310
            assert answer.headers["Strict-Transport-Security"] == told


def test_a_proxy_on_the_way_is_not_spoken_to_in_plain(serve: Callable[[], tuple[str, str]]) -> None:
    url, _ = serve()
    plain = url.replace("https://", "http://")
    with pytest.raises(OSError, match=r"closed|reset|400"):
        urllib.request.urlopen(f"{plain}/healthz")  # noqa: S310 - an address of the test


@pytest.mark.parametrize("spoilt", ["cert", "key", "both", "gone"])
def test_a_certificate_that_is_none(
    tmp_path: Path, files: tuple[Path, Path], authority: trustme.CA, spoilt: str
) -> None:
    cert, key = files
    if spoilt == "cert":
        cert.write_text("no certificate", encoding="ascii")
    elif spoilt == "key":
        other = authority.issue_cert("localhost")
        key.write_bytes(other.private_key_pem.bytes())
    elif spoilt == "both":
        cert, key = key, cert
    else:
        key.unlink()
    with pytest.raises(CertificateError, match="certificate"):
        Certificate(cert, key)
    done = subprocess.run(
        [*AIAUTO, "serve", "--port", "0", "--data-dir", str(tmp_path / "data")],
        env={**os.environ, "AIAUTO_TLS_CERT": str(cert), "AIAUTO_TLS_KEY": str(key)},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 2
    assert "certificate" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_key_with_a_password_is_not_asked_for(files: tuple[Path, Path]) -> None:
    cert, key = files
    plain = serialization.load_pem_private_key(key.read_bytes(), None)
    locked = plain.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    key.write_bytes(locked)
    with pytest.raises(CertificateError, match="has a password"):
        Certificate(cert, key)


async def test_a_renewed_certificate_is_used(
    files: tuple[Path, Path], authority: trustme.CA, tmp_path: Path
) -> None:
    certificate = Certificate(*files)
    trusting = ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())

    async def end(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async def serial() -> object:
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting)
        shown = writer.get_extra_info("peercert")["serialNumber"]
        writer.close()
        return shown

    server = await asyncio.start_server(end, "127.0.0.1", 0, ssl=certificate.context)
    port = server.sockets[0].getsockname()[1]
    looking = asyncio.create_task(certificate.keep_fresh(0.01))
    try:
        first = await serial()
        files[0].write_text("half written", encoding="ascii")
        await asyncio.sleep(0.1)
        assert await serial() == first
        issue(authority, tmp_path)

        async def is_renewed() -> bool:
            return await serial() != first

        await until(is_renewed)
    finally:
        looking.cancel()
        server.close()
        await server.wait_closed()


def test_plain_http_off_loopback_must_be_asked_for(
    tmp_path: Path, files: tuple[Path, Path]
) -> None:
    everywhere = "0.0.0.0"  # noqa: S104 - the case in question
    for public_url in (None, "http://lab.example"):
        with pytest.raises(ArgumentValueError, match=r"--tls-cert.*--plain-http"):
            Settings(data_dir=tmp_path, host=everywhere, public_url=public_url)
    Settings(data_dir=tmp_path, host=everywhere, plain_http=True)
    Settings(data_dir=tmp_path, host=everywhere, public_url="https://lab.example")
    Settings(data_dir=tmp_path, host=everywhere, tls_cert=files[0], tls_key=files[1])
    with pytest.raises(ArgumentValueError, match="both --tls-cert and --tls-key"):
        Settings(data_dir=tmp_path, tls_cert=files[0])


async def test_nothing_waits_in_a_connection_that_is_over(
    files: tuple[Path, Path], authority: trustme.CA
) -> None:
    """Those who look after all connections look at such a one, too, before it is told its end."""
    waiting: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    class Connection(asyncio.Protocol):
        transport: asyncio.Transport

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = cast("asyncio.Transport", transport)

        def connection_lost(self, exc: Exception | None) -> None:
            del exc
            # Closed twice, it is like this in every version of Python. In 3.10 it is anyway.
            self.transport.close()
            self.transport.close()
            try:
                waiting.set_result(unread_bytes(cast("RequestHandler", self)))
            except Exception as error:  # noqa: BLE001 - else the event loop logs it
                waiting.set_exception(error)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    trusting = ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())
    loop = asyncio.get_running_loop()
    async with await loop.create_server(Connection, "127.0.0.1", 0, ssl=context) as server:
        address = server.sockets[0].getsockname()
        _, writer = await asyncio.open_connection(*address, ssl=trusting)
        writer.close()
        assert await asyncio.wait_for(waiting, 60) == 0
