"""What workers print, line by line."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from aiauto_gen.aiauto import v1

from aiauto import config
from aiauto.errors import DeadlineExceededError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from aiauto.calls import Calls


@dataclass(frozen=True)
class LogLine:
    """A line that a worker printed. Prints as its text.

    Attributes:
        text: The line, without its line break.
        trial: Number of the trial during which it was printed; None between trials.
        worker: Name of the worker.
        stream: Where it was printed to. The logging module's lines are on ``stderr``.
        time: RFC 3339 time, by the worker's clock.
        trialbatch_name: Name of the batch.
    """

    text: str
    trial: int | None
    worker: str
    stream: Literal["stdout", "stderr"]
    time: str
    trialbatch_name: str

    def __str__(self) -> str:
        return self.text


async def lines(
    calls: Calls, study_name: str, trialbatch_name: str, *, trial: int | None, follow: bool
) -> AsyncGenerator[LogLine, None]:
    """Stream the lines of a batch, or of all batches of a study, oldest first.

    A stream that breaks is followed by a new one, which goes on behind the last line.

    Args:
        calls: The way to the server.
        study_name: Name of the study.
        trialbatch_name: Name of the batch; empty for all of the study, mixed as they are printed.
        trial: Only the lines of this trial, by its number.
        follow: Whether to go on until the batch, or every batch, or the trial has ended.

    Yields:
        The lines.

    Raises:
        RpcError: The server does not know the study or the batch, or stayed out of reach.
    """
    request = v1.StreamLogsRequest(
        trialbatch_name=trialbatch_name,
        study_name="" if trialbatch_name else study_name,
        trial_number=trial,
        follow=follow,
    )
    reached = time.monotonic()
    delay = 0.0
    ended = is_silent = False
    while not ended:
        try:
            if is_silent:
                # A stream that brings nothing may be that of a worker that prints nothing: this
                # fails where it is the server that is gone.
                await calls.get_status(
                    v1.GetStatusRequest(study_name=study_name, trialbatch_name=trialbatch_name)
                )
                reached, delay, is_silent = time.monotonic(), 0.0, False
            async with calls.stream_logs(request, timeout=config.WATCH_RENEWAL) as stream:
                async for response in stream:
                    reached, delay = time.monotonic(), 0.0
                    for line in response.lines:
                        if trialbatch_name:
                            request.after = line.sequence
                        else:
                            request.after_of_batches[line.trialbatch_name] = line.sequence
                        yield _log_line(line)
            ended = True
        except (DeadlineExceededError, UnavailableError) as error:
            is_silent = isinstance(error, DeadlineExceededError)
            if time.monotonic() - reached > config.WATCH_PATIENCE:
                raise
            delay = min(max(2 * delay, 0.1), 5.0)
            await calls.sleep(delay)


def _log_line(line: v1.LogLine) -> LogLine:
    return LogLine(
        text=line.text,
        trial=line.trial_number,
        worker=line.worker_name,
        stream="stderr" if line.stream == v1.LogStream.STDERR else "stdout",
        time=line.time,
        trialbatch_name=line.trialbatch_name,
    )
