"""What a program without logging of its own sees of this package, and one with it."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


SCRIPT = """
import aiauto

ac = aiauto.AIAutoController()

def objective(trial):
    aiauto.AIAutoController()  # a worker's lines are not told twice
    if trial.number == 1:
        raise ArithmeticError("on purpose")
    return 1.0

study = ac.create_study({name!r})
study.optimize(objective, 2, 1, wait_option="WAIT_ALL_TRIALS")
(batch,) = study.get_status()["trialbatches"]
print(batch)
print([line.text for line in study.logs(1)].count("ArithmeticError: on purpose"))
"""


@pytest.fixture
def run(embedded_environment: dict[str, str], study_name: str) -> Callable[..., tuple[str, str]]:
    def run(level: str | None, before: str = "") -> tuple[str, str]:
        given = {} if level is None else {"AIAUTO_LOG_LEVEL": level}
        done = subprocess.run(
            [sys.executable, "-c", before + SCRIPT.format(name=study_name)],
            env={**embedded_environment, **given},
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        batch, count = done.stdout.split()
        assert count == "1"
        return done.stderr, batch

    return run


@pytest.mark.parametrize("level", [None, "info", "ERROR", "loud"])
def test_a_program_that_sets_up_no_logging(
    run: Callable[..., tuple[str, str]], study_name: str, level: str | None
) -> None:
    told, batch = run(level)
    error = f"A trial of batch {batch} failed:\n"
    begun = f"Batch {batch} of study {study_name!r} has begun. Trials: 2, workers: 1.\n"
    ended = f"Batch {batch}: 2 of 2 trials have ended, 1 failed.\n"
    assert told.count(error) == (level != "ERROR")
    assert (told.count(begun), told.count(ended)) == ((1, 1) if level == "info" else (0, 0))
    refused = "AIAUTO_LOG_LEVEL is 'LOUD', and is not heeded"
    assert told.count(refused) == (level == "loud")
    if level == "ERROR":
        assert told == ""


def test_a_program_that_sets_up_logging(run: Callable[..., tuple[str, str]]) -> None:
    setup = "import logging\nlogging.basicConfig(format='%(name)s %(levelname)s', level='INFO')\n"
    told, _ = run("INFO", setup)
    assert [line for line in told.splitlines() if line.startswith("aiauto ")] == [
        "aiauto INFO",
        "aiauto WARNING",
        "aiauto INFO",
    ]
    assert "has begun" not in told
