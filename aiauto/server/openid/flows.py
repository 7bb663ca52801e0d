"""Log-ins that have begun at the issuer, each bound to the browser that began it.

The server keeps nothing of them until they come back: what it needs is in the browser's cookie and
in the state that the issuer hands back, and the rest is an HMAC of both under the server's secret.
So nobody fills its memory by beginning log-ins, and one that has begun outlives a restart.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# People may have to look for their password, and for their telephone.
FLOW_SECONDS = 600
# States that have come back are known for as long as they would be good, but for the oldest of
# more.
REMEMBERED_STATES = 10_000
# A cookie has room for 4 KiB.
MAX_TARGET_BYTES = 1024
_RANDOM_BYTES = 32


@dataclass(frozen=True, repr=False)
class Flow:
    """A log-in on its way.

    Attributes:
        state: What the issuer hands back.
        nonce: What the ID token must hold.
        verifier: What proves that whoever brings the code is who asked for it (PKCE).
        target: The path where its person wants to go.
    """

    state: str
    nonce: str
    verifier: str
    target: str

    @property
    def challenge(self) -> str:
        """What the issuer is told of the verifier."""
        return _encoded(hashlib.sha256(self.verifier.encode()).digest())


class Flows:
    """Begins log-ins, and knows them again when they come back.

    Attributes:
        cookie_name: Name of the cookie that binds a log-in to its browser.
    """

    def __init__(self, secret: bytes, *, clock: Callable[[], float] = time.time) -> None:
        """Make it.

        Args:
            secret: At least 32 bytes that nobody else knows.
            clock: Seconds since the epoch.
        """
        self._key = hmac.digest(secret, b"log-in by an issuer", "sha256")
        self._clock = clock
        self._used: OrderedDict[str, int] = OrderedDict()
        self.cookie_name: str = f"aiauto_openid_{self._sign('cookie name')[:8]}"

    def begin(self, target: str) -> tuple[Flow, str]:
        """Begin a log-in.

        Args:
            target: The path where its person wants to go. One that is too long leads to ``/``.

        Returns:
            The log-in, and the cookie that its browser must bring back.
        """
        to = target.encode(errors="replace")
        to = to if len(to) <= MAX_TARGET_BYTES else b"/"
        cookie = f"{secrets.token_urlsafe(_RANDOM_BYTES)}.{_encoded(to)}"
        end = int(self._clock()) + FLOW_SECONDS
        opening = f"{end}.{secrets.token_urlsafe(_RANDOM_BYTES)}"
        return self._flow(f"{opening}.{self._sign('state', opening, cookie)}", cookie), cookie

    def resume(self, state: str, cookie: str) -> Flow | None:
        """Go on with a log-in that has come back. That can be done once.

        Args:
            state: What the issuer has handed back.
            cookie: What the browser has brought.

        Returns:
            The log-in; None where this browser has not begun it, it was begun too long ago, or it
            has come back before.
        """
        opening, _, signature = state.rpartition(".")
        # As bytes, since compare_digest refuses text that is not ASCII.
        given = signature.encode(errors="backslashreplace")
        if not hmac.compare_digest(self._sign("state", opening, cookie).encode(), given):
            return None
        moment, end = self._clock(), int(opening.partition(".")[0])
        if moment >= end or state in self._used:
            return None
        while self._used and (
            len(self._used) >= REMEMBERED_STATES or next(iter(self._used.values())) <= moment
        ):
            self._used.popitem(last=False)
        self._used[state] = end
        return self._flow(state, cookie)

    def _flow(self, state: str, cookie: str) -> Flow:
        target = base64.urlsafe_b64decode(cookie.rpartition(".")[2] + "==")
        return Flow(
            state=state,
            nonce=self._sign("nonce", state, cookie),
            verifier=self._sign("verifier", state, cookie),
            target=target.decode(errors="replace"),
        )

    def _sign(self, *parts: str) -> str:
        text = "\0".join(parts).encode(errors="backslashreplace")
        return _encoded(hmac.digest(self._key, text, "sha256"))


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
