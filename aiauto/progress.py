"""Follows a batch while it runs: the server's stream of changes, a progress bar, new errors."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from aiauto_gen.aiauto import v1
from tqdm.auto import tqdm

from aiauto import config
from aiauto.errors import DeadlineExceededError, TrialBatchFailedError, UnavailableError
from aiauto.status import FINAL_PHASES, last_error, trial_value, waits_for

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

    from typing_extensions import Self

    from aiauto.calls import Calls

logger: Final = logging.getLogger("aiauto")

# A thousand trials that fail each in its own words are not a thousand warnings.
MAX_ERRORS_TOLD = 5
BAR_FORMAT = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]"


class WaitOption(Enum):
    """When `StudyWrapper.optimize` returns."""

    WAIT_NO = "wait_no"
    """At once."""
    WAIT_ATLEAST_ONE_TRIAL = "wait_atleast_one"
    """When the first trial has ended."""
    WAIT_ALL_TRIALS = "wait_all"
    """When every trial has ended."""


async def follow(
    calls: Calls,
    trialbatch_name: str,
    *,
    study_name: str,
    enough: Callable[[v1.TrialBatchStatus], bool],
    timeout: float | None,
    show_progress_bar: bool,
) -> v1.TrialBatchStatus | None:
    """Wait for a batch, and tell what happens to it meanwhile.

    Args:
        calls: The way to the server that runs the batch.
        trialbatch_name: Name of the batch.
        study_name: Name of its study, for people to read.
        enough: Tells from a status whether to wait on; it is not asked once the batch is over.
        timeout: Seconds to wait at most; None for no limit.
        show_progress_bar: Whether to show one.

    Returns:
        The status that was enough or ended the batch; None where the time was up before.

    Raises:
        TrialBatchFailedError: The batch ended without one usable trial, and was not cancelled.
        RpcError: The server does not know the batch, or stayed out of reach.
    """
    errors = Errors(trialbatch_name)
    said_to_wait = False
    with Bar(study_name, shown=show_progress_bar) as bar:
        async with contextlib.aclosing(watch(calls, trialbatch_name, timeout)) as responses:
            async for response in responses:
                status = response.status or v1.TrialBatchStatus()
                bar.update(response)
                if status.phase == "Failed" and status.stop_reason != "Cancelled":
                    raise _failed(status, study_name)
                if not said_to_wait and (wait := waits_for(status)):
                    said_to_wait = True
                    with bar.aside():
                        logger.warning("Batch %s: %s", trialbatch_name, wait)
                if (text := errors.news(last_error(status))) is not None:
                    with bar.aside():
                        logger.warning("%s", text)
                if status.phase in FINAL_PHASES or enough(status):
                    return status
    return None


@contextlib.contextmanager
def interruptible(study_name: str, trialbatch_name: str) -> Generator[None, None, None]:
    """Tell whoever presses Ctrl-C while waiting what goes on without them."""
    try:
        yield
    except KeyboardInterrupt:
        named = f"trialbatch_name={trialbatch_name!r}" if trialbatch_name else ""
        logger.warning(
            "No longer waiting. %s of study %r runs on. The study's wait(%s) waits again, in this "
            "script or in another one; cancel(%s) ends it.",
            f"Batch {trialbatch_name}" if trialbatch_name else "Every batch",
            study_name,
            named,
            named,
        )
        raise


@contextlib.contextmanager
def submitting(study_name: str) -> Generator[None, None, None]:
    """Tell whoever presses Ctrl-C while a batch is submitted that it may run all the same."""
    try:
        yield
    except KeyboardInterrupt:
        logger.warning(
            "Stopped while a batch of study %r was being submitted: it may run all the same. The "
            "study's get_status() tells, in this script or in another one; cancel() ends it.",
            study_name,
        )
        raise


async def watch(
    calls: Calls, trialbatch_name: str, timeout: float | None
) -> AsyncGenerator[v1.WatchTrialBatchResponse, None]:
    """Stream where a batch stands, first now and then on every change, until it is over.

    A stream that breaks, and a server that is started again, are followed by a new stream.

    Args:
        calls: The way to the server that runs the batch.
        trialbatch_name: Name of the batch.
        timeout: Seconds after which to end at the latest; None for no limit.

    Yields:
        Where the batch stands. The last one tells its end, unless the time was up before.

    Raises:
        RpcError: The server does not know the batch, or stayed out of reach.
    """
    request = v1.WatchTrialBatchRequest(trialbatch_name=trialbatch_name)
    end = time.monotonic() + (float("inf") if timeout is None else timeout)
    reached = time.monotonic()
    delay = 0.0
    while (left := end - time.monotonic()) > 0:
        try:
            async with calls.watch_trial_batch(
                request, timeout=min(left, config.WATCH_RENEWAL)
            ) as stream:
                async for response in stream:
                    reached, delay = time.monotonic(), 0.0
                    yield response
                    if response.status and response.status.phase in FINAL_PHASES:
                        return
        except (DeadlineExceededError, UnavailableError):
            # Every stream begins with a message: one that brought none did not reach the server.
            if time.monotonic() - reached > config.WATCH_PATIENCE:
                raise
        # Also after a stream that ended before its time: its server is being stopped.
        delay = min(max(2 * delay, 0.1), 5.0)
        await calls.sleep(max(0.0, min(delay, end - time.monotonic())))


def bar_wanted(show_progress_bar: bool | None) -> bool:  # noqa: FBT001 - the user's own argument
    """Decide whether to show a progress bar.

    Args:
        show_progress_bar: What the user said; None for nothing.

    Returns:
        What the user said, else whether somebody watches: at a terminal, or in a notebook.
    """
    if show_progress_bar is not None:
        return show_progress_bar
    # A notebook's shell has a kernel; IPython at a terminal has none.
    ipython: Any = sys.modules.get("IPython")
    if ipython is not None and hasattr(ipython.get_ipython(), "kernel"):
        return True
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):  # no stderr at all (pythonw), or a closed one
        return False


class Bar:
    """A tqdm bar of one batch; nothing where none is wanted."""

    def __init__(self, study_name: str, *, shown: bool) -> None:
        self._study_name = study_name
        self._shown = shown
        # tqdm is untyped.
        self._bar: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def update(self, response: v1.WatchTrialBatchResponse) -> None:
        """Show where the batch stands."""
        if not self._shown:
            return
        status = response.status or v1.TrialBatchStatus()
        if self._bar is None:
            self._bar = tqdm(total=status.count_total, desc=self._study_name, bar_format=BAR_FORMAT)
        if self._bar.total != status.count_total:
            # It ends early, with fewer trials than were asked for. A notebook's bar is told so by
            # a reset only, which would have its time begin anew.
            start = self._bar.start_t
            self._bar.reset(total=status.count_total)
            self._bar.start_t = start
        self._bar.n = status.count_completed
        self._bar.set_postfix(
            {
                **_best(response),
                "running": status.count_active,
                "failed": status.count_failed,
                **({"ended": status.stop_reason} if status.stop_reason else {}),
            }
        )

    @contextlib.contextmanager
    def aside(self) -> Generator[None, None, None]:
        """Let somebody else write to the terminal."""
        if self._bar is None:
            yield
            return
        self._bar.clear()
        try:
            yield
        finally:
            self._bar.refresh()


class Errors:
    """Knows which errors of a batch have been told."""

    def __init__(self, trialbatch_name: str) -> None:
        self._trialbatch_name = trialbatch_name
        self._told: set[str] = set()

    def news(self, error: str) -> str | None:
        """Give what is to be told about an error: once each, and not without end."""
        if not error or error in self._told or len(self._told) > MAX_ERRORS_TOLD:
            return None
        self._told.add(error)
        if len(self._told) > MAX_ERRORS_TOLD:
            return (
                f"Batch {self._trialbatch_name} has further errors, which are not shown: "
                "get_status()['last_error'] tells the newest."
            )
        return f"A trial of batch {self._trialbatch_name} failed:\n{error.rstrip()}"


def _best(response: v1.WatchTrialBatchResponse) -> dict[str, str]:
    if response.best_values:  # of several objectives, each on its own
        return {"best": f"({', '.join(f'{value:.6g}' for value in response.best_values)})"}
    best = None if response.best_trial is None else trial_value(response.best_trial)
    return {} if best is None else {"best": f"{best:.6g}"}


def _failed(status: v1.TrialBatchStatus, study_name: str) -> TrialBatchFailedError:
    error = last_error(status).rstrip()
    message = (
        f"Batch {status.trialbatch_name} of study {study_name!r} ended without one usable trial: "
        f"{status.count_failed} of {status.count_total} failed."
        + (f" It ended early: {status.stop_reason}." if status.stop_reason else "")
        + (f" The newest error:\n\n{error}" if error else "")
    )
    return TrialBatchFailedError(message, trialbatch_name=status.trialbatch_name, last_error=error)
