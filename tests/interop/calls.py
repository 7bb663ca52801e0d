"""What is called and what came of it, in words that every client understands.

A client of any implementation makes a `Call` and gives a `Report`. Messages are JSON here, and
several values of a header are one with commas: some platforms have them in no other way.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, Protocol

Json = dict[str, Any]

METHODS = ("unary", "get", "server_stream", "client_stream", "bidi")


@dataclass(frozen=True)
class Call:
    """A call to make.

    Attributes:
        method: One of the service's, as Python spells it.
        requests: Messages to send; one, unless the method takes a stream.
        codec: `proto` or `json`.
        compression: `gzip` for requests that are compressed and responses that may be, or
            `identity`.
        get: Whether to send it as GET.
        headers: Headers to send.
        timeout_ms: Time that it may take, None for no limit.
    """

    method: str
    requests: list[Json] = field(default_factory=lambda: [{}])
    codec: str = "proto"
    compression: str = "identity"
    get: bool = False
    headers: dict[str, str] = field(default_factory=lambda: {"x-interop-ask": "asked"})
    timeout_ms: int | None = None


@dataclass(frozen=True)
class Failure:
    """The error that a call ended with.

    Attributes:
        code: As it travels.
        message: As the server gave it.
        details: Type and hexadecimal bytes of each.
        metadata: Headers and trailers that came with it.
    """

    code: str
    message: str
    details: list[dict[str, str]]
    metadata: dict[str, str]


@dataclass(frozen=True)
class Report:
    """What came of a call.

    Attributes:
        responses: Messages that came, before an error too.
        headers: Headers of the answer, by lower-case name. Not said where the call failed.
        trailers: Trailers of the answer. Not said where the call failed.
        error: What it ended with, None for success.
    """

    responses: list[Json]
    headers: dict[str, str]
    trailers: dict[str, str]
    error: Failure | None

    @property
    def only(self) -> Json:
        """The one response of a call that went well."""
        assert self.error is None
        (response,) = self.responses
        return response

    @property
    def failure(self) -> Failure:
        """The error of a call that failed."""
        assert self.error is not None, f"it did not fail: {self.responses}"
        return self.error


class Client(Protocol):
    """Makes calls."""

    def call(self, url: str, call: Call, /) -> Report:
        """Makes a call to a server."""
        ...


def call_to_json(url: str, call: Call) -> str:
    """The line that a peer's client reads."""
    return json.dumps({"url": url, **dataclasses.asdict(call)})


def report_from_json(line: str) -> Report:
    """Reads the line that a peer's client prints."""
    found: Json = json.loads(line)
    assert "crash" not in found, found["crash"]
    error = found.pop("error")
    return Report(**found, error=None if error is None else Failure(**error))
