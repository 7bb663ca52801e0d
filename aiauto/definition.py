"""Says in a few words what an object is, equally for equal objects.

Pickles don't: they tell apart equal strings by where they came from, and hold names of temporary
files. A sampler that is given again in another run of the same script must be known again.
"""

from __future__ import annotations

import enum
import functools
import hashlib
import inspect
import json
import sys
import textwrap
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from aiauto import streams
from aiauto.local_modules import is_local

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["digest"]

PLAIN = (str, int, float, complex, bool, bytes, type(None), type(Ellipsis))
REDUCE_PROTOCOL = 4


def digest(value: object) -> str:
    """Give a text that is equal for equal values, in other processes too.

    Args:
        value: Anything that can be pickled.

    Returns:
        64 hexadecimal digits.
    """
    text = json.dumps(_Description().of(value), separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


class _Description:
    """Describes values as JSON. One object a description: it knows what it has met."""

    def __init__(self) -> None:
        self._met: dict[int, tuple[int, object]] = {}

    def of(self, value: object) -> Any:  # noqa: ANN401 - JSON
        if isinstance(value, enum.Enum):
            return ["enum", type(value).__qualname__, value.name]
        if type(value) in PLAIN:
            return [type(value).__name__, repr(value)]
        if id(value) in self._met:
            return ["again", self._met[id(value)][0]]
        # Kept as well, lest another object get its id.
        self._met[id(value)] = (len(self._met), value)
        return self._of_new(value)

    def _of_new(self, given: object) -> Any:  # noqa: ANN401, C901, PLR0911 - one a kind
        value: Any = given
        kind: str = type(value).__qualname__
        if isinstance(given, ModuleType):
            return ["module", value.__name__]
        if isinstance(given, type):
            return ["class", *self._of_class(given)]
        if isinstance(given, FunctionType):
            return ["function", *self._of_function(given)]
        if isinstance(given, MethodType):
            return ["method", value.__func__.__qualname__, self.of(value.__self__)]
        if isinstance(given, BuiltinFunctionType):
            return ["builtin", value.__module__, value.__qualname__]
        if isinstance(given, functools.partial):
            return ["partial", self.of(value.func), self.of(value.args), self.of(value.keywords)]
        if isinstance(given, (list, tuple)):
            return [kind, *(self.of(one) for one in value)]
        if isinstance(given, (set, frozenset)):
            texts = (json.dumps(self.of(one)) for one in value)
            return [kind, *sorted(texts)]
        if isinstance(given, streams.GENERATORS):
            return ["generator", self.of(streams.state_of(given))]
        if type(given) is dict:
            return ["dict", *([self.of(key), self.of(one)] for key, one in value.items())]
        return ["object", *self._of_object(value)]

    def _of_object(self, value: object) -> Iterator[Any]:
        """An object is what it takes to make it anew."""
        cls: Any = type(value)
        yield self.of(cls)
        if isinstance(value, np.ndarray):
            array = cast("Any", value)
            yield [str(array.dtype), array.shape, array.tobytes().hex()]
            return
        try:
            reduced: Any = value.__reduce_ex__(REDUCE_PROTOCOL)
        except Exception:  # noqa: BLE001 - whatever it raises: its class must do
            return
        if isinstance(reduced, str):
            yield reduced
            return
        for part in reduced:
            yield self.of(list(part) if hasattr(part, "__next__") else part)

    def _of_function(self, function: FunctionType) -> Iterator[Any]:
        yield function.__module__ if _is_installed(function.__module__) else ""
        yield function.__qualname__
        if _is_installed(function.__module__):
            return
        yield self._of_code(function.__code__)
        yield self.of(function.__defaults__)
        yield self.of(function.__kwdefaults__)
        for cell in function.__closure__ or ():
            try:
                yield self.of(cell.cell_contents)
            except ValueError:  # not assigned yet
                yield None
        names = sorted(set(_names(function.__code__)) & set(function.__globals__))
        for name in names:
            yield [name, self.of(function.__globals__[name])]

    def _of_class(self, cls: type) -> Iterator[Any]:
        yield cls.__module__ if _is_installed(cls.__module__) else ""
        yield cls.__qualname__
        if _is_installed(cls.__module__):
            return
        try:
            yield textwrap.dedent(inspect.getsource(cls))
        except (OSError, TypeError, SyntaxError):
            for name, one in sorted(vars(cls).items()):
                if not name.startswith("__") or isinstance(one, FunctionType):
                    yield [name, self.of(one)]
        yield [self.of(base) for base in cls.__bases__]

    def _of_code(self, code: CodeType) -> Any:  # noqa: ANN401 - JSON
        """Code without its place: where it stands does not matter."""
        constants = [
            self._of_code(one) if isinstance(one, CodeType) else self.of(one)
            for one in code.co_consts
        ]
        return [code.co_code.hex(), constants, *code.co_names, *code.co_varnames]


def _is_installed(module: str | None) -> bool:
    found = sys.modules.get(module or "")
    return found is not None and found.__name__ != "__main__" and not is_local(found)


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
