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
from aiauto.status import FINAL_PHASES, last_error, trial_value

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from aiauto_gen.aiauto.v1.connect import ProgressServiceClientSync
    from typing_extensions import Self

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


def follow(
    client: ProgressServiceClientSync,
    trialbatch_name: str,
    *,
    study_name: str,
    enough: Callable[[v1.TrialBatchStatus], bool],
    timeout: float | None,
    show_progress_bar: bool,
) -> v1.TrialBatchStatus | None:
    """Wait for a batch, and tell what happens to it meanwhile.

    Args:
        client: Client of the server that runs the batch.
        trialbatch_name: Name of the batch.
        study_name: Name of its study, for people to read.
        enough: Tells from a status whether to wait on; it is not asked once the batch is over.
        timeout: Seconds to wait at most; None for no limit.
        show_progress_bar: Whether to show one.

    Returns:
        The status that was enough or ended the batch; None where the time was up before.

    Raises:
        TrialBatchFailedError: The batch ended without one usable trial.
        RpcError: The server does not know the batch, or stayed out of reach.
    """
    errors = Errors(trialbatch_name)
    try:
        with (
            Bar(study_name, shown=show_progress_bar) as bar,
            contextlib.closing(watch(client, trialbatch_name, timeout)) as responses,
        ):
            for response in responses:
                status = response.status or v1.TrialBatchStatus()
                bar.update(status, response.best_trial)
                if status.phase == "Failed":
                    raise _failed(status, study_name)
                if (text := errors.news(last_error(status))) is not None:
                    with bar.aside():
                        logger.warning("%s", text)
                if status.phase in FINAL_PHASES or enough(status):
                    return status
    except KeyboardInterrupt:
        logger.warning(
            "No longer waiting. Batch %(batch)s of study %(study)s runs on: "
            "wait(trialbatch_name=%(batch)r) of the study waits for it again, get_status() tells "
            "how it is doing.",
            {"batch": trialbatch_name, "study": study_name},
        )
        raise
    return None


def watch(
    client: ProgressServiceClientSync, trialbatch_name: str, timeout: float | None
) -> Generator[v1.WatchTrialBatchResponse, None, None]:
    """Stream where a batch stands, first now and then on every change, until it is over.

    A stream that breaks, and a server that is started again, are followed by a new stream.

    Args:
        client: Client of the server that runs the batch.
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
            with client.watch_trial_batch(
                request, timeout=min(left, config.WATCH_RENEWAL)
            ) as stream:
                for response in stream:
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
        time.sleep(max(0.0, min(delay, end - time.monotonic())))


def bar_wanted(show_progress_bar: bool | None) -> bool:  # noqa: FBT001 - the user's own argument
    """Decide whether to show a progress bar.

    Args:
        show_progress_bar: What the user said; None for nothing.

    Returns:
        What the user said, else whether somebody watches: at a terminal, or in a notebook.
    """
    if show_progress_bar is not None:
        return show_progress_bar
    if "ipykernel" in sys.modules:
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

    def update(self, status: v1.TrialBatchStatus, best_trial: v1.TrialInfo | None) -> None:
        """Show where the batch stands."""
        if not self._shown:
            return
        if self._bar is None:
            self._bar = tqdm(total=status.count_total, desc=self._study_name, bar_format=BAR_FORMAT)
        best = None if best_trial is None else trial_value(best_trial)
        self._bar.n = status.count_completed
        self._bar.set_postfix(
            {
                **({} if best is None else {"best": f"{best:.6g}"}),
                "running": status.count_active,
                "failed": status.count_failed,
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


def _failed(status: v1.TrialBatchStatus, study_name: str) -> TrialBatchFailedError:
    error = last_error(status).rstrip()
    message = (
        f"Batch {status.trialbatch_name} of study {study_name!r} ended without one usable trial: "
        f"{status.count_failed} of {status.count_total} failed."
        + (f" The newest error:\n\n{error}" if error else "")
    )
    return TrialBatchFailedError(message, trialbatch_name=status.trialbatch_name, last_error=error)
