"""The request of a call that streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable
from typing import TYPE_CHECKING

import betterproto2

from aiauto.connect import envelope, protocol
from aiauto.connect.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    import aiohttp

    from aiauto.connect.options import ClientOptions

__all__ = ["StreamRequest"]


class StreamRequest:
    """Sends one message or many, each in a frame.

    Args:
        options: How the transport calls.
        path: Path of the method.
        messages: What to send. One message is sent again where an attempt fails; an iterable can
            be used up once only.
        headers: Headers as they are for each call of the transport.
        extra_headers: Headers of this call.
        repeatable: Whether the call may be done twice.

    Attributes:
        error: What the iterable of messages has raised, if anything.
    """

    def __init__(
        self,
        options: ClientOptions,
        path: str,
        messages: betterproto2.Message
        | AsyncIterable[betterproto2.Message]
        | Iterable[betterproto2.Message],
        *,
        headers: Mapping[str, str],
        extra_headers: Mapping[str, str] | None,
        repeatable: bool,
    ) -> None:
        self.options = options
        self.path = path
        self.repeatable = repeatable
        self.error: Exception | None = None
        self._messages = messages
        self._headers = headers
        self._extra_headers = extra_headers

    async def send(self, deadline: float | None) -> aiohttp.ClientResponse:
        """Sends the request and waits until the answer begins."""
        messages = self._messages
        body: bytes | AsyncIterator[bytes]
        if isinstance(messages, betterproto2.Message):
            body = self._pack(messages)
        else:
            body = self._frames(messages)
        channel = self.options.channel
        return await channel.send(
            "POST",
            channel.base_url + self.path,
            headers=self._headers,
            extra_headers=self._extra_headers,
            body=body,
            deadline=deadline,
        )

    async def _frames(
        self, messages: AsyncIterable[betterproto2.Message] | Iterable[betterproto2.Message]
    ) -> AsyncIterator[bytes]:
        try:
            if isinstance(messages, AsyncIterable):
                async for message in messages:
                    yield self._pack(message)
                    await asyncio.sleep(0)
            else:
                for message in messages:
                    yield self._pack(message)
                    # So that an answer that comes early is heard before the connection breaks.
                    await asyncio.sleep(0)
        except Exception as error:
            self.error = error
            raise

    def _pack(self, message: betterproto2.Message) -> bytes:
        options = self.options
        data = encode(options, self.path, message)
        return envelope.pack(data, options.send_compression, options.compressions.min_bytes)


def encode(options: ClientOptions, path: str, message: betterproto2.Message) -> bytes:
    """Writes a request message.

    Raises:
        InvalidArgumentError: A field holds what it can't hold.
    """
    try:
        return options.codec.encode(message)
    except ValueError as error:
        raise InvalidArgumentError(f"the request of {path} can't be sent: {error}") from error


def stream_headers(options: ClientOptions) -> dict[str, str]:
    """Headers of every request that streams."""
    headers = {
        "content-type": protocol.STREAM_PREFIX + options.codec.name,
        "connect-protocol-version": protocol.PROTOCOL_VERSION,
        # Of the body as a whole, which is compressed message by message if at all.
        "accept-encoding": "identity",
    }
    if options.compressions.accept:
        headers[protocol.STREAM_ACCEPT_ENCODING] = options.compressions.accept
    if options.send_compression is not None:
        headers[protocol.STREAM_ENCODING] = options.send_compression.name
    return options.channel.headers(headers)
