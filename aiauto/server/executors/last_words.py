"""The last that a worker printed, cut to what tells how it ended."""

from __future__ import annotations

import re
from typing import Final

LINES: Final = 30
# What came before a dump says what the objective was at.
_LINES_BEFORE: Final = 10
_CHARACTERS: Final = 8 * 1024

# What Python's faulthandler prints where a process dies of a signal, if that is the last of all.
# Source: https://docs.python.org/3/library/faulthandler.html
_DUMP: Final = re.compile(
    r"^Fatal Python error: .*(?:\n(?:"
    r"(?:Python runtime state|Thread |Current thread|Stack |Extension modules|<|  ).*"
    r")?)*\Z",
    re.MULTILINE,
)
_ANY_THREAD: Final = ("Thread ", "Current thread ", "Stack ")
_DYING_THREAD: Final = ("Current thread 0x", "Stack ")


def last_words(printed: str) -> str:
    """What of a worker's output says how it ended.

    That is its end, for tracebacks have the latest call last. The dump of a crash has it first,
    before the stack of C code and the names of all extension modules, which can take many thousands
    of characters: of a dump, the Python stack alone is told, from its beginning.

    Args:
        printed: The output, or the last of it.

    Returns:
        A few dozen lines at most; empty if nothing was printed.
    """
    if dump := _DUMP.search(printed):
        before = printed[: dump.start()].splitlines()[-_LINES_BEFORE:]
        lines = [*before, *_python_stack(dump.group())[:LINES]]
        return "\n".join(lines).strip()[:_CHARACTERS]
    return "\n".join(printed.splitlines()[-LINES:]).strip()[-_CHARACTERS:]


def _python_stack(dump: str) -> list[str]:
    """The first line of a dump, and the stack of the thread that died; of all if none is named."""
    title, *rest = dump.split("\n\n")
    dying = [part for part in rest if part.startswith(_DYING_THREAD)]
    stacks = dying or [part for part in rest if part.startswith(_ANY_THREAD)]
    return "\n\n".join([title, *stacks]).splitlines()
