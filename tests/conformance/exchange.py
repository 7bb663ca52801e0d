"""What the programs of the suite tell each other: framed messages, and their parts."""

from __future__ import annotations

import struct
import sys
import threading
from typing import TypeVar

import betterproto2
from conformance_gen.connectrpc.conformance.v1 import Code, Error, Header
from conformance_gen.google.protobuf import Any

from aiauto import connect

MessageT = TypeVar("MessageT", bound=betterproto2.Message)

_LENGTH = struct.Struct(">I")
_writing = threading.Lock()

# The suite sets a limit in some cases. In the others its messages must pass.
NO_LIMIT = 1 << 30


def read(message_type: type[MessageT]) -> MessageT | None:
    """The next message of the suite, None when there is no more."""
    head = sys.stdin.buffer.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (size,) = _LENGTH.unpack(head)
    return message_type.parse(sys.stdin.buffer.read(size))


def write(message: betterproto2.Message) -> None:
    """Answers the suite."""
    data = bytes(message)
    with _writing:
        sys.stdout.buffer.write(_LENGTH.pack(len(data)) + data)
        sys.stdout.buffer.flush()


def to_headers(metadata: connect.Metadata) -> list[Header]:
    return [Header(name=name, value=values) for name, values in metadata.lists().items()]


def to_error(error: connect.RpcError) -> Error:
    details = [
        Any(type_url=f"type.googleapis.com/{one.type_name}", value=one.value)
        for one in error.details
    ]
    return Error(code=Code[error.code.name], message=error.message, details=details)


def from_error(error: Error, *more: betterproto2.Message) -> connect.RpcError:
    details = [
        connect.ErrorDetail(one.type_url.rpartition("/")[2], one.value) for one in error.details
    ]
    code = connect.Code[error.code.name or ""]
    return connect.RpcError.of(code, error.message or "", details=[*details, *more])
