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

    def encode(self, message: betterproto2.Message, /) -> bytes:
        return binary_format.dump(message)

    def decode(self, message_type: type[MessageT], data: bytes, /) -> MessageT:
        return binary_format.load(message_type, data)


class _Json:
    name = "json"

    def encode(self, message: betterproto2.Message, /) -> bytes:
        return json_format.dump(message)

    def decode(self, message_type: type[MessageT], data: bytes, /) -> MessageT:
        return json_format.load(message_type, data)


PROTO: Final[Codec] = _Proto()
JSON: Final[Codec] = _Json()
CODECS: Final[Mapping[str, Codec]] = {codec.name: codec for codec in (PROTO, JSON)}
