"""By which issuer people log in: what the environment says of it."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from aiauto.config import is_loopback
from aiauto.errors import ArgumentValueError
from aiauto.server.openid.admission import ALLOWED_VARIABLE, Admission

ISSUER_VARIABLE = "AIAUTO_OIDC_ISSUER"
CLIENT_ID_VARIABLE = "AIAUTO_OIDC_CLIENT_ID"
CLIENT_SECRET_VARIABLE = "AIAUTO_OIDC_CLIENT_SECRET"  # noqa: S105 - the name of a variable
SCOPES_VARIABLE = "AIAUTO_OIDC_SCOPES"
NAME_VARIABLE = "AIAUTO_OIDC_NAME"
VARIABLES: Final = (
    ISSUER_VARIABLE,
    CLIENT_ID_VARIABLE,
    CLIENT_SECRET_VARIABLE,
    SCOPES_VARIABLE,
    ALLOWED_VARIABLE,
    NAME_VARIABLE,
)
# Without it an issuer does not say who somebody is.
OPENID: Final = "openid"
LIBRARY: Final = "joserfc"
MAX_ISSUER_CHARACTERS = 255
MAX_NAME_CHARACTERS = 60


@dataclass(frozen=True, kw_only=True)
class OpenIdSettings:
    """By which issuer people log in.

    Attributes:
        issuer: Its address, as it calls itself.
        client_id: As whom it knows this server.
        client_secret: What this server shows it. Never shown to anybody else.
        scopes: What is asked for about people.
        admission: Who may come in.
        name: What people call it. Default: its host.
    """

    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    scopes: tuple[str, ...] = (OPENID, "profile", "email")
    admission: Admission = field(default_factory=Admission)
    name: str = ""

    def __post_init__(self) -> None:
        """Refuse what can't work, before anything starts.

        Raises:
            ArgumentValueError: A value can't be right, or the extra is not installed.
        """
        if not _is_sound(self.issuer):
            message = (
                f"{ISSUER_VARIABLE} is {self.issuer[:100]!r}: write the issuer's address as its "
                "own documents have it, such as https://login.example.org/realms/lab. It must be "
                "https, but for one on this machine."
            )
            raise ArgumentValueError(message, argument=ISSUER_VARIABLE)
        for variable, value in (
            (CLIENT_ID_VARIABLE, self.client_id),
            (CLIENT_SECRET_VARIABLE, self.client_secret),
        ):
            # The value stays untold: it may be the secret.
            if not value or not value.isprintable() or value != value.strip():
                message = (
                    f"{ISSUER_VARIABLE} is set, and {variable} is missing or is no printable text: "
                    "the issuer gives it out for a confidential client."
                )
                raise ArgumentValueError(message, argument=variable)
        if OPENID not in self.scopes:
            message = f"{SCOPES_VARIABLE} must have {OPENID!r} among its scopes."
            raise ArgumentValueError(message, argument=SCOPES_VARIABLE)
        if len(self.name) > MAX_NAME_CHARACTERS or not self.name.isprintable():
            message = (
                f"{NAME_VARIABLE} is {self.name[:20]!r}...: use at most {MAX_NAME_CHARACTERS} "
                "printable characters."
            )
            raise ArgumentValueError(message, argument=NAME_VARIABLE)
        if importlib.util.find_spec(LIBRARY) is None:
            message = (
                f"{ISSUER_VARIABLE} is set, and log-in by OpenID Connect needs an extra that is "
                'not installed: pip install "aiauto-client[oidc]".'
            )
            raise ArgumentValueError(message, argument=ISSUER_VARIABLE)

    @classmethod
    def from_environment(cls) -> OpenIdSettings | None:
        """Settings as the environment has them; None where it names no issuer.

        Raises:
            ArgumentValueError: A value can't be right, or the issuer alone is missing.
        """
        given = {name: text for name in VARIABLES if (text := os.environ.get(name, "").strip())}
        issuer = given.get(ISSUER_VARIABLE)
        if issuer is None:
            if given:
                message = f"{min(given)} is set, and {ISSUER_VARIABLE} is not: name the issuer."
                raise ArgumentValueError(message, argument=ISSUER_VARIABLE)
            return None
        scopes = given.get(SCOPES_VARIABLE)
        return cls(
            issuer=issuer,
            client_id=given.get(CLIENT_ID_VARIABLE, ""),
            client_secret=given.get(CLIENT_SECRET_VARIABLE, ""),
            scopes=cls.scopes if scopes is None else tuple(scopes.replace(",", " ").split()),
            admission=Admission.parse(given.get(ALLOWED_VARIABLE, "")),
            name=given.get(NAME_VARIABLE, ""),
        )

    @property
    def shown_name(self) -> str:
        """What people read on the button."""
        return self.name or urlsplit(self.issuer).hostname or self.issuer


def is_trustworthy(url: str) -> bool:
    """Whether what goes to an address, and comes from there, can't be read or changed on the way.

    Args:
        url: An address; anything else is not.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        # Read here, since a port that is none raises.
        sound = bool(host) and parts.port != 0 and "@" not in parts.netloc and url.isprintable()
    except ValueError:
        return False
    return sound and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host)))


def _is_sound(issuer: str) -> bool:
    return (
        len(issuer) <= MAX_ISSUER_CHARACTERS
        and is_trustworthy(issuer)
        and not set(issuer) & set("?# ")
    )
