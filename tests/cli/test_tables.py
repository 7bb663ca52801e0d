"""What people see at a terminal: a real one, of the width that terminals have."""

from __future__ import annotations

import datetime
import os
import re
from typing import TYPE_CHECKING

from aiauto.cli.output import local_time
from tests import terminal
from tests.cli.conftest import PROGRAM

if TYPE_CHECKING:
    import aiauto
    from tests.cli.conftest import Aiauto


def at_a_terminal(cli: Aiauto, *arguments: str, columns: int) -> str:
    """What the command prints there, without colours."""
    environment = {**os.environ, **cli.environment, "NO_COLOR": "1"}
    text = terminal.shown(
        [*PROGRAM, *arguments], columns=columns, lines=40, environment=environment
    )
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)


def test_studies(cli: Aiauto, done: aiauto.StudyWrapper) -> None:
    """On 80 columns a name is in one piece, and the time is short and by the clock here."""
    created = next(
        one["created_at"]
        for one in cli.json("study", "list")
        if one["study_name"] == done.study_name
    )
    shown = at_a_terminal(cli, "study", "list", columns=80)
    assert re.search(rf"^ *{re.escape(done.study_name)} ", shown, re.MULTILINE), shown
    assert created not in shown
    wide = at_a_terminal(cli, "study", "list", columns=300)
    assert local_time(created) in wide


def test_times_are_by_the_clock_here() -> None:
    moment = "2026-11-28T15:04:59.123Z"
    expected = datetime.datetime(2026, 11, 28, 15, 4, tzinfo=datetime.timezone.utc).astimezone()
    assert local_time(moment) == f"{expected:%Y-%m-%d %H:%M}"
    assert local_time("2026-11-28T15:04:59+00:00") == f"{expected:%Y-%m-%d %H:%M}"


def test_tokens_without_an_end(cli: Aiauto) -> None:
    """A token that lasts for ever has no time to show."""
    assert "created_at" in at_a_terminal(cli, "token", "list", columns=300)
