"""Faults happen in as many rounds as one asks for, each at moments of its own, and are counted."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.inner_runs import run_pytest

HERE = Path(__file__).parent

pytestmark = pytest.mark.once


def run(*arguments: str) -> str:
    done = run_pytest(*arguments, AIAUTO_FAULT_ROUNDS="3", AIAUTO_FAULT_SEED="a-seed")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_fault_has_its_rounds() -> None:
    found = re.findall(
        r"^(\S+)::(\w+)(?:\[(.*)\])?$", run("--collect-only", str(HERE)), re.MULTILINE
    )
    of_each = Counter((file, name, re.sub(r"-?\d+$", "", which)) for file, name, which in found)
    once = {name for (_, name, _), count in of_each.items() if count != 3}
    # These are no faults, or strike at one moment alone.
    assert once == {
        "test_a_limit_that_is_too_low_to_begin_with_ends_the_batch",
        "test_every_fault_has_its_rounds",
        "test_rounds_are_counted_and_differ",
        "test_workers_that_end_while_it_is_away_have_ended_although_their_batch_was_over",
    }
    assert len(of_each) > 25


ROUNDS = """
import random
from collections.abc import Callable
from tests.faults import rounds


@rounds.every_round
def test_a_fault(record_property: Callable[[str, object], None], number: int) -> None:
    chance = rounds.chance(record_property)
    print("drawn", chance.random())
"""


def test_rounds_are_counted_and_differ(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text("from tests.conftest import pytest_terminal_summary\n")
    (tmp_path / "test_drawn.py").write_text(ROUNDS)
    shown = [run("-rP", str(tmp_path / "test_drawn.py")) for _ in range(2)]
    drawn = [re.findall(r"^drawn (\S+)$", text, re.MULTILINE) for text in shown]
    assert len(set(drawn[0])) == 3
    # The same seed gives the same moments.
    assert drawn[0] == drawn[1]
    assert "3 rounds of faults, AIAUTO_FAULT_SEED=a-seed:\n     3 test_a_fault\n" in shown[0]
