"""Bodies of requests and answers, read within limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiauto.connect.compression import too_large

if TYPE_CHECKING:
    import aiohttp
    from aiohttp import web

__all__ = ["read_body"]


async def read_body(message: web.Request | aiohttp.ClientResponse, limit: int) -> bytes:
    """Reads the body of a request or an answer.

    Raises:
        ResourceExhaustedError: It is larger than the limit, in bytes.
    """
    content = message.content
    if content.is_eof():  # it came with its headers, as small ones do
        data = content.read_nowait()
        if len(data) > limit:
            raise too_large(len(data), limit)
        return data
    length = message.content_length
    if length is not None and length > limit:
        raise too_large(length, limit)
    parts: list[bytes] = []
    size = 0
    while part := await content.readany():
        size += len(part)
        if size > limit:
            raise too_large(f"more than {limit}", limit)
        parts.append(part)
        if content.at_eof():
            break
    return parts[0] if len(parts) == 1 else b"".join(parts)
