"""Messages to bytes and back: Protobuf's binary form and JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import betterproto2

from aiauto.connect import binary_format, json_format

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CODECS", "JSON", "PROTO", "Codec"]

MessageT = TypeVar("MessageT", bound=betterproto2.Message)


class Codec(Protocol):
    """A way to write messages."""

    @property
    def name(self) -> str:
        """Its name in content types."""
        ...

    def encode(self, message: betterproto2.Message, /) -> bytes:
        """Writes a message.

        Raises:
            ValueError: A field holds what it can't hold.
        """
        ...

    def decode(self, message_type: type[MessageT], data: bytes, /) -> MessageT:
        """Reads a message.

        Raises:
            ValueError: The data is something else.
        """
        ...


class _Proto:
    name = "proto"
    encode = staticmethod(binary_format.dump)
    decode = staticmethod(binary_format.load)


class _Json:
    name = "json"
    encode = staticmethod(json_format.dump)
    decode = staticmethod(json_format.load)


PROTO: Final[Codec] = _Proto()
JSON: Final[Codec] = _Json()
CODECS: Final[Mapping[str, Codec]] = {codec.name: codec for codec in (PROTO, JSON)}
