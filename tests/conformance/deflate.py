"""A compression that the runtime does not know, plugged into both sides."""

from __future__ import annotations

import zlib

from aiauto import connect


class Deflate:
    """HTTP's `deflate`, which is the zlib format."""

    name = "deflate"

    def compress(self, data: bytes, /) -> bytes:
        return zlib.compress(data)

    def decompress(self, data: bytes, limit: int, /) -> bytes:
        unpacker = zlib.decompressobj()
        try:
            inflated = unpacker.decompress(data, limit + 1)
        except zlib.error as error:
            raise ValueError(str(error)) from error
        if len(inflated) > limit:
            raise connect.ResourceExhaustedError(f"more than {limit} bytes")
        if not unpacker.eof:
            raise ValueError("it ends too early")
        return inflated


DEFLATE = Deflate()
