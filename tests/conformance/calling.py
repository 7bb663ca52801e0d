"""What both client programs read from a request of the suite."""

from __future__ import annotations

import ssl
import tempfile
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

from conformance_gen.connectrpc.conformance.v1 import (
    ClientCompatRequest,
    Codec,
    Compression,
    ConformancePayload,
)
from deflate import DEFLATE
from exchange import NO_LIMIT

from aiauto import connect

if TYPE_CHECKING:
    import betterproto2

TransportT = TypeVar("TransportT", connect.Transport, connect.SyncTransport)

# The suite counts on as many calls at once as its server can take.
AT_ONCE = 16

COMPRESSIONS: dict[Compression, tuple[connect.Compression, ...]] = {
    Compression.GZIP: (connect.GZIP,),
    Compression.DEFLATE: (DEFLATE,),
}


class CallOptions(TypedDict):
    timeout: float | None
    headers: dict[str, str]


def transport(kind: type[TransportT], request: ClientCompatRequest) -> TransportT:
    """A transport to the server that a request names, set up as it says."""
    context = tls(request)
    scheme = "http" if context is None else "https"
    return kind(
        f"{scheme}://{request.host}:{request.port}",
        timeout=None,
        codec="json" if request.codec == Codec.JSON else "proto",
        compressions=COMPRESSIONS.get(request.compression, ()),
        compress_min_bytes=0,
        max_message_bytes=request.message_receive_limit or NO_LIMIT,
        use_get=request.use_get_http_method,
        ssl_context=context,
        # Each case is one attempt, whose error is what is asked for.
        retries=connect.NO_RETRIES,
    )


def tls(request: ClientCompatRequest) -> ssl.SSLContext | None:
    if not request.server_tls_cert:
        return None
    context = ssl.create_default_context(cadata=request.server_tls_cert.decode())
    if request.client_tls_creds is not None:
        with tempfile.NamedTemporaryFile() as file:
            file.write(request.client_tls_creds.cert + b"\n" + request.client_tls_creds.key)
            file.flush()
            context.load_cert_chain(file.name)
    return context


def messages(request: ClientCompatRequest) -> list[Any]:
    """What to send; of a method that does not stream one message."""
    return [message.unpack() for message in request.request_messages]


def options(request: ClientCompatRequest) -> CallOptions:
    return {
        "timeout": None if request.timeout_ms is None else request.timeout_ms / 1000,
        "headers": {header.name: ", ".join(header.value) for header in request.request_headers},
    }


def payload(message: betterproto2.Message) -> ConformancePayload:
    """The payload of an answer; one without is empty, not missing."""
    return getattr(message, "payload", None) or ConformancePayload()
