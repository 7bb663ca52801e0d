"""Making messages smaller on the way, and never larger than a limit on arrival."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final, Protocol

from aiauto.connect.errors import ResourceExhaustedError, UnimplementedError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["GZIP", "Compression", "Compressions", "Gzip"]

IDENTITY: Final = "identity"


class Compression(Protocol):
    """A way to compress messages."""

    @property
    def name(self) -> str:
        """Its name in HTTP, for example `gzip`."""
        ...

    def compress(self, data: bytes, /) -> bytes:
        """Makes data smaller."""
        ...

    def decompress(self, data: bytes, limit: int, /) -> bytes:
        """Gives the data back.

        Must stop inflating at the limit: a small message can hold a huge one.

        Raises:
            ValueError: The data is broken.
            ResourceExhaustedError: There is more of it than the limit, in bytes.
        """
        ...


class Gzip:
    """gzip.

    Args:
        level: From 1 (fast) to 9 (small).
    """

    name = "gzip"

    def __init__(self, level: int = 4) -> None:
        self._level = level

    def compress(self, data: bytes, /) -> bytes:
        """Makes data smaller."""
        packer = zlib.compressobj(self._level, wbits=zlib.MAX_WBITS | 16)
        return packer.compress(data) + packer.flush()

    def decompress(self, data: bytes, limit: int, /) -> bytes:
        """Gives the data back. See `Compression.decompress`."""
        parts: list[bytes] = []
        size = 0
        while True:
            unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
            try:
                part = unpacker.decompress(data, limit - size + 1)
            except zlib.error as error:
                raise ValueError(f"the gzip data is broken: {error}") from error
            size += len(part)
            if size > limit:
                raise too_large(f"more than {limit}", limit)
            if not unpacker.eof:
                raise ValueError("the gzip data ends too early")
            parts.append(part)
            data = unpacker.unused_data
            if not data:  # else another member of the same file follows
                return b"".join(parts)


GZIP: Final = Gzip()


class MessageTooLargeError(ResourceExhaustedError):
    """A message is larger than a side takes."""


def too_large(size: object, limit: int) -> MessageTooLargeError:
    """The error for a message that is larger than a side takes."""
    return MessageTooLargeError(
        f"a message of {size} bytes is larger than the limit of {limit} bytes (max_message_bytes)"
    )


class Compressions:
    """The compressions that one side knows, the preferred one first.

    Args:
        known: They.
        min_bytes: Size in bytes from which on a message is worth compressing.
    """

    def __init__(self, known: Iterable[Compression], *, min_bytes: int) -> None:
        self._by_name = {one.name: one for one in known}
        self.min_bytes = min_bytes
        self.accept: str = ", ".join(self._by_name)
        """Value of an Accept-Encoding header; empty where none is known."""

    def named(self, name: str | None) -> Compression | None:
        """The compression that a message came with, None for none.

        Raises:
            UnimplementedError: It is not known.
        """
        if not name or name == IDENTITY:
            return None
        found = self._by_name.get(name)
        if found is None:
            known = ", ".join([*self._by_name, IDENTITY])
            raise UnimplementedError(f"the compression {name!r} is not known; known: {known}")
        return found

    def choose(self, accept: str | None) -> Compression | None:
        """The first compression in an Accept-Encoding header that is known, None for none."""
        for item in accept.split(",") if accept else ():
            name, _, weight = item.partition(";")
            found = self._by_name.get(name.strip().lower())
            if found is not None and weight.replace(" ", "") not in {"q=0", "q=0.0"}:
                return found
        return None
