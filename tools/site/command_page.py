"""The reference of the `aiauto` command, as Typer tells it."""

from __future__ import annotations

import html
import re
import subprocess
import sys

CODE = re.compile(r"`[^`\n]+`")
OPENING = """\
What `aiauto` and its commands take, in the words of their `--help`.
"""


def command_page() -> str:
    """Give the page as Markdown.

    Raises:
        subprocess.CalledProcessError: Typer can't read the command.
    """
    told = subprocess.run(
        [sys.executable, "-m", "typer", "aiauto.cli", "utils", "docs", "--name", "aiauto"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    # Typer escapes everything for HTML, code too, where Markdown escapes it once more.
    told = CODE.sub(lambda found: html.unescape(found.group()), told)
    return told.replace("# `aiauto`\n", f"# Command line\n\n{OPENING}", 1)
