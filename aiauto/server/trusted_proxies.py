"""From where a caller comes, where proxies stand between.

A proxy has the address that the server sees, and tells that of its own caller in a header. So can
anybody: the header says something only where it comes from a proxy that is known to be one.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from aiauto.errors import ArgumentValueError

if TYPE_CHECKING:
    from aiohttp import web

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

HEADER: Final = "x-forwarded-for"
# Some proxies tell the port, too: `192.0.2.1:443`, and `[2001:db8::1]:443`.
_WITH_PORT: Final = re.compile(r"(?:\[([^\[\]]+)\]|([^:\[\]]+))(?::[0-9]{1,5})?")


@dataclass(frozen=True)
class TrustedProxies:
    """Tells whose request it is that a proxy passes on.

    Attributes:
        networks: Where the proxies are that are believed.
    """

    networks: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, name: str, text: str) -> TrustedProxies:
        """Read which proxies are trusted.

        Args:
            name: What names them, for the error.
            text: Addresses and networks, with commas between them.

        Raises:
            ArgumentValueError: One is neither.
        """
        return cls(tuple(_network(name, one.strip()) for one in text.split(",") if one.strip()))

    def caller_of(self, request: web.BaseRequest) -> str | None:
        """The address of whoever made a request, None where it is not known.

        Each proxy adds its own caller at the end, so that what stands before the first whom nobody
        trusts is that one's own invention.

        Args:
            request: It.
        """
        # One that could not be read has its headers in no more than a dict, where it has any.
        headers = request.headers.items() if self.networks else ()
        passed_on = ",".join(value for name, value in headers if name.lower() == HEADER)
        if not passed_on:
            return request.remote
        address = _address(request.remote or "")
        for told in reversed(passed_on.split(",")):
            if address is None or not any(address in network for network in self.networks):
                break
            address = _address(told.strip())
        return request.remote if address is None else str(address)


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


def _network(name: str, text: str) -> Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        message = (
            f"{name} names {text[:60]!r}, which is neither an address nor a network such as "
            f"10.0.0.0/8 or 2001:db8::/32: {error}."
        )
        raise ArgumentValueError(message, argument="trusted_proxies") from None
