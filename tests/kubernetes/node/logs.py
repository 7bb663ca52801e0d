"""What containers print: kept line by line with its time, and read again."""

from __future__ import annotations

import asyncio
from collections import deque
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Final

from tests.kubernetes.api.queries import flag

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

# A longer line is kept in pieces, as the real node does.
_LINE: Final = 16 * 1024


def _stamp() -> bytes:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f000Z").encode()


class Log:
    """What one container printed. A line is its time, a space, "F" or "P" for a piece, and text."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._path.touch()
        self._pending = b""
        self._waiting: set[asyncio.Future[None]] = set()
        self._closed = False

    def write(self, data: bytes) -> None:
        """Keep what was printed; a line that has no end yet waits for it."""
        *lines, self._pending = (self._pending + data).split(b"\n")
        kept = [(b"F", line + b"\n") for line in lines]
        while len(self._pending) >= _LINE:
            kept.append((b"P", self._pending[:_LINE] + b"\n"))
            self._pending = self._pending[_LINE:]
        with self._path.open("ab") as file:
            for kind, line in kept:
                file.write(_stamp() + b" " + kind + b" " + line)
        self._wake()

    def close(self) -> None:
        """Nothing more is printed."""
        if self._pending:
            with self._path.open("ab") as file:
                file.write(_stamp() + b" P " + self._pending + b"\n")
        self._pending = b""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)

    def tail(self, size: int) -> bytes:
        """The end of what was printed."""
        lines = self._path.read_bytes().splitlines(keepends=True)
        return b"".join(_text(line) for line in lines)[-size:]

    async def read(self, asked: Mapping[str, str]) -> AsyncIterator[bytes]:
        """What was printed, as somebody asks for it.

        Args:
            asked: Parameters as the API has them: tailLines, sinceTime, sinceSeconds, timestamps,
                limitBytes, follow.
        """
        since = _since(asked)
        stamped = flag(asked, "timestamps")
        left = int(asked["limitBytes"]) if "limitBytes" in asked else None
        with self._path.open("rb") as file:
            old = (line for line in file if line[:19].decode() >= since)
            lines = deque(old, maxlen=int(asked["tailLines"]) if "tailLines" in asked else None)
            while True:
                for line in lines:
                    text = (line.split(b" ")[0] + b" " if stamped else b"") + _text(line)
                    if left is not None:
                        text = text[:left]
                        left -= len(text)
                    yield text
                closed = self._closed
                if not flag(asked, "follow") or left == 0:
                    return
                lines = deque(file.readlines())
                if not lines:
                    if closed:
                        return
                    await self._grown()
                    lines = deque(file.readlines())

    async def _grown(self) -> None:
        """Wait until there is more, or there is no more."""
        more: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(more)
        try:
            await more
        finally:
            self._waiting.discard(more)


def _text(line: bytes) -> bytes:
    _, kind, text = line.split(b" ", 2)
    return text if kind == b"F" else text.removesuffix(b"\n")


def _since(asked: Mapping[str, str]) -> str:
    """The first time that is wanted, to the second."""
    if "sinceTime" in asked:
        return asked["sinceTime"][:19]
    if "sinceSeconds" in asked:
        moment = datetime.now(timezone.utc) - timedelta(seconds=int(asked["sinceSeconds"]))
        return moment.strftime("%Y-%m-%dT%H:%M:%S")
    return ""
