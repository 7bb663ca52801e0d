"""What an objective is made of, part by part: so that an error names the one that is to blame."""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
from types import FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from aiauto import local_code
from aiauto.local_modules import is_local

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import CodeType

__all__ = ["Part", "biggest", "culprit"]

MAX_DEPTH = 12
ARROW = " -> "


class Part(NamedTuple):
    """A part of an objective.

    Attributes:
        path: The way to it, for example ``objective -> helper -> sock``.
        name: Its own name there.
        value: The part.
    """

    path: str
    name: str
    value: object

    def __str__(self) -> str:
        """Name the part, its type, and the way to it."""
        kind = type(self.value).__name__
        return f"`{self.name}` ({'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}; {self.path})"


def culprit(value: object) -> Part | None:
    """Find what can't be pickled, by trying one part after another.

    Args:
        value: What can't be pickled as a whole.

    Returns:
        The innermost part that can't; None where all of them can.
    """
    steps: list[str] = [_name_of(value)]
    leaf = value
    seen = {id(value)}
    while len(steps) <= MAX_DEPTH:
        for label, part in _parts(leaf):
            if id(part) not in seen and local_code.problem(part) is not None:
                seen.add(id(part))
                steps.append(label)
                leaf = part
                break
        else:
            break
    return _part(steps, leaf)


def biggest(value: object, least: int) -> tuple[Part, int] | None:
    """Find what takes the most when it is pickled.

    Args:
        value: What takes too much as a whole.
        least: Bytes that a part must take to be named.

    Returns:
        The innermost part that takes so much, and how much; None where many small ones do.
    """
    steps: list[str] = [_name_of(value)]
    leaf, size = value, 0
    while len(steps) <= MAX_DEPTH and not isinstance(leaf, (str, bytes, bytearray)):
        sizes = [(_size(part), place) for place, (_, part) in enumerate(_parts(leaf))]
        inner, place = max(sizes, default=(0, 0))
        if inner < least:
            break
        label, leaf = list(_parts(leaf))[place]
        steps.append(label)
        size = inner
    part = _part(steps, leaf)
    return None if part is None else (part, size)


def _part(steps: list[str], leaf: object) -> Part | None:
    if len(steps) < 2:
        return None
    return Part(ARROW.join(steps), steps[-1], leaf)


def _name_of(value: object) -> str:
    name: object = getattr(value, "__name__", "")
    return name if isinstance(name, str) and name.isidentifier() else "objective"


def _size(value: object) -> int:
    try:
        return len(local_code.dumps(value))
    except Exception:  # noqa: BLE001 - what can't be pickled alone has no size of its own
        return 0


def _parts(whole: object) -> Iterator[tuple[str, object]]:
    """What a value is made of, each part with a name for it."""
    value: Any = whole
    cls = type(whole)
    if isinstance(whole, functools.partial):
        yield _name_of(value.func), value.func
        yield from ((f"argument {place}", one) for place, one in enumerate(value.args))
        yield from ((f"argument {name}", one) for name, one in value.keywords.items())
    elif isinstance(whole, MethodType):
        yield f"{type(value.__self__).__name__} object", value.__self__
        yield value.__func__.__name__, value.__func__
    elif isinstance(whole, FunctionType):
        yield from _variables(whole)
    elif isinstance(whole, dict):
        yield from ((f"[{key!r}]", one) for key, one in value.items())
    elif isinstance(whole, (list, tuple, set, frozenset)):
        yield from ((f"[{place}]", one) for place, one in enumerate(value))
    elif isinstance(whole, (ModuleType, type)):
        yield from _members(whole)
    else:
        attributes: Mapping[str, object] = getattr(value, "__dict__", {})
        yield from _named(attributes, f"{cls.__name__}.")
        yield from _members(cls)


def _members(value: ModuleType | type) -> Iterator[tuple[str, object]]:
    """The variables of a module or class, where it travels by value."""
    module = value if isinstance(value, ModuleType) else sys.modules.get(value.__module__)
    if module is None or module.__name__ == "__main__" or is_local(module):
        yield from _named(vars(value), f"{value.__name__}.")


def _named(variables: Mapping[str, object], prefix: str) -> Iterator[tuple[str, object]]:
    for name, one in list(variables.items()):
        if name not in local_code.MACHINERY and name not in {"__dict__", "__weakref__"}:
            yield f"{prefix}{name}", one


def _variables(function: FunctionType) -> Iterator[tuple[str, object]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        with contextlib.suppress(ValueError):  # not assigned yet
            yield name, cell.cell_contents
    for name in dict.fromkeys(_global_names(function.__code__)):
        if name in function.__globals__:
            yield name, function.__globals__[name]
    arguments = function.__code__.co_varnames[: function.__code__.co_argcount]
    defaults = function.__defaults__ or ()
    for name, one in zip(arguments[len(arguments) - len(defaults) :], defaults, strict=True):
        yield f"default of {name}", one
    for name, one in (function.__kwdefaults__ or {}).items():
        yield f"default of {name}", one


def _global_names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if inspect.iscode(constant):
            yield from _global_names(constant)
