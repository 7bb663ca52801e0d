"""Lets mkdocstrings see what a class takes that is made by `__new__`."""

from __future__ import annotations

import griffe


class MadeByNew(griffe.Extension):
    """Shows the parameters of `__new__` where a class has no `__init__`."""

    def on_class(self, *, cls: griffe.Class, **_: object) -> None:
        """Griffe calls this for every class with its members."""
        made = cls.members.get("__new__")
        if isinstance(made, griffe.Function) and "__init__" not in cls.members:
            init = griffe.Function(
                "__init__", parameters=made.parameters, lineno=made.lineno, endlineno=made.endlineno
            )
            cls.set_member("__init__", init)
