"""The reference of the errors: which derives from which, and what each means."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiauto import errors

if TYPE_CHECKING:
    from collections.abc import Iterator

OPENING = """\
# Errors

Everything that aiauto raises on purpose derives from `AIAutoError`. Where Python has a class of its
own for it, it is that, too: `except ValueError` catches an argument that has an impossible value.
Every one of them survives `pickle`, so it can cross processes with all that it carries.
"""
OF_CALLS = "What a server answered. Each has a `code`, a `message` and `details`."


def errors_page() -> str:
    """Give the page as Markdown."""
    of_calls = [error for error in known() if issubclass(error, errors.RpcError)]
    others = [error for error in known() if error not in of_calls]
    lines = [OPENING, "```", *tree(errors.AIAutoError), "```", "", "## Of the package", ""]
    for error in others:
        lines += reference(error.__name__, members=False)
    lines += ["## Of calls", "", OF_CALLS, ""]
    for error in of_calls:
        lines += reference(error.__name__, members=error is errors.RpcError)
    for name in ("Code", "AIAutoRpcError"):
        lines += reference(name, members=True)
    return "\n".join(lines)


def known() -> list[type[BaseException]]:
    """The errors of the package, each behind what it derives from."""
    found = {getattr(errors, name) for name in errors.__all__}
    classes = [one for one in found if isinstance(one, type) and issubclass(one, Exception)]
    return sorted(classes, key=lambda one: (len(one.__mro__), one.__name__))


def tree(error: type[BaseException], before: str = "", behind: str = "") -> Iterator[str]:
    """Draw what derives from an error."""
    theirs = [one for one in known() if one.__bases__[0] is error]
    also = [base.__name__ for base in error.__bases__[1:]]
    yield before + error.__name__ + (f" (also a {' and a '.join(also)})" if also else "")
    for one in theirs:
        last = one is theirs[-1]
        yield from tree(
            one,
            behind + ("└── " if last else "├── "),
            behind + ("    " if last else "│   "),
        )


def reference(name: str, *, members: bool) -> Iterator[str]:
    """What mkdocstrings replaces by the docstring of an error."""
    yield f"::: aiauto.{name}"
    yield "    options:"
    yield "      heading_level: 3"
    yield "      merge_init_into_class: false"
    if not members:
        yield "      members: false"
        yield "      inherited_members: false"
    yield ""
