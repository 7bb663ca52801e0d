"""Who a browser is: signed session cookies, and signed keys in log-in links.

Both name a user and carry an HMAC of that name under the server's secret, so nothing has to be
stored, and both outlive a restart.
"""

from __future__ import annotations

import base64
import hmac
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SESSION_SECONDS = 30 * 24 * 3600


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

    def cookie(self, user_id: int) -> str:
        """A new cookie value that stands for a user for 30 days."""
        session = f"{user_id}.{int(self._clock()) + SESSION_SECONDS}"
        return f"{session}.{self._sign(f'session {session}')}"

    def user_of_cookie(self, value: str) -> int | None:
        """The user for whom a cookie stands, or None where it is not ours or too old."""
        session, _, signature = value.rpartition(".")
        if not self._is_signed(f"session {session}", signature):
            return None
        user, _, end = session.partition(".")
        return int(user) if self._clock() < int(end) else None

    def _sign(self, text: str) -> str:
        digest = hmac.digest(self._secret, text.encode(errors="backslashreplace"), "sha256")
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    def _is_signed(self, text: str, signature: str) -> bool:
        # As bytes, since compare_digest refuses text that is not ASCII.
        given = signature.encode(errors="backslashreplace")
        return hmac.compare_digest(self._sign(text).encode(), given)
