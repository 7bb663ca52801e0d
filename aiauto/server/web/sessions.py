"""Who a browser is: signed session cookies, and signed keys in log-in links.

Both name a user and carry an HMAC of that name under the server's secret, so nothing has to be
stored, and both outlive a restart. A session names what began it, too, a token or whom the issuer
knows: it is good for no longer than that is, which whoever reads a cookie has to ask.
"""

from __future__ import annotations

import base64
import hmac
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SESSION_SECONDS = 30 * 24 * 3600
# The issuer is not asked again meanwhile whether it still knows somebody.
IDENTITY_SESSION_SECONDS = 12 * 3600


@dataclass(frozen=True)
class LoggedIn:
    """Whom a cookie stands for, by its signature alone.

    Attributes:
        user_id: The user.
        token_id: The token that they logged in with, and with which the session ends; None where
            they came otherwise.
        identity_id: As whom the issuer knows them who sent them; None where they came otherwise.
            Without either they came by a link with a key.
    """

    user_id: int
    token_id: int | None = None
    identity_id: int | None = None

    @property
    def session_seconds(self) -> int:
        """How long a session lasts that begins so."""
        return SESSION_SECONDS if self.identity_id is None else IDENTITY_SESSION_SECONDS


class Sessions:
    """Makes and checks session cookies and log-in keys.

    Attributes:
        cookie_name: Name of the cookie. Browsers share cookies among all ports of a host, so every
            server needs a name of its own.
    """

    def __init__(self, secret: bytes, *, clock: Callable[[], float] = time.time) -> None:
        """Make sessions for one server.

        Args:
            secret: At least 32 bytes that nobody else knows.
            clock: Seconds since the epoch.
        """
        self._secret = secret
        self._clock = clock
        self.cookie_name: str = f"aiauto_session_{self._sign('cookie name')[:8]}"

    def key(self, user_id: int) -> str:
        """The key that logs a user in. Always the same, so that links stay good."""
        return f"{user_id}-{self._sign(f'key {user_id}')}"

    def user_of_key(self, key: str) -> int | None:
        """The user whom a key logs in, or None where it is not one of ours."""
        user, _, signature = key.partition("-")
        return int(user) if self._is_signed(f"key {user}", signature) else None

    def cookie(self, who: LoggedIn) -> str:
        """A new cookie value that stands for somebody for as long as their session lasts."""
        token = "" if who.token_id is None else who.token_id
        identity = "" if who.identity_id is None else who.identity_id
        session = f"{who.user_id}.{token}.{identity}.{int(self._clock()) + who.session_seconds}"
        return f"{session}.{self._sign(f'session {session}')}"

    def of_cookie(self, value: str) -> LoggedIn | None:
        """For whom a cookie stands, or None where it is not ours or too old."""
        session, _, signature = value.rpartition(".")
        if not self._is_signed(f"session {session}", signature):
            return None
        parts = session.split(".")
        # Those of earlier versions have fewer.
        if len(parts) != 4 or self._clock() >= int(parts[3]):
            return None
        user, token, identity, _ = parts
        return LoggedIn(
            int(user), int(token) if token else None, int(identity) if identity else None
        )

    def _sign(self, text: str) -> str:
        digest = hmac.digest(self._secret, text.encode(errors="backslashreplace"), "sha256")
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    def _is_signed(self, text: str, signature: str) -> bool:
        # As bytes, since compare_digest refuses text that is not ASCII.
        given = signature.encode(errors="backslashreplace")
        return hmac.compare_digest(self._sign(text).encode(), given)
