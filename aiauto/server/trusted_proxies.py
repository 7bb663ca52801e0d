"""From where a caller comes, where proxies stand between.

A proxy has the address that the server sees, and tells that of its own caller in a header. So can
anybody: the header says something only where it comes from a proxy that is known to be one.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final, TypeAlias

from aiauto.errors import ArgumentValueError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiohttp import web

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

HEADER: Final = "x-forwarded-for"
# Some proxies tell the port, too: `192.0.2.1:443`, and `[2001:db8::1]:443`.
_WITH_PORT: Final = re.compile(r"(?:\[([^\[\]]+)\]|([^:\[\]]+))(?::[0-9]{1,5})?")


def networks(name: str, text: str) -> tuple[Network, ...]:
    """Read which proxies are trusted.

    Args:
        name: What names them, for the error.
        text: Addresses and networks, with commas between them.

    Raises:
        ArgumentValueError: One is neither.
    """
    return tuple(_network(name, one.strip()) for one in text.split(",") if one.strip())


def _network(name: str, text: str) -> Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        message = (
            f"{name} names {text[:60]!r}, which is neither an address nor a network such as "
            f"10.0.0.0/8 or 2001:db8::/32: {error}."
        )
        raise ArgumentValueError(message, argument="trusted_proxies") from None


class TrustedProxies:
    """Tells whose request it is that a proxy passes on."""

    def __init__(self, trusted: Iterable[Network] = ()) -> None:
        """Make it.

        Args:
            trusted: The proxies that are believed.
        """
        self._trusted = tuple(trusted)

    def caller_of(self, request: web.BaseRequest) -> str | None:
        """The address of whoever made a request, None where it is not known.

        Each proxy adds its own caller at the end, so that what stands before the first whom nobody
        trusts is that one's own invention.

        Args:
            request: It.
        """
        address = _address(request.remote or "")
        # One that could not be read has its headers in no more than a dict, where it has any.
        headers = request.headers.items() if self._trusted else ()
        passed_on = ",".join(value for name, value in headers if name.lower() == HEADER)
        for told in reversed(passed_on.split(",") if passed_on else ()):
            if address is None or not any(address in network for network in self._trusted):
                break
            address = _address(told.strip())
        return request.remote if address is None or not passed_on else str(address)


def _address(text: str) -> Address | None:
    """An address as a proxy writes it; None where it is none."""
    with_port = _WITH_PORT.fullmatch(text)
    if with_port is not None:
        text = with_port[1] or with_port[2]
    try:
        # A zone is the name of an interface of some other machine's.
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
