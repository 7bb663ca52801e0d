"""Why somebody does not come in."""

from __future__ import annotations

from enum import Enum

from aiauto.errors import AIAutoError


class Reason(Enum):
    """Why, as a page tells it. The value is the HTTP status that goes with it."""

    UNREACHABLE = ("unreachable", 503)
    NOT_TRUSTED = ("not_trusted", 502)
    STALE = ("stale", 400)
    DENIED = ("denied", 403)
    NOT_ALLOWED = ("not_allowed", 403)
    NOT_VERIFIED = ("not_verified", 403)
    DISABLED = ("disabled", 403)
    REMOVED = ("removed", 403)
    ONE_USER = ("one_user", 403)
    FULL = ("full", 503)

    @property
    def status(self) -> int:
        """The HTTP status that goes with it."""
        return self.value[1]


class RefusedError(AIAutoError):
    """Somebody does not come in. The text is for the server's log, and tells no secret.

    Attributes:
        reason: Why. By default, that what came can't be trusted.
        subject: As whom the issuer knows them; empty where it has not said.
    """

    def __init__(
        self, message: str, reason: Reason = Reason.NOT_TRUSTED, *, subject: str = ""
    ) -> None:
        super().__init__(message)
        self.reason: Reason = reason
        self.subject: str = subject
