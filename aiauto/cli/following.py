"""Waiting for a batch at a terminal, and what Ctrl-C says there."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from aiauto.cli.exits import fail
from aiauto.cli.output import note

if TYPE_CHECKING:
    from collections.abc import Generator

    from aiauto.connection import Connection

ProgressOption: TypeAlias = Annotated[
    bool | None,
    typer.Option("--progress/--no-progress", help="Show a progress bar. Default: at a terminal."),
]


@contextlib.contextmanager
def runs_on(trialbatch_name: str, *, said: bool = True) -> Generator[None, None, None]:
    """Tell whoever presses Ctrl-C that the batch runs on, and how to go on or to end it.

    Args:
        trialbatch_name: The batch.
        said: Whether there is something to say.
    """
    with _noting(
        f"Batch {trialbatch_name} runs on. `aiauto batch wait {trialbatch_name}` waits for it, "
        f"`aiauto batch logs -f {trialbatch_name}` shows what it prints, "
        f"`aiauto batch cancel {trialbatch_name}` ends it.",
        said=said,
    ):
        yield


@contextlib.contextmanager
def study_runs_on(study_name: str, *, said: bool = True) -> Generator[None, None, None]:
    """Tell whoever presses Ctrl-C that the batches of a study run on, and how to go on.

    Args:
        study_name: The study.
        said: Whether there is something to say.
    """
    with _noting(
        f"What runs of study {study_name} runs on. `aiauto study logs -f {study_name}` shows what "
        f"it prints, `aiauto batch list --study {study_name}` names its batches.",
        said=said,
    ):
        yield


@contextlib.contextmanager
def _noting(text: str, *, said: bool) -> Generator[None, None, None]:
    try:
        yield
    except KeyboardInterrupt:
        if said:
            note(f"\n{text}")
        raise


def follow(
    found: Connection,
    trialbatch_name: str,
    study_name: str,
    *,
    seconds: float | None,
    progress: bool | None,
) -> None:
    """Wait until a batch has ended; errors of its trials are told as they come.

    Args:
        found: The way to the server.
        trialbatch_name: The batch.
        study_name: Its study.
        seconds: How long to wait at most; None for no limit.
        progress: Whether to show a bar; None leaves it to the terminal.

    Raises:
        TrialBatchFailedError: It ended without one usable trial.
        typer.Exit: The time was up before, which has been said.
    """
    from aiauto.calls import BlockingCalls, finish  # noqa: PLC0415 - help needs none of it
    from aiauto.progress import bar_wanted  # noqa: PLC0415 - as above
    from aiauto.progress import follow as follow_batch  # noqa: PLC0415 - as above

    with runs_on(trialbatch_name):
        status = finish(
            follow_batch(
                BlockingCalls(found),
                trialbatch_name,
                study_name=study_name,
                enough=lambda _status: False,
                timeout=seconds,
                show_progress_bar=bar_wanted(progress),
            )
        )
    if status is None:
        raise fail(
            f"Batch {trialbatch_name} has not ended after {seconds:g} s. It runs on: "
            f"`aiauto batch wait {trialbatch_name}` waits again."
        )


def summary(record: dict[str, Any]) -> str:
    """The counts of a batch in words."""
    told = (
        f"{record['count_succeeded']} of {record['count_total']} trials succeeded, "
        f"{record['count_pruned']} pruned, {record['count_failed']} failed"
    )
    return told + (f" (ended by {record['stop_reason']})" if record["stop_reason"] else "")
