"""Local code as it arrives on a worker, where it is installed nowhere.

What `aiauto.local_code` writes calls these functions when it is loaded.
"""

from __future__ import annotations

import importlib
import importlib.util
import linecache
import sys
from collections.abc import Mapping
from importlib.abc import InspectLoader, MetaPathFinder
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import CodeType

__all__ = [
    "ModuleState",
    "Source",
    "arrive",
    "fill_module",
    "new_code",
    "new_module",
    "parts",
    "unwrap",
]

parts: Final[dict[str, dict[str, object]]] = {}
"""Functions and classes of modules that did not come as a whole, by module and name."""


class Source(NamedTuple):
    """A module that the sender had not imported, as text.

    Attributes:
        text: Its text.
        file: Where the sender has it.
        is_package: Whether it has submodules.
    """

    text: str
    file: str
    is_package: bool


class ModuleState(NamedTuple):
    """What is in a module that the sender had imported.

    Attributes:
        variables: Its variables, but for those below.
        imports: Variables that are installed modules, and their names.
        left_out: Variables that can't travel, and why.
        is_package: Whether it has submodules.
    """

    variables: dict[str, Any]
    imports: dict[str, str]
    left_out: dict[str, str]
    is_package: bool


def unwrap(value: object, rest: object) -> object:
    """The last step of loading: what was sent, now that all that it needs is there."""
    del rest
    return value


def arrive(
    modules: Mapping[str, ModuleType | Mapping[str, object]],
    sources: Mapping[str, Source],
    lines: Mapping[str, Mapping[int, str]],
    rest: object = None,
) -> None:
    """Make modules importable, and lines of code known to tracebacks.

    Args:
        modules: Modules by name, which are imported now; or what has come of one that did not come
            as a whole, by its name.
        sources: Modules by name, which are imported when somebody does so.
        lines: Lines by number, by file.
        rest: What had to be loaded after them.
    """
    del rest  # that it was loaded is what matters, as with modules that came as a whole
    for name, module in modules.items():
        if isinstance(module, Mapping):
            parts.setdefault(name, {}).update(module)
    if sources:
        _finder.sources.update(sources)
        if _finder not in sys.meta_path:
            sys.meta_path.insert(0, _finder)
    for file, numbered in lines.items():
        known = linecache.cache.get(file)
        text = list(known[2]) if known is not None and len(known) > 1 else []
        text += ["\n"] * (max(numbered, default=0) - len(text))
        for number, line in numbered.items():
            text[number - 1] = line
        # Without a time of change it is believed, whatever stands in a file of that name here.
        linecache.cache[file] = (sum(map(len, text)), None, text, file)


def new_code(file: str, make: Callable[..., CodeType], arguments: tuple[Any, ...]) -> CodeType:
    """Make code anew, which knows the file that it came from."""
    return make(*arguments).replace(co_filename=file)


def new_module(name: str) -> ModuleType:
    """Begin a module: it must exist before its functions, which may refer to it."""
    module = ModuleType(name)
    sys.modules.setdefault(name, module)
    return module


def fill_module(module: ModuleType, state: ModuleState) -> None:
    """Finish a module."""
    left_out = dict(state.left_out)
    if state.is_package:
        module.__path__ = []
    module.__package__ = module.__name__ if state.is_package else module.__name__.rpartition(".")[0]
    for variable, name in state.imports.items():
        try:
            vars(module)[variable] = importlib.import_module(name)
        except ImportError as error:
            # Perhaps nothing that runs here needs it.
            left_out[variable] = f"{error}: add the package to requirements_list"
    vars(module).update(state.variables)
    if left_out and "__getattr__" not in vars(module):
        vars(module)["__getattr__"] = _Missing(module.__name__, left_out)


class _Missing:
    """The `__getattr__` of a module that arrived without some of its variables."""

    def __init__(self, module: str, left_out: dict[str, str]) -> None:
        self._module = module
        self._left_out = left_out

    def __call__(self, name: str) -> object:
        reason = self._left_out.get(name)
        if reason is None:
            message = f"module {self._module!r} has no attribute {name!r}"
        else:
            message = f"{self._module}.{name} did not come to the worker: {reason}"
        raise AttributeError(message)


class _Finder(MetaPathFinder, InspectLoader):
    """Imports modules from their text."""

    def __init__(self) -> None:
        self.sources: dict[str, Source] = {}

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002 - importlib calls it so
        target: ModuleType | None = None,  # noqa: ARG002
        /,
    ) -> ModuleSpec | None:
        source = self.sources.get(fullname)
        if source is None:
            return None
        spec = importlib.util.spec_from_loader(
            fullname, self, origin=source.file, is_package=source.is_package
        )
        if spec is not None:
            spec.has_location = True  # it has a `__file__`, for whoever prints it
        return spec

    def get_source(self, fullname: str) -> str:
        return self.sources[fullname].text

    def get_code(self, fullname: str) -> CodeType:
        source = self.sources[fullname]
        return compile(source.text, source.file, "exec", dont_inherit=True)

    def is_package(self, fullname: str) -> bool:
        return self.sources[fullname].is_package


_finder = _Finder()
