"""Completion indexes, and how a Job's status writes many of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.kubernetes.api.kinds import part

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.kubernetes.api.kinds import Object

INDEX: Final = "batch.kubernetes.io/job-completion-index"


def index_of(pod: Object) -> int | None:
    """The index of a Pod, if it has one."""
    written = part(pod["metadata"], "annotations").get(INDEX)
    return int(written) if written is not None and written.isdigit() else None


def read(text: str) -> set[int]:
    """The indexes that `1,3-5` means."""
    found: set[int] = set()
    for run in filter(None, text.split(",")):
        first, _, last = run.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return found


def write(indexes: Iterable[int]) -> str:
    """The indexes as `1,3-5`."""
    runs: list[list[int]] = []
    for index in sorted(indexes):
        if runs and index == runs[-1][-1] + 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    # Two in a row are written one by one.
    return ",".join(
        f"{run[0]}-{run[-1]}" if len(run) > 2 else ",".join(map(str, run)) for run in runs
    )
