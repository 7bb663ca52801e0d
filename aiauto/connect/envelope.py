"""The frames of a stream: a byte of flags, four bytes of length, and a message."""

from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING, Final

from aiauto.connect.compression import too_large
from aiauto.connect.errors import InternalError, InvalidArgumentError

if TYPE_CHECKING:
    from aiohttp import StreamReader

    from aiauto.connect.compression import Compression

__all__ = ["COMPRESSED", "END_STREAM", "pack", "read", "unpack"]

COMPRESSED: Final = 0b01
END_STREAM: Final = 0b10

_HEAD: Final = struct.Struct(">BI")


def pack(
    data: bytes, compression: Compression | None = None, min_bytes: int = 0, flags: int = 0
) -> bytes:
    """Puts a message into a frame, compressed from `min_bytes` on."""
    if compression is not None and len(data) >= min_bytes:
        data = compression.compress(data)
        flags |= COMPRESSED
    return _HEAD.pack(flags, len(data)) + data


async def read(stream: StreamReader, limit: int) -> tuple[int, bytes] | None:
    """Reads the flags and the content of the next frame, or None at the end of the stream.

    Raises:
        ResourceExhaustedError: The frame is larger than the limit, in bytes.
        InvalidArgumentError: The stream ends within a frame.
    """
    try:
        head = await stream.readexactly(_HEAD.size)
        flags, size = _HEAD.unpack(head)
        if size > limit:
            raise too_large(size, limit)
        return flags, await stream.readexactly(size) if size else b""
    except asyncio.IncompleteReadError as error:
        if error.expected == _HEAD.size and not error.partial:
            return None
        raise InvalidArgumentError("the stream ends in the middle of a message") from error


def unpack(flags: int, data: bytes, compression: Compression | None, limit: int) -> bytes:
    """Gives the message of a frame.

    Raises:
        InternalError: The frame is compressed though no compression was announced.
        InvalidArgumentError: The compressed data is broken.
        ResourceExhaustedError: The message is larger than the limit, in bytes.
    """
    if not flags & COMPRESSED:
        return data
    if compression is None:
        raise InternalError("a message is marked as compressed, but no compression was announced")
    try:
        return compression.decompress(data, limit) if data else data
    except ValueError as error:
        raise InvalidArgumentError(str(error)) from error
