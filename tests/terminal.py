"""A real terminal of some width, and what a program prints there."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

CTRL_C = b"\x03"
SILENT_SECONDS = 10.0

# Ctrl-C reaches it as it does at a shell, and it may ask for passwords: the terminal is that of its
# session.
CONTROLLED = """\
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""


def shown(
    command: Sequence[str | Path],
    *,
    columns: int,
    lines: int,
    environment: Mapping[str, str] = os.environ,
    answers: Sequence[tuple[str, str]] = (),
    code: int = 0,
) -> str:
    """Run a program at a terminal.

    Args:
        command: The program and its arguments.
        columns: Width of the terminal.
        lines: Its height.
        environment: The program's variables, but for what tells of another terminal.
        answers: What it asks in turn, and what is typed then.
        code: The exit code that it shall end with.

    Returns:
        What it printed, with whatever colours it used.

    Raises:
        RuntimeError: It ended in another way, or asked for nothing of the kind.
    """
    told = {name: value for name, value in environment.items() if name not in {"COLUMNS", "LINES"}}
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-c", CONTROLLED, *command],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        env={**told, "TERM": "xterm-256color"},
    )
    os.close(theirs)
    printed = b""
    questions = [(question.encode(), answer.encode()) for question, answer in answers]
    answered, typed = 0, b""
    while (part := _next(ours)) != b"":
        if part is None:
            # A signal that comes just before Python waits is heard only after that: a person would
            # type it once more.
            if typed == CTRL_C:
                os.write(ours, typed)
            continue
        printed += part
        if questions and questions[0][0] in printed[answered:]:
            answered = len(printed)
            _, typed = questions.pop(0)
            os.write(ours, typed)
    os.close(ours)
    text = printed.decode().replace("\r\n", "\n")
    if process.wait() != code or questions:
        raise RuntimeError(f"{command} ended with {process.returncode}: {text}")
    return text


def _next(terminal: int) -> bytes | None:
    """What comes next; None where nothing does for a while.

    Nothing once the program has ended, which Linux tells by an error.
    """
    if not select.select([terminal], [], [], SILENT_SECONDS)[0]:
        return None
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""
