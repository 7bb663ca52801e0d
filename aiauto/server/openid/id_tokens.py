"""ID tokens: signed by the issuer, for this server, about this very log-in, and fresh."""

from __future__ import annotations

import contextlib
import math
import time
from typing import TYPE_CHECKING, Any, Final, cast

from joserfc import jwk, jws, jwt
from joserfc.errors import JoseError

from aiauto.server.openid.refusals import Reason, RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Signatures that nobody can make who can only check them: no HMAC, whose key would be the issuer's
# public one, and not none at all.
KEY_TYPES: Final[Mapping[str, str]] = {
    **{f"{kind}{bits}": "RSA" for kind in ("RS", "PS") for bits in (256, 384, 512)},
    **{f"ES{bits}": "EC" for bits in (256, 384, 512)},
    **dict.fromkeys(("EdDSA", "Ed25519"), "OKP"),
}
LEEWAY_SECONDS: Final = 60
MAX_SUBJECT_CHARACTERS: Final = 255


class _Registry(jws.JWSRegistry):
    # Some put their certificates into the header, and all groups of a person into the payload.
    max_header_length: int = 16 * 1024
    max_payload_length: int = 128 * 1024


_REGISTRY: Final = _Registry(algorithms=list(KEY_TYPES), strict_check_header=False)


class UnknownKeyError(Exception):
    """A token is signed with a key that is not among those that are known."""


def keys_in(document: Mapping[str, Any]) -> list[jwk.Key]:
    """The keys of an issuer that may sign.

    Args:
        document: What it publishes.
    """
    found: list[jwk.Key] = []
    listed: object = document.get("keys")
    for one in cast("Sequence[Any]", listed) if isinstance(listed, list) else ():
        # What can't be read is no key of ours: there are always newer kinds than those known here.
        with contextlib.suppress(JoseError, ValueError, TypeError, KeyError, AttributeError):
            key = jwk.import_key(one)
            if key.key_type in KEY_TYPES.values():
                found.append(key)
    return found


def verified(
    text: str, keys: Sequence[jwk.Key], *, issuer: str, client_id: str, nonce: str
) -> dict[str, Any]:
    """What an ID token says.

    Args:
        text: It.
        keys: Those of the issuer.
        issuer: Who must have signed it.
        client_id: For whom it must be.
        nonce: What it must hold, so that it is about this log-in and no other.

    Raises:
        UnknownKeyError: It is signed with none of these keys.
        RefusedError: It can't be trusted.
    """
    checks = jwt.JWTClaimsRegistry(
        now=int(time.time()),
        leeway=LEEWAY_SECONDS,
        iss={"essential": True, "value": issuer},
        aud={"essential": True, "value": client_id},
        nonce={"essential": True, "value": nonce},
        sub={"essential": True},
        exp={"essential": True},
        iat={"essential": True},
    )
    try:
        header = jws.extract_compact(text.encode(), registry=_REGISTRY).headers()
        key = _key_for(header, keys)
        claims = jwt.decode(text, key, registry=_REGISTRY).claims
        checks.validate(claims)
    except (JoseError, ValueError, TypeError, KeyError, RecursionError) as error:
        # As a representation: what others have written may hold line breaks.
        raise _refused(f"{type(error).__name__}: {str(error)[:200]!r}") from error
    times = (claims.get(name) for name in ("exp", "iat", "nbf"))
    # Python reads `NaN` and `Infinity`, which are no JSON, and what compares them finds no end.
    if any(isinstance(one, float) and not math.isfinite(one) for one in times):
        raise _refused("one of its times is no number")
    _check_party(claims, client_id)
    if not isinstance(claims.get("nonce"), str):
        raise _refused("its nonce is no text")
    subject: str = claims["sub"]
    if not (len(subject) <= MAX_SUBJECT_CHARACTERS and subject.isascii() and subject.isprintable()):
        raise _refused("its subject is no printable text")
    return claims


def _key_for(header: Mapping[str, Any], keys: Sequence[jwk.Key]) -> jwk.Key:
    algorithm, name = str(header.get("alg")), header.get("kid")
    if algorithm not in KEY_TYPES:
        raise _refused(f"it is signed by {algorithm[:20]!r}")
    fitting = [
        key
        for key in keys
        if key.key_type == KEY_TYPES[algorithm]
        and key.get("use") in {None, "sig"}
        and key.get("alg") in {None, algorithm}
        and (name is None or key.get("kid") == name)
    ]
    if not fitting:
        raise UnknownKeyError
    if len(fitting) > 1:
        raise _refused("it does not say which of several keys it is signed with")
    return fitting[0]


def _check_party(claims: Mapping[str, Any], client_id: str) -> None:
    """Refuse what was made for somebody else, though this server may hear of it, too."""
    audience, party = claims["aud"], claims.get("azp")
    several = isinstance(audience, list) and len(cast("list[object]", audience)) > 1
    if party is None and several:
        raise _refused("it is for several, and does not say which of them asked for it")
    if party is not None and party != client_id:
        raise _refused("another than this server asked for it")


def _refused(why: str) -> RefusedError:
    return RefusedError(f"the ID token can't be trusted: {why}", Reason.NOT_TRUSTED)
