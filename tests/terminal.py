"""A real terminal of some width, and what a program prints there."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import termios
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


def shown(
    command: Sequence[str | Path],
    *,
    columns: int,
    lines: int,
    environment: Mapping[str, str] = os.environ,
) -> str:
    """Run a program at a terminal.

    Args:
        command: The program and its arguments.
        columns: Width of the terminal.
        lines: Its height.
        environment: The program's variables, but for what tells of another terminal.

    Returns:
        What it printed, with whatever colours it used.

    Raises:
        RuntimeError: It failed.
    """
    told = {name: value for name, value in environment.items() if name not in {"COLUMNS", "LINES"}}
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    process = subprocess.Popen(
        command,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**told, "TERM": "xterm-256color"},
    )
    os.close(theirs)
    parts: list[bytes] = []
    while part := _next(ours):
        parts.append(part)
    os.close(ours)
    text = b"".join(parts).decode().replace("\r\n", "\n")
    if process.wait():
        raise RuntimeError(f"{command} failed: {text}")
    return text


def _next(terminal: int) -> bytes:
    """What comes next; nothing once the program has ended, which Linux tells by an error."""
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""
