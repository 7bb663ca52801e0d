"""What an objective prints: passed on as it comes, and handed to the server line by line."""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
import uuid
from collections import deque
from datetime import datetime, timezone
from typing import TYPE_CHECKING, TextIO

from aiauto_gen.aiauto import v1

from aiauto.errors import DeadlineExceededError, RpcError, UnavailableError
from aiauto.legible import legible

if TYPE_CHECKING:
    from aiauto_gen.aiauto.v1.connect import RunnerServiceClientSync

INTERVAL_SECONDS = 0.5
LINES_PER_CALL = 1000
MAX_LINE_CHARACTERS = 8 * 1024
# An objective that prints faster than lines can be sent loses the oldest.
MAX_WAITING_LINES = 50_000
MAX_WAITING_CHARACTERS = 8 * 1024 * 1024
CALL_TIMEOUT_SECONDS = 10.0
# Whoever stops a worker does not wait for long.
LAST_CALL_SECONDS = 1.5
# For a worker that ends because there is nothing left to do, nobody waits.
LAST_LINES_SECONDS = 10.0


class Printed:
    """The lines of this worker on their way to the server."""

    def __init__(self, client: RunnerServiceClientSync) -> None:
        """Make it. Nothing is taken yet.

        Args:
            client: Takes the lines.
        """
        self._client = client
        self._lines: deque[v1.LogLine] = deque()
        self._characters = 0
        self._lost = 0
        self._lock = threading.Lock()
        self._trial_number: int | None = None
        self._wake = threading.Event()
        self._closed = False
        self._patience = LAST_CALL_SECONDS
        self._thread: threading.Thread | None = None
        self._tees: list[Tee] = []

    def start(self) -> None:
        """Take what is printed from now on."""
        self._tees = [
            Tee(sys.stdout, self, v1.LogStream.STDOUT),
            Tee(sys.stderr, self, v1.LogStream.STDERR),
        ]
        sys.stdout, sys.stderr = self._tees
        # Only for what this package says: how the objective logs is its own business.
        ours = logging.getLogger("aiauto")
        ours.addHandler(logging.StreamHandler(sys.stderr))
        ours.propagate = False
        if hasattr(os, "register_at_fork"):
            # A child's lines could not be sent, and another thread may hold a lock at the fork.
            os.register_at_fork(after_in_child=self._restore)
        self._thread = threading.Thread(target=self._send_all, name="aiauto-printed", daemon=True)
        self._thread.start()

    def tag(self, trial_number: int | None) -> None:
        """Say during which trial lines are printed from now on."""
        for tee in self._tees:
            tee.end_line()
        self._trial_number = trial_number

    def add(self, stream: v1.LogStream, text: str) -> None:
        """Take a line."""
        line = v1.LogLine(
            trial_number=self._trial_number,
            stream=stream,
            time=datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            text=text[:MAX_LINE_CHARACTERS],
        )
        with self._lock:
            self._lines.append(line)
            self._characters += len(line.text)
            while self._characters > MAX_WAITING_CHARACTERS or len(self._lines) > MAX_WAITING_LINES:
                self._characters -= len(self._lines.popleft().text)
                self._lost += 1

    def close(self, patience: float = LAST_CALL_SECONDS) -> None:
        """Send what is left.

        Args:
            patience: Seconds that it may take.
        """
        self.tag(None)
        self._patience = patience
        self._closed = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(patience)
        self._restore()

    def _restore(self) -> None:
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if isinstance(stream, Tee):
                setattr(sys, name, stream.original)

    def _take(self) -> list[v1.LogLine]:
        with self._lock:
            count = min(len(self._lines), LINES_PER_CALL)
            lines = [self._lines.popleft() for _ in range(count)]
            self._characters -= sum(len(line.text) for line in lines)
            if lines and self._lost:
                text = f"[{self._lost} lines were printed faster than they could be sent]"
                lines.insert(0, v1.LogLine(stream=lines[0].stream, time=lines[0].time, text=text))
                self._lost = 0
            return lines

    def _next_request(self) -> v1.AppendLogsRequest | None:
        lines = self._take()
        return v1.AppendLogsRequest(lines=lines, request_id=str(uuid.uuid4())) if lines else None

    def _send_all(self) -> None:
        request: v1.AppendLogsRequest | None = None
        while True:
            closing = self._wake.wait(INTERVAL_SECONDS) and self._closed
            while request := request or self._next_request():
                timeout = self._patience if closing else CALL_TIMEOUT_SECONDS
                try:
                    self._client.append_logs(request, timeout=timeout)
                except (UnavailableError, DeadlineExceededError):
                    break  # the same call again, later
                except RpcError:
                    pass  # refused, for good; said on stderr it would be a line again
                request = None
            if closing:
                return


class Tee(io.TextIOBase):
    """Writes through to a stream, and hands whole lines on.

    Attributes:
        original: The stream.
    """

    def __init__(self, original: TextIO, printed: Printed, kind: v1.LogStream) -> None:
        """Make it.

        Args:
            original: The stream.
            printed: Takes the lines.
            kind: What the stream is.
        """
        self.original = original
        self._printed = printed
        self._kind = kind
        self._rest = ""
        self._lock = threading.RLock()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """As the stream."""
        return self.original.encoding

    @property
    def buffer(self) -> object:
        """The stream's: bytes written there pass us by, and reach the worker's own log."""
        return self.original.buffer

    def write(self, text: str, /) -> int:
        """Write, and hand on what lines are whole."""
        shown = legible(text)
        with self._lock:
            self.original.write(shown)
            *lines, self._rest = (self._rest + shown).split("\n")
            for line in lines:
                self._hand_on(line)
            if len(self._rest) > MAX_LINE_CHARACTERS:
                self.end_line()
        return len(text)

    def end_line(self) -> None:
        """Hand on what has no line break yet."""
        with self._lock:
            if self._rest:
                self._hand_on(self._rest)
                self._rest = ""

    def flush(self) -> None:
        """As the stream."""
        self.original.flush()

    def writable(self) -> bool:
        """It is."""
        return True

    def isatty(self) -> bool:
        """As the stream."""
        return self.original.isatty()

    def fileno(self) -> int:
        """As the stream."""
        return self.original.fileno()

    def _hand_on(self, line: str) -> None:
        # A progress bar draws over its line: what stands there in the end counts.
        self._printed.add(self._kind, line.rstrip("\r").rpartition("\r")[2])
