"""Tests that are left out for want of what the machine was said to have are failures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.inner_runs import ROOT, run_pytest
from tests.needs import MISSING, VARIABLE

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.once

LEFT_OUT = """
import pytest
from tests.needs import MISSING


@pytest.mark.parametrize("name", MISSING)
def test_inside(name: str) -> None:
    pytest.skip(MISSING[name][0])


@pytest.mark.skipif(True, reason=MISSING["cgroups"][0])
def test_before_it_begins() -> None: ...


def test_of_another_kind() -> None:
    pytest.skip("another reason")
"""


@pytest.mark.parametrize(
    ("required", "failed"), [("", 0), ("cgroups", 2), (",".join(MISSING), len(MISSING) + 1)]
)
def test_what_is_required(tmp_path: Path, required: str, failed: int) -> None:
    (tmp_path / "conftest.py").write_text("from tests.conftest import pytest_runtest_makereport\n")
    (tmp_path / "test_left_out.py").write_text(LEFT_OUT)
    done = run_pytest(str(tmp_path), **{VARIABLE: required})
    assert done.returncode == (1 if failed else 0), done.stdout + done.stderr
    assert f"{len(MISSING) + 2 - failed} skipped" in done.stdout
    assert done.stdout.count(f"{VARIABLE} says that this machine has") >= failed


def test_tests_say_what_is_missing_in_these_words() -> None:
    folders = (ROOT / "tests").rglob("*.py")
    words = "\n".join(one.read_text(encoding="utf-8") for one in folders if "needs" not in one.name)
    assert [said for of_one in MISSING.values() for said in of_one if said not in words] == []
