"""An issuer that is away, slow or not what it should be: a page says so, tokens still log in."""

from __future__ import annotations

import asyncio
import gzip
import ssl
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from aiohttp import web

from aiauto.server.openid import documents
from aiauto.server.openid.admission import Admission
from tests.issuer import AUTHORIZE, DISCOVERY, KEYS, TOKEN, USER_INFO, issuing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.issuer import LocalIssuer
    from tests.server.conftest import Lab

pytestmark = pytest.mark.usefixtures("unhurried")


def answering(body: bytes, status: int = 200) -> Any:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=body, status=status, content_type="application/json")

    return answer


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" " * 65_536)


async def silent(_request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(600)
    raise AssertionError


UNREACHABLE = 503, "Lab can't be reached at the moment"
NOT_TRUSTED = 502, "can't trust"
ANSWERS: dict[str, tuple[Any, tuple[int, str]]] = {
    "huge": (answering(b'{"a": "' + b"x" * 1_000_000 + b'"}'), NOT_TRUSTED),
    "endless": (endless, NOT_TRUSTED),
    "no JSON": (answering(b"<html>"), NOT_TRUSTED),
    "no object": (answering(b"[1]"), NOT_TRUSTED),
    "deep": (answering(b"[" * 200_000), NOT_TRUSTED),
    "a failure": (answering(b"{}", 500), UNREACHABLE),
    "a page of its proxy": (answering(b"<html>Bad gateway", 502), UNREACHABLE),
    "slow": (silent, UNREACHABLE),
}


@pytest.mark.parametrize("path", [DISCOVERY, KEYS, TOKEN, USER_INFO])
@pytest.mark.parametrize("what", ANSWERS)
async def test_an_issuer_that_answers_otherwise(
    lab: Lab,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    what: str,
) -> None:
    monkeypatch.setattr(documents, "ANSWER_SECONDS", 0.5)
    lab.issuer.only_in_user_info = frozenset({"email"})
    lab.issuer.instead[path], (status, told) = ANSWERS[what]
    visitor = lab.visitor()
    if path == DISCOVERY:
        answer = await visitor.get("/login/openid?next=/token")
    else:
        answer = await visitor.log_in()
    await visitor.stays_out(answer, status, told)
    assert "log-in by Lab refused" in caplog.text
    # Once it is itself again, so is all else.
    del lab.issuer.instead[path]
    assert (await lab.visitor().log_in()).status == 303


@pytest.mark.parametrize(("path", "status"), [(DISCOVERY, 503), (KEYS, 503), (TOKEN, 502)])
async def test_an_issuer_that_leads_elsewhere_is_not_followed(
    lab: Lab, path: str, status: int
) -> None:
    async def elsewhere(_request: web.Request) -> web.Response:
        raise web.HTTPTemporaryRedirect("/elsewhere")

    lab.issuer.instead |= {path: elsewhere, "/elsewhere": lab.issuer.handlers[path]}
    visitor = lab.visitor()
    begun = await visitor.get("/login/openid")
    answer = begun if path == DISCOVERY else await visitor.log_in()
    await visitor.stays_out(answer, status, "Lab")
    assert (lab.issuer.asked(path), lab.issuer.asked("/elsewhere")) == (1, 0)
    # There it would have found all that it needs.
    lab.issuer.instead[path] = lab.issuer.instead["/elsewhere"]
    assert (await lab.visitor().log_in()).status == 303


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
async def test_what_is_compressed_is_not_unpacked(lab: Lab, encoding: str) -> None:
    async def document(request: web.Request) -> web.Response:
        assert request.headers["Accept-Encoding"] == "identity"
        answer = await lab.issuer.handlers[DISCOVERY](request)
        assert isinstance(answer, web.Response)
        body = answer.body
        assert isinstance(body, bytes)
        sent = gzip.compress(body) if encoding == "gzip" else body
        return web.Response(body=sent, headers={"Content-Encoding": encoding})

    lab.issuer.instead[DISCOVERY] = document
    visitor = lab.visitor()
    answer = await visitor.get("/login/openid")
    if encoding == "gzip":
        await visitor.stays_out(answer, 502, "can't trust")
    else:
        assert answer.status == 303


async def test_an_issuer_that_is_not_there(
    open_lab: Callable[..., Awaitable[Lab]], issuer: LocalIssuer
) -> None:
    lab = await open_lab(openid=issuer.settings(issuer="http://127.0.0.1:1/realms/lab"))
    visitor = lab.visitor(Origin=lab.app.url)
    await visitor.stays_out(await visitor.get("/login/openid"), *UNREACHABLE)
    form = {"token": await lab.app.token_of("grace"), "next": "/token"}
    async with visitor.http.post("/login", data=form) as answer:
        assert answer.status == 200
    assert await visitor.is_in()


# What Python 3.10 leaves of a connection whose certificate it does not trust.
@pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <function _SSLProtocolTransport:"
    "pytest.PytestUnraisableExceptionWarning"
)
async def test_certificates_are_checked_whatever_the_environment_says(
    open_lab: Callable[..., Awaitable[Lab]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, context = trustme.CA(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate = authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem
    certificate.write_to_path(str(tmp_path / "server.pem"))
    context.load_cert_chain(tmp_path / "server.pem")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with issuing(context) as issuer:
        openid = issuer.settings(admission=Admission(everybody=True))
        monkeypatch.setenv("AIAUTO_INSECURE", "true")
        visitor = (await open_lab(openid=openid)).visitor()
        await visitor.stays_out(await visitor.get("/login/openid"), *UNREACHABLE)
        monkeypatch.setenv("AIAUTO_CA_BUNDLE", str(tmp_path / "ca.pem"))
        visitor = (await open_lab(openid=openid)).visitor()
        answer = await visitor.get("/login/openid")
        assert answer.location.startswith(f"{issuer.url}/authorize")


@pytest.mark.parametrize(
    "document",
    [
        {"issuer": "https://evil.example"},
        {"issuer": None},
        {"authorization_endpoint": None},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"authorization_endpoint": "http://evil.example/authorize"},
        {"token_endpoint": "http://10.0.0.1/token"},
        {"token_endpoint": "https://user@evil.example/token"},
        {"token_endpoint": "file:///etc/passwd"},
        {"token_endpoint": 7},
        {"jwks_uri": "http://127.0.0.1.evil.example/keys"},
        {"jwks_uri": "https://[/"},
        {"userinfo_endpoint": "http://evil.example/"},
    ],
)
async def test_discovery_that_leads_astray(lab: Lab, document: dict[str, Any]) -> None:
    lab.issuer.document = document
    visitor = lab.visitor()
    await visitor.stays_out(await visitor.get("/login/openid"), 502, "can't trust")
    assert lab.issuer.asked(AUTHORIZE) == 0
