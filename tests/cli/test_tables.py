"""What people see at a terminal: a real one, of the width that terminals have."""

from __future__ import annotations

import datetime
import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from typing import TYPE_CHECKING

from aiauto.cli.output import local_time
from tests.cli.conftest import PROGRAM

if TYPE_CHECKING:
    import aiauto
    from tests.cli.conftest import Aiauto


def at_a_terminal(cli: Aiauto, *arguments: str, columns: int) -> str:
    """What the command prints there."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {**os.environ, **cli.environment, "TERM": "xterm-256color", "NO_COLOR": "1"}
    for name in ("COLUMNS", "LINES"):  # would count for more than the terminal
        environment.pop(name, None)
    with subprocess.Popen(
        [*PROGRAM, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    ):
        os.close(theirs)
        parts: list[bytes] = []
        while part := _next(ours):
            parts.append(part)
    os.close(ours)
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", b"".join(parts).decode())


def _next(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # how Linux says that the program has closed its end
        return b""


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
