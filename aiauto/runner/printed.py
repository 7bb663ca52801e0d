"""What an objective prints: passed on as it comes, and handed to the server line by line."""

from __future__ import annotations

import io
import logging
import sys
import threading
import uuid
from collections import deque
from datetime import datetime, timezone
from typing import TYPE_CHECKING, TextIO

from aiauto_gen.aiauto import v1

from aiauto.errors import RpcError

if TYPE_CHECKING:
    from aiauto_gen.aiauto.v1.connect import RunnerServiceClientSync

logger = logging.getLogger("aiauto.runner")

INTERVAL_SECONDS = 0.5
LINES_PER_CALL = 1000
MAX_LINE_CHARACTERS = 8 * 1024
# An objective that prints faster than lines can be sent loses the oldest.
MAX_WAITING_LINES = 50_000
CALL_TIMEOUT_SECONDS = 10.0


class Printed:
    """The lines of this worker on their way to the server."""

    def __init__(self, client: RunnerServiceClientSync) -> None:
        """Make it. Nothing is taken yet.

        Args:
            client: Takes the lines.
        """
        self._client = client
        self._lines: deque[v1.LogLine] = deque(maxlen=MAX_WAITING_LINES)
        self._trial_number: int | None = None
        self._wake = threading.Event()
        self._closed = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Take what is printed from now on."""
        sys.stdout = _Tee(sys.stdout, self, v1.LogStream.STDOUT)
        sys.stderr = _Tee(sys.stderr, self, v1.LogStream.STDERR)
        logging.basicConfig(format="%(message)s", stream=sys.stderr)
        self._thread = threading.Thread(target=self._send_all, name="aiauto-printed", daemon=True)
        self._thread.start()

    def tag(self, trial_number: int | None) -> None:
        """Say during which trial lines are printed from now on."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, _Tee):
                stream.end_line()
        self._trial_number = trial_number

    def add(self, stream: v1.LogStream, text: str) -> None:
        """Take a line."""
        self._lines.append(
            v1.LogLine(
                trial_number=self._trial_number,
                stream=stream,
                time=datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
                text=text[:MAX_LINE_CHARACTERS],
            )
        )

    def close(self) -> None:
        """Send what is left."""
        self.tag(None)
        self._closed = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(CALL_TIMEOUT_SECONDS)
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if isinstance(stream, _Tee):
                setattr(sys, name, stream.original)

    def _send_all(self) -> None:
        request = v1.AppendLogsRequest()
        while True:
            self._wake.wait(INTERVAL_SECONDS)
            while self._lines or request.lines:
                if not request.lines:
                    count = min(len(self._lines), LINES_PER_CALL)
                    lines = [self._lines.popleft() for _ in range(count)]
                    request = v1.AppendLogsRequest(lines=lines, request_id=str(uuid.uuid4()))
                try:
                    self._client.append_logs(request, timeout=CALL_TIMEOUT_SECONDS)
                except RpcError as error:
                    # Not said on stderr: that would be a line again.
                    logger.debug("Lines did not arrive: %s", error)
                    break  # the same call again, later
                request = v1.AppendLogsRequest()
            if self._closed:
                return


class _Tee(io.TextIOBase):
    """Writes through to a stream, and hands whole lines on."""

    def __init__(self, original: TextIO, printed: Printed, kind: v1.LogStream) -> None:
        self.original = original
        self._printed = printed
        self._kind = kind
        self._rest = ""
        self._lock = threading.RLock()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.original.encoding

    @property
    def buffer(self) -> object:
        # Bytes that are written there pass us by, and reach the worker's own log.
        return self.original.buffer

    def write(self, text: str, /) -> int:
        with self._lock:
            self.original.write(text)
            *lines, self._rest = (self._rest + text).split("\n")
            for line in lines:
                # A progress bar draws over its line: what stands there in the end counts.
                self._printed.add(self._kind, line.rstrip("\r").rpartition("\r")[2])
            if len(self._rest) > MAX_LINE_CHARACTERS:
                self.end_line()
        return len(text)

    def end_line(self) -> None:
        """Hand on what has no line break yet."""
        with self._lock:
            if self._rest:
                self._printed.add(self._kind, self._rest.rstrip("\r").rpartition("\r")[2])
                self._rest = ""

    def flush(self) -> None:
        self.original.flush()

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self.original.isatty()

    def fileno(self) -> int:
        return self.original.fileno()
