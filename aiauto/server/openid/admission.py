"""Who may come in of those whom the issuer knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from aiauto.errors import ArgumentValueError

if TYPE_CHECKING:
    from collections.abc import Mapping

ALLOWED_VARIABLE = "AIAUTO_OIDC_ALLOWED"
EVERYBODY: Final = "*"
# What an address says is believed only where the issuer has verified it; these would go round that.
_BY_ADDRESS: Final = frozenset({"email", "email_verified"})


@dataclass(frozen=True)
class Admission:
    """Who may come in. Nobody, unless somebody is named.

    Attributes:
        everybody: Whether all may whom the issuer lets through.
        addresses: E-mail addresses, in lower case.
        domains: What stands behind the @ of addresses, in lower case.
        claims: Names of claims, and the value that each must have or hold. A name may lead into an
            object by dots.
    """

    everybody: bool = False
    addresses: frozenset[str] = frozenset()
    domains: frozenset[str] = frozenset()
    claims: frozenset[tuple[str, str]] = frozenset()

    @classmethod
    def parse(cls, text: str) -> Admission:
        """Read what `AIAUTO_OIDC_ALLOWED` says.

        Args:
            text: Parts with commas between them, of which one is enough: ``ada@example.org``,
                ``*@example.org``, ``claim=value``, or ``*`` for everybody.

        Raises:
            ArgumentValueError: A part is none of these.
        """
        addresses: set[str] = set()
        domains: set[str] = set()
        claims: set[tuple[str, str]] = set()
        parts = [part.strip() for part in text.split(",") if part.strip()]
        for part in parts:
            name, equals, value = (one.strip() for one in part.partition("="))
            local, at, domain = part.lower().rpartition("@")
            if part == EVERYBODY:
                continue
            if equals and name and value and name not in _BY_ADDRESS:
                claims.add((name, value))
            elif not equals and at and local == "*" and _is_plain(domain):
                domains.add(domain)
            elif not equals and at and _is_plain(local) and _is_plain(domain):
                addresses.add(f"{local}@{domain}")
            else:
                message = (
                    f"{ALLOWED_VARIABLE} has the part {part!r}: write an e-mail address, "
                    "*@example.org for all addresses there, claim=value, or * for everybody whom "
                    "the issuer lets through."
                )
                raise ArgumentValueError(message, argument=ALLOWED_VARIABLE)
        return cls(EVERYBODY in parts, frozenset(addresses), frozenset(domains), frozenset(claims))

    def is_answered_by(self, claims: Mapping[str, Any]) -> bool:
        """Whether all is there that must be known to decide.

        Args:
            claims: What the issuer says of somebody.
        """
        wanted = {name.partition(".")[0] for name, _ in self.claims if name not in claims}
        if self.addresses or self.domains:
            wanted |= _BY_ADDRESS
        return wanted <= claims.keys()

    def lets_in(self, claims: Mapping[str, Any]) -> bool:
        """Whether somebody may come in.

        Args:
            claims: What the issuer says of them.
        """
        return (
            self.everybody
            or self._knows(verified_address(claims))
            or any(_holds(claims, name, value) for name, value in self.claims)
        )

    def waits_for_address(self, claims: Mapping[str, Any]) -> bool:
        """Whether somebody might come in, if only the issuer had verified their address."""
        return not self.lets_in(claims) and self._knows(_address(claims))

    def _knows(self, address: str) -> bool:
        return bool(address) and (
            address in self.addresses or address.rpartition("@")[2] in self.domains
        )


def verified_address(claims: Mapping[str, Any]) -> str:
    """The e-mail address that the issuer has verified, in lower case; empty where there is none."""
    # Nothing but true itself: some issuers write "false" as text.
    return _address(claims) if claims.get("email_verified") is True else ""


def _address(claims: Mapping[str, Any]) -> str:
    address = claims.get("email")
    # Other letters become these in lower case: the sign for Kelvin a k.
    if isinstance(address, str) and address.isascii() and len(address) <= 254:
        local, _, domain = address.lower().rpartition("@")
        if _is_plain(local) and _is_plain(domain):
            return f"{local}@{domain}"
    return ""


def _is_plain(part: str) -> bool:
    """Whether this may stand before or behind the @ of an address, and means itself."""
    return bool(part) and part.isascii() and part.isprintable() and not set(part) & set(' @*"\\')


def _holds(claims: Mapping[str, Any], name: str, wanted: str) -> bool:
    """Whether a claim has a value, or holds it in a list."""
    found: Any = claims.get(name)
    if found is None:
        found = claims
        for step in name.split("."):
            found = cast("dict[str, Any]", found).get(step) if isinstance(found, dict) else None
    return found == wanted or (isinstance(found, list) and wanted in found)
