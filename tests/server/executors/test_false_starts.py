"""Workers that never get to a trial: which of them are no fault of the batch, and what follows."""

from __future__ import annotations

import errno
import signal

import pytest

from aiauto.runner.worker import Exit
from aiauto.server.executors.false_starts import (
    LONGEST_PAUSE_SECONDS,
    MAX_EXITS,
    MAX_PAUSES,
    FalseStarts,
    may_pass,
    may_start_later,
)


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def starts(clock: Clock) -> FalseStarts:
    return FalseStarts(clock)


def test_those_that_end_by_themselves_are_soon_enough(starts: FalseStarts) -> None:
    for _ in range(MAX_EXITS - 1):
        starts.note("It ended.", is_passing=False)
        assert (starts.verdict, starts.pause) == ("", 0)
    # One that is killed in between says nothing about them.
    starts.note("It was killed.", is_passing=True)
    assert starts.verdict == ""
    starts.note("It ended again.", is_passing=False)
    assert starts.verdict == (
        "3 workers in a row ended before they could run a trial. The last one: It ended again."
    )
    # Where another worker runs trials, the batch goes on, and this one is tried again at times.
    assert starts.pause > 0


def test_pauses_grow_and_end(starts: FalseStarts, clock: Clock) -> None:
    pauses: list[float] = []
    while not starts.verdict:
        starts.note("It was killed.", is_passing=True)
        pause = starts.pause
        starts.note("So was another one, with it.", is_passing=True)
        assert starts.pause == pause
        assert starts.waits_for.endswith("So was another one, with it.")
        pauses.append(pause)
        clock.time += pause
        assert starts.pause == 0
    assert pauses[:4] == [1, 2, 4, 8]
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE_SECONDS
    assert len(pauses) == MAX_PAUSES + 1
    assert "In 30 attempts, ever longer apart" in starts.verdict


def test_a_trial_makes_up_for_it(starts: FalseStarts) -> None:
    for _ in range(MAX_EXITS):
        starts.note("It ended.", is_passing=False)
    starts.forget()
    assert (starts.verdict, starts.pause) == ("", 0)


@pytest.mark.parametrize(
    ("exit_code", "expected"),
    [
        (-signal.SIGKILL, True),
        (-signal.SIGTERM, True),
        (-signal.SIGHUP, True),
        (-64, True),
        (-signal.SIGSEGV, False),
        (-signal.SIGABRT, False),
        (Exit.STOPPED, True),
        (Exit.SERVER_LOST, True),
        (Exit.CANT_RUN, False),
        (Exit.DONE, False),
        (7, False),
        (None, True),
    ],
)
def test_who_was_killed(exit_code: int | None, *, expected: bool) -> None:
    assert may_pass(exit_code) == expected


def test_what_may_be_started_later() -> None:
    assert may_start_later(OSError(errno.ENOSPC, "No space left on device"))
    assert may_start_later(ConnectionResetError("the process that forks workers is gone"))
    assert not may_start_later(ChildProcessError("it ended at once"))
    assert not may_start_later(FileNotFoundError(errno.ENOENT, "No such file or directory"))
