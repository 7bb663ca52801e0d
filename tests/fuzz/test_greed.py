"""Requests that would take all there is: memory, depth, time."""

from __future__ import annotations

import gzip
import json
import socket
import struct
import zlib
from typing import TYPE_CHECKING

import pytest

from tests.fuzz.conftest import MEBIBYTE, STUDY

if TYPE_CHECKING:
    from tests.fuzz.conftest import Target

# The same on every Python.
pytestmark = pytest.mark.once

UNARY = "/aiauto.v1.AIAutoService/CreateStudy"
STREAM = "/aiauto.v1.LogService/StreamLogs"
JSON = {"content-type": "application/json"}
PROTO = {"content-type": "application/proto"}
# The server takes messages of 64 MiB, and may hold one of them a few times over.
LARGE = 400 * MEBIBYTE
GIGABYTES = 2


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """Two gigabytes of nothing, in two megabytes."""
    compressing = zlib.compressobj(9, wbits=31)
    piece = bytes(16 * MEBIBYTE)
    count = GIGABYTES * 1024 // 16
    return b"".join(compressing.compress(piece) for _ in range(count)) + compressing.flush()


def test_a_bomb(target: Target, bomb: bytes) -> None:
    with target.within(LARGE):
        for _ in range(3):
            answer = target.ask("POST", UNARY, bomb, {**JSON, "content-encoding": "gzip"})
            assert answer.check() == "resource_exhausted"
            headers = {
                "content-type": "application/connect+proto",
                "connect-content-encoding": "gzip",
            }
            frame = struct.pack(">BI", 1, len(bomb)) + bomb
            assert target.ask("POST", STREAM, frame, headers).check() == "resource_exhausted"


def test_a_bomb_in_a_bomb(target: Target, bomb: bytes) -> None:
    twice = gzip.compress(bomb)
    with target.within(LARGE):
        code = target.ask("POST", UNARY, twice, {**JSON, "content-encoding": "gzip"}).check()
        assert code == "invalid_argument"


@pytest.mark.parametrize("opening", ["[", '{"a":', '{"spec":'])
def test_depth(target: Target, opening: str) -> None:
    with target.within(LARGE):
        for deep in (opening * 100_000, opening * 3_000_000):
            assert target.ask("POST", UNARY, deep.encode(), JSON).check() == "invalid_argument"
        closed = "[" * 50_000 + "]" * 50_000
        entry = {"entries": [closed], "requestId": "deep"}
        path = "/aiauto.v1.JournalService/AppendEntries"
        answer = target.ask("POST", path, json.dumps(entry).encode(), JSON)
        assert answer.check() == "invalid_argument"


def test_depth_in_binary(target: Target) -> None:
    inner = b""
    for _ in range(20_000):
        size = len(inner)
        header = b"\x0a"
        while size > 0x7F:
            header += bytes([size & 0x7F | 0x80])
            size >>= 7
        inner = header + bytes([size]) + inner
    with target.within(LARGE):
        target.ask("POST", UNARY, inner, PROTO).check()


def test_counts_that_promise_more_than_comes(target: Target) -> None:
    with target.within(LARGE):
        promised = b"\x0a" + b"\xff\xff\xff\xff\x0f"
        assert target.ask("POST", UNARY, promised, PROTO).check() == "invalid_argument"
        headers = {"content-type": "application/connect+proto"}
        frame = struct.pack(">BI", 0, 2**32 - 1)
        code = target.ask("POST", STREAM, frame, headers).check()
        assert code in {"resource_exhausted", "invalid_argument"}


def test_a_body_that_is_too_large(target: Target) -> None:
    host, port = target.address.split(":")
    head = (
        f"POST {UNARY} HTTP/1.1\r\nHost: {target.address}\r\n"
        f"Authorization: {target.authorized['authorization']}\r\n"
        "Content-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n"
    )
    with (
        target.within(LARGE),
        socket.create_connection((host, int(port)), timeout=60) as caller,
    ):
        caller.sendall(head.encode())
        # It is refused by what it says, before any of it has come.
        assert b"resource_exhausted" in caller.recv(65536)


def test_slow_senders(target: Target) -> None:
    """Two hundred callers who say a byte now and then: others don't notice."""
    host, port = target.address.split(":")
    request = f"POST {UNARY} HTTP/1.1\r\nHost: {target.address}\r\nContent-Length: 9\r\n\r\n"
    slow = [socket.create_connection((host, int(port)), timeout=30) for _ in range(200)]
    try:
        with target.within(LARGE):
            for number, caller in enumerate(slow):
                # Some stop in their headers, and some in their body.
                caller.sendall(request.encode()[: None if number % 2 else 40])
            for byte in b"{  }":
                for number, caller in enumerate(slow):
                    caller.sendall(bytes([byte]) if number % 2 else b"a")
                body = json.dumps({"studyName": STUDY}).encode()
                answer = target.ask("POST", "/aiauto.v1.AIAutoService/GetStatus", body, JSON)
                assert answer.check() == ""
    finally:
        for caller in slow:
            caller.close()
