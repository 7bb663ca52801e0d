"""Functions that are written and compiled when they are first needed, one for each message class.

A loop over the fields of a class takes longer to find out what to do with each of them than to do
it. What does not change from message to message is found out once, and becomes plain code.
"""

from __future__ import annotations

import textwrap
from typing import Any

__all__ = ["Source"]


class Source:
    """The source of a function, to which lines are added.

    Args:
        head: Its first line, `def f(a, b):`.
        names: What the code may use by name, besides Python's builtins.
    """

    def __init__(self, head: str, **names: object) -> None:
        self._head = head
        self._names = names
        self._lines = [head]

    def name(self, value: object) -> str:
        """Gives a value a name of its own for the code to use."""
        name = f"value_{len(self._names)}"
        self._names[name] = value
        return name

    def add(self, depth: int, code: str) -> None:
        """Adds lines, indented by so many steps."""
        self._lines.append(textwrap.indent(textwrap.dedent(code).strip("\n"), "    " * depth))

    def compile(self, where: str) -> Any:  # noqa: ANN401 - whatever it does
        """The function.

        Args:
            where: What a traceback calls the place.
        """
        text = "\n".join(self._lines)
        # All that goes into the text are numbers and names of fields, those as `repr` has them.
        exec(compile(text, f"<{where}>", "exec"), self._names)  # noqa: S102
        return self._names[self._head.removeprefix("def ").partition("(")[0]]
