"""The issuer: where it sends people, and who it says that they are."""

from __future__ import annotations

import base64
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote_plus

from yarl import URL

from aiauto.server.openid import id_tokens
from aiauto.server.openid.documents import Documents, Kept
from aiauto.server.openid.refusals import Reason, RefusedError
from aiauto.server.openid.settings import is_trustworthy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from joserfc.jwk import Key

    from aiauto.server.openid.flows import Flow
    from aiauto.server.openid.settings import OpenIdSettings

KEPT_SECONDS: Final = 3600.0
MAX_CODE_CHARACTERS: Final = 4096
# Error codes of the protocol; whatever else an issuer says stays out of the log.
_CODE: Final = re.compile(r"[a-z_]{1,60}")


@dataclass(frozen=True)
class _Endpoints:
    authorization: str
    token: str
    keys: str
    user_info: str | None
    # Whether the client's secret travels in the form: not every issuer takes it in a header.
    secret_in_form: bool


class Issuer:
    """Who knows the people that come."""

    def __init__(
        self,
        settings: OpenIdSettings,
        documents: Documents,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make it. Nothing is asked yet.

        Args:
            settings: By which issuer people log in.
            documents: Asks it.
            clock: Tells the time in seconds, and never jumps.
        """
        self._settings = settings
        self._documents = documents
        self._endpoints: Kept[_Endpoints] = Kept(self._find_endpoints, KEPT_SECONDS, clock)
        self._keys: Kept[list[Key]] = Kept(self._find_keys, KEPT_SECONDS, clock)

    async def close(self) -> None:
        """Close the connections."""
        await self._documents.close()

    async def address_for(self, flow: Flow, redirect_uri: str) -> str:
        """Where a browser goes to log in.

        Args:
            flow: The log-in.
            redirect_uri: Where the issuer sends the browser afterwards.

        Raises:
            RefusedError: The issuer can't be reached, or answers what it should not.
        """
        endpoints = await self._endpoints.get()
        query = {
            "response_type": "code",
            "client_id": self._settings.client_id,
            "redirect_uri": redirect_uri,
            "scope": " ".join(self._settings.scopes),
            "state": flow.state,
            "nonce": flow.nonce,
            "code_challenge": flow.challenge,
            "code_challenge_method": "S256",
        }
        return str(URL(endpoints.authorization).update_query(query))

    async def claims_of(
        self, answer: Mapping[str, str], flow: Flow, redirect_uri: str
    ) -> dict[str, Any]:
        """What the issuer says of somebody who has come back from it.

        Args:
            answer: What it had their browser say.
            flow: The log-in.
            redirect_uri: Where it was told to send the browser.

        Returns:
            Claims, of which ``sub`` names them.

        Raises:
            RefusedError: It did not let them in, can't be reached, or can't be trusted.
        """
        if "error" in answer:
            raise RefusedError(f"the issuer answered {_code(answer['error'])}", Reason.DENIED)
        if answer.get("iss", self._settings.issuer) != self._settings.issuer:
            raise RefusedError("another issuer has answered", Reason.NOT_TRUSTED)
        code = answer.get("code", "")
        if not 0 < len(code) <= MAX_CODE_CHARACTERS:
            raise RefusedError("the issuer's answer has no code", Reason.NOT_TRUSTED)
        tokens = await self._redeem(code, flow, redirect_uri)
        text = tokens.get("id_token")
        if not isinstance(text, str):
            raise RefusedError("the issuer sent no ID token", Reason.NOT_TRUSTED)
        try:
            claims = self._verified(text, await self._keys.get(), flow)
        except id_tokens.UnknownKeyError:
            # It may have new ones since.
            try:
                claims = self._verified(text, await self._keys.anew(), flow)
            except id_tokens.UnknownKeyError as error:
                message = "the ID token is signed with a key that the issuer does not publish"
                raise RefusedError(message, Reason.NOT_TRUSTED) from error
        if "email" in claims and self._settings.admission.is_answered_by(claims):
            return claims
        return {**await self._user_info(tokens, claims["sub"]), **claims}

    def _verified(self, text: str, keys: list[Key], flow: Flow) -> dict[str, Any]:
        return id_tokens.verified(
            text,
            keys,
            issuer=self._settings.issuer,
            client_id=self._settings.client_id,
            nonce=flow.nonce,
        )

    async def _redeem(self, code: str, flow: Flow, redirect_uri: str) -> dict[str, Any]:
        endpoints = await self._endpoints.get()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": flow.verifier,
        }
        headers: dict[str, str] = {}
        name, secret = self._settings.client_id, self._settings.client_secret
        if endpoints.secret_in_form:
            form |= {"client_id": name, "client_secret": secret}
        else:
            # Each by itself as in a form, and then both as Basic has it.
            pair = f"{quote_plus(name)}:{quote_plus(secret)}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        status, answer = await self._documents.post(endpoints.token, headers, form)
        if status >= 500:
            raise RefusedError(f"the issuer's token endpoint answered {status}", Reason.UNREACHABLE)
        if status != 200:
            message = f"the issuer did not take the code: {status} {_code(answer.get('error'))}"
            raise RefusedError(message, Reason.NOT_TRUSTED)
        return answer

    async def _user_info(self, tokens: Mapping[str, Any], subject: str) -> dict[str, Any]:
        """What else it says: not all put everything into the ID token."""
        endpoints, token = await self._endpoints.get(), tokens.get("access_token")
        if endpoints.user_info is None or not (isinstance(token, str) and _is_header(token)):
            return {}
        headers = {"Authorization": f"Bearer {token}"}
        found = await self._documents.get(endpoints.user_info, headers)
        if found.get("sub") != subject:
            raise RefusedError("the issuer told of another person", Reason.NOT_TRUSTED)
        return found

    async def _find_endpoints(self) -> _Endpoints:
        own = self._settings.issuer
        found = await self._documents.get(f"{own.rstrip('/')}/.well-known/openid-configuration")
        if found.get("issuer") != own:
            message = (
                f"the issuer calls itself {str(found.get('issuer'))[:255]!r}, and not {own!r}: "
                "AIAUTO_OIDC_ISSUER must be the same to the letter"
            )
            raise RefusedError(message, Reason.NOT_TRUSTED)
        methods = found.get("token_endpoint_auth_methods_supported")
        return _Endpoints(
            authorization=_endpoint(found, "authorization_endpoint"),
            token=_endpoint(found, "token_endpoint"),
            keys=_endpoint(found, "jwks_uri"),
            user_info=_endpoint(found, "userinfo_endpoint")
            if found.get("userinfo_endpoint") is not None
            else None,
            secret_in_form=isinstance(methods, list)
            and "client_secret_basic" not in methods
            and "client_secret_post" in methods,
        )

    async def _find_keys(self) -> list[Key]:
        endpoints = await self._endpoints.get()
        return id_tokens.keys_in(await self._documents.get(endpoints.keys))


def _endpoint(document: Mapping[str, Any], name: str) -> str:
    url = document.get(name)
    if not isinstance(url, str) or not is_trustworthy(url):
        raise RefusedError(f"the issuer's {name} is no https address", Reason.NOT_TRUSTED)
    return url


def _code(error: object) -> str:
    return error if isinstance(error, str) and _CODE.fullmatch(error) else "an error"


def _is_header(token: str) -> bool:
    return token.isascii() and token.isprintable()
