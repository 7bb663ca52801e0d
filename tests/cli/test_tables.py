"""What people see at a terminal: a real one, of the width that terminals have."""

from __future__ import annotations

import datetime
import re
from typing import TYPE_CHECKING

import pytest

from aiauto.cli.output import local_time

if TYPE_CHECKING:
    from pathlib import Path

    import aiauto
    from tests.cli.conftest import Aiauto


def test_studies(cli: Aiauto, done: aiauto.StudyWrapper) -> None:
    """On 80 columns a name is in one piece, and the time is short and by the clock here."""
    created = next(
        one["created_at"]
        for one in cli.json("study", "list")
        if one["study_name"] == done.study_name
    )
    shown = cli.at_a_terminal("study", "list", columns=80)
    assert re.search(rf"^ *{re.escape(done.study_name)} ", shown, re.MULTILINE), shown
    assert created not in shown
    wide = cli.at_a_terminal("study", "list", columns=300)
    assert local_time(created) in wide


@pytest.mark.once
def test_other_lists(cli: Aiauto, done: aiauto.StudyWrapper, tmp_path: Path) -> None:
    """Each as a table, with sizes and numbers that people read."""
    file = tmp_path / "table.bin"
    file.write_bytes(bytes(3 * 512))
    cli("cache", "upload", file, "--to", "tables")
    (batch,) = cli.json("batch", "list", "--study", done.study_name)
    name = done.study_name
    best = done.best_trial
    for command, cells in (
        (("study", "trials", name), ["number", "COMPLETE", f"x={best.params['x']:.6g}"]),
        (("batch", "list"), [batch["trialbatch_name"], local_time(batch["created_at"])]),
        (("cache", "list"), ["tables/table.bin", "1.5 KiB"]),
        (("artifact", "list", name), ["note.txt", "4 B"]),
        (("workspace", "list"), ["500.0 MiB", "Running"]),
    ):
        shown = cli.at_a_terminal(*command, columns=200)
        assert "─" in shown, command
        for cell in cells:
            assert re.search(rf"(^|\s){re.escape(cell)}(\s|$)", shown), (command, cell, shown)
        assert "\t" not in shown, command
    cli("cache", "delete", "tables", "--yes")


@pytest.mark.once
def test_facts_and_what_is_not_there(
    cli: Aiauto, controller: aiauto.AIAutoController, study_name: str, done: aiauto.StudyWrapper
) -> None:
    """Facts stand in two columns, and where there is nothing a sentence says so."""
    shown = cli.at_a_terminal("study", "show", done.study_name).splitlines()
    assert f"study       {done.study_name}" in shown
    assert "succeeded   3" in shown
    controller.create_study(study_name)
    told = cli.at_a_terminal("study", "trials", study_name)
    assert told == "There are no such trials.\n"


def test_times_are_by_the_clock_here() -> None:
    moment = "2026-11-28T15:04:59.123Z"
    expected = datetime.datetime(2026, 11, 28, 15, 4, tzinfo=datetime.timezone.utc).astimezone()
    assert local_time(moment) == f"{expected:%Y-%m-%d %H:%M}"
    assert local_time("2026-11-28T15:04:59+00:00") == f"{expected:%Y-%m-%d %H:%M}"


def test_tokens_without_an_end(cli: Aiauto) -> None:
    """A token that lasts for ever has no time to show."""
    assert "created_at" in cli.at_a_terminal("token", "list", columns=300)
