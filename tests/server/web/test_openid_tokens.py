"""ID tokens that are forged, borrowed, out of date or about nobody: none lets anybody in."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from joserfc import jwk, jwt

from tests.issuer import CLIENT_ID, KEYS, USER_INFO, key

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.issuer import LocalIssuer
    from tests.server.conftest import Lab
    from tests.server.visitors import Visitor

pytestmark = pytest.mark.usefixtures("unhurried")


def base64url(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def encoded(part: object) -> str:
    return base64url(json.dumps(part))


def unsigned(claims: dict[str, Any]) -> str:
    return f"{encoded({'alg': 'none'})}.{encoded(claims)}."


def without_signature(claims: dict[str, Any]) -> str:
    return f"{encoded({'alg': 'RS256', 'kid': 'first'})}.{encoded(claims)}."


def by_public_key(claims: dict[str, Any]) -> str:
    """Signed with what everybody can know, as if it were a secret."""
    text = f"{encoded({'alg': 'HS256', 'kid': 'first'})}.{encoded(claims)}"
    public = key("first")
    assert isinstance(public, jwk.RSAKey)
    digest = hmac.digest(public.as_pem(private=False), text.encode(), hashlib.sha256)
    return f"{text}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def by_another_key(claims: dict[str, Any]) -> str:
    """Signed with a key that only calls itself the issuer's."""
    return jwt.encode({"alg": "RS256", "kid": "first"}, claims, key("theirs"))


def with_its_own_key(claims: dict[str, Any]) -> str:
    header = {"alg": "RS256", "jwk": key("theirs").as_dict(private=False)}
    return jwt.encode(header, claims, key("theirs"))


def changed(claims: dict[str, Any]) -> str:
    """Signed as it should be, and then about somebody else."""
    head, _, rest = jwt.encode({"alg": "RS256", "kid": "first"}, claims, key("first")).partition(
        "."
    )
    return f"{head}.{encoded({**claims, 'sub': 'admin'})}.{rest.partition('.')[2]}"


def swap(maker: Callable[[dict[str, Any]], object]) -> Callable[[LocalIssuer], None]:
    return lambda issuer: setattr(issuer, "make_token", maker)


def list_its_nonce(issuer: LocalIssuer) -> None:
    issuer.make_token = lambda claims: issuer.signed({**claims, "nonce": [claims["nonce"]]})


def claim(**claims: Any) -> Callable[[LocalIssuer], None]:
    return lambda issuer: issuer.claims.update(claims)


NOW = int(time.time())
FORGED: dict[str, Callable[[LocalIssuer], None]] = {
    "no algorithm": swap(unsigned),
    "no signature": swap(without_signature),
    "an HMAC by the public key": swap(by_public_key),
    "another key": swap(by_another_key),
    "a key that it brings": swap(with_its_own_key),
    "changed": swap(changed),
    "no token": swap(lambda _: ""),
    "none at all": swap(lambda _: None),
    "a list": swap(lambda _: ["x"]),
    "garbage": swap(lambda _: "a.b.c"),
    "encrypted": swap(lambda _: "a.b.c.d.e"),
    "no text": swap(lambda _: "\N{SNOWMAN}.\N{SNOWMAN}.\N{SNOWMAN}"),
    "a header that is too deep": swap(lambda _: f"{base64url('[' * 10_000)}.e30.x"),
    "huge": swap(lambda _: "x" * 200_000),
    "another nonce": claim(nonce="another"),
    "no nonce": claim(nonce=None),
    "a list of nonces": list_its_nonce,
    "another audience": claim(aud="another"),
    "no audience": claim(aud=None),
    "an empty audience": claim(aud=[]),
    "an audience of numbers": claim(aud=[1, CLIENT_ID]),
    "several, and nobody asked": claim(aud=[CLIENT_ID, "another"]),
    "several, and another asked": claim(aud=[CLIENT_ID, "another"], azp="another"),
    "another asked": claim(azp="another"),
    "another issuer": claim(iss="https://evil.example"),
    "no issuer": claim(iss=None),
    "nearly the issuer": lambda issuer: issuer.claims.update(iss=f"{issuer.url}/"),
    "expired": claim(exp=NOW - 3600),
    "no end": claim(exp=None),
    "an end in words": claim(exp="2099"),
    "an end that is no number": claim(exp=float("nan")),
    "no end in sight": claim(exp=float("inf")),
    "from tomorrow": claim(iat=NOW + 86_400),
    "from no time": claim(iat=None),
    "not yet": claim(nbf=NOW + 86_400),
    "nobody": claim(sub=None),
    "an empty name": claim(sub=""),
    "a name in numbers": claim(sub=7),
    "a name that is too long": claim(sub="x" * 256),
    "a name of several lines": claim(sub="a\nb"),
}


@pytest.mark.parametrize("what", FORGED)
async def test_id_tokens_that_are_not_good(
    lab: Lab, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    FORGED[what](lab.issuer)
    visitor = lab.visitor()
    await visitor.stays_out(await visitor.log_in(), 502, "Lab has answered what this server can't")
    (line,) = [one for one in caplog.messages if "log-in by Lab refused" in one]
    assert "\n" not in line


async def test_a_token_for_several_that_this_server_asked_for(lab: Lab) -> None:
    lab.issuer.claims = {"aud": [CLIENT_ID, "another"], "azp": CLIENT_ID}
    assert (await lab.visitor().log_in()).status == 303


async def test_a_key_that_is_not_published(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    await lab.visitor().log_in()
    lab.issuer.key = key("second")
    for number in (2, 3):
        visitor = lab.visitor()
        await visitor.stays_out(await visitor.log_in(), 502, "can't trust")
        # The issuer was asked for its keys once more, and not again and again.
        assert lab.issuer.asked(KEYS) == number
    assert "signed with a key that the issuer does not publish" in caplog.text


async def test_keys_that_are_for_something_else(lab: Lab) -> None:
    public = key("first").as_dict(private=False)
    for other in ({"use": "enc"}, {"alg": "RS512"}, {"kid": "other"}):
        lab.issuer.published = [{**public, **other}]
        visitor = lab.visitor()
        await visitor.stays_out(await visitor.log_in(), 502, "can't trust")


async def test_a_secret_among_the_keys_is_none(lab: Lab) -> None:
    shared = jwk.JWKRegistry.generate_key("oct", 256, {"kid": "shared"})
    lab.issuer.published = [shared.as_dict(private=True)]
    lab.issuer.make_token = lambda claims: jwt.encode(
        {"alg": "HS256", "kid": "shared"}, claims, shared, algorithms=["HS256"]
    )
    visitor = lab.visitor()
    await visitor.stays_out(await visitor.log_in(), 502, "can't trust")


async def test_a_token_that_does_not_say_by_which_key(lab: Lab) -> None:
    lab.issuer.make_token = lambda claims: jwt.encode({"alg": "RS256"}, claims, key("first"))
    assert (await lab.visitor().log_in()).status == 303
    lab.issuer.published = [key("first"), key("second")]
    lab.issuer.key = key("second")
    other = await open_anew(lab)
    await other.stays_out(await other.log_in(), 502, "can't trust")


async def open_anew(lab: Lab) -> Visitor:
    """A visitor after the server has read the issuer's keys again."""
    lab.issuer.make_token, before = lab.issuer.signed, lab.issuer.make_token
    lab.issuer.key = key("second")
    assert (await lab.visitor().log_in()).status == 303
    lab.issuer.make_token = before
    return lab.visitor()


async def test_user_info_of_another_person(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    lab.issuer.only_in_user_info = frozenset({"email"})

    async def another(_request: web.Request) -> web.Response:
        return web.json_response({**lab.issuer.person, "sub": "admin"})

    lab.issuer.instead[USER_INFO] = another
    visitor = lab.visitor()
    await visitor.stays_out(await visitor.log_in(), 502, "can't trust")
    assert "told of another person" in caplog.text
