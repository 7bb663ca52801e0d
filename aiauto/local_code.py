"""Pickling with the user's own code inside.

Whatever is not from an installed distribution or the standard library travels by value: notebook
cells, scripts, local modules and packages and what they use of each other. A local module that is
imported only inside a function, and so perhaps was never imported here, travels as text. Installed
packages travel by name, and the receiver imports them.
"""

from __future__ import annotations

import contextlib
import dis
import importlib.util
import io
import linecache
import os
import sys
import threading
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

import cloudpickle

from aiauto import parcel
from aiauto.local_modules import find_source, is_local

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

# What the import system keeps in a module is made anew where the module arrives.
MACHINERY = frozenset(
    {"__builtins__", "__cached__", "__file__", "__loader__", "__package__", "__path__", "__spec__"}
)

# cloudpickle keeps one list for the process of what goes by value.
_registry_lock = threading.RLock()


def dumps(value: object, *, used: set[str] | None = None) -> bytes:
    """Pickle something with the local code that it needs.

    Args:
        value: What to pickle. `pickle.loads` gives it back, on a machine without that code too.
        used: Gets the names of the installed modules that the code uses.

    Returns:
        The bytes.

    Raises:
        Exception: Whatever pickling raises for what can't travel.
    """
    left_out: dict[str, dict[str, str]] = {}
    with _by_value():
        while True:
            file = io.BytesIO()
            pickler = _LocalPickler(file, left_out)
            try:
                pickler.dump(_Wrapped(value, pickler))
            except Exception:
                if not _leave_out(pickler, left_out):
                    raise
            else:
                pickler.check_left_out()
                if used is not None:
                    used.update(pickler.used())
                return file.getvalue()


def problem(value: object, left_out: dict[str, dict[str, str]] | None = None) -> Exception | None:
    """Tell why something can't be pickled, by trying; None where it can."""
    try:
        with _by_value():
            _LocalPickler(io.BytesIO(), left_out or {}).dump(value)
    except Exception as error:  # noqa: BLE001 - whatever it raises: it does not
        return error
    return None


@contextlib.contextmanager
def _by_value() -> Generator[None, None, None]:
    """While this holds, cloudpickle takes local modules by value in this process."""
    with _registry_lock:
        local = [module for module in list(sys.modules.values()) if is_local(module)]
        known = cloudpickle.cloudpickle.list_registry_pickle_by_value()
        # What the user registered is theirs and stays.
        added = [
            module
            for module in local
            if module.__name__ in sys.modules and module.__name__ not in known
        ]
        for module in added:
            cloudpickle.register_pickle_by_value(module)
        try:
            yield
        finally:
            for module in added:
                # Code that ran while it was pickled may have done so itself.
                with contextlib.suppress(ValueError):
                    cloudpickle.unregister_pickle_by_value(module)


class _LocalPickler(cloudpickle.Pickler):
    """Writes local modules so that they may refer to themselves and each other.

    Args:
        file: Where to write.
        left_out: Variables of modules that can't travel, and why, by module.
    """

    def __init__(self, file: io.BytesIO, left_out: dict[str, dict[str, str]]) -> None:
        super().__init__(file)
        self.left_out = left_out
        self.modules: dict[str, ModuleType] = {}
        self._functions: list[FunctionType] = []
        self._classes: list[type] = []
        self._looked_at = 0
        self._sources: dict[str, parcel.Source] = {}
        # Installed modules that were met, and those that local modules have in variables.
        self._used: set[str] = set()
        self._imported: dict[str, set[str]] = {}

    def reducer_override(self, obj: Any) -> Any:  # noqa: ANN401 - as pickle has it
        """Write modules and code, and note functions."""
        if isinstance(obj, ModuleType) and is_local(obj):
            self.modules[obj.__name__] = obj
            state = self._state(obj)
            return parcel.new_module, (obj.__name__,), state, None, None, parcel.fill_module
        if isinstance(obj, CodeType):
            # cloudpickle 3.1.3 and later leave out the file, which tracebacks are to show.
            make, arguments = self.dispatch_table[CodeType](obj)
            return parcel.new_code, (obj.co_filename, make, arguments)
        if isinstance(obj, FunctionType) and _is_the_users(obj):
            self._functions.append(obj)
        elif isinstance(obj, type) and _is_the_users(obj):
            self._classes.append(obj)
        elif isinstance(obj, (ModuleType, type, FunctionType, BuiltinFunctionType)):
            named = "__name__" if isinstance(obj, ModuleType) else "__module__"
            module: object = getattr(obj, named, None)
            if isinstance(module, str):  # of a method of a type written in C it is None
                self._used.add(module)
        return super().reducer_override(obj)

    def used(self) -> set[str]:
        """The names of the installed modules that what was written uses."""
        names = {name for one in self._functions for name in _names(one.__code__)}
        named = [modules for name, modules in self._imported.items() if name in names]
        found = self._used.union(*named)
        return {name for name in found if not is_local(sys.modules.get(name))}

    def take_rest(
        self,
    ) -> tuple[dict[str, ModuleType], dict[str, parcel.Source], dict[str, dict[int, str]]]:
        """What the functions written since the last call need besides.

        Returns:
            Modules, sources and lines, as `parcel.arrive` takes them.
        """
        functions = self._functions[self._looked_at :]
        self._looked_at = len(self._functions)
        names = [
            name
            for function in functions
            for name in _imports(function.__code__, function.__globals__.get("__package__") or "")
        ]
        modules: dict[str, ModuleType] = {}
        sources: dict[str, parcel.Source] = {}
        while names:
            name = names.pop()
            if name in modules or name in self._sources:
                continue
            loaded = sys.modules.get(name)
            if loaded is not None:
                if not is_local(loaded):
                    self._used.add(name)
                elif name not in self.modules:
                    modules[name] = loaded
                    names.append(name.rpartition(".")[0])
                continue
            source = find_source(name)
            if source is None:
                self._used.add(name)
            else:
                sources[name] = self._sources[name] = source
                names.append(name.rpartition(".")[0])
                package = name if source.is_package else name.rpartition(".")[0]
                with contextlib.suppress(SyntaxError):  # whoever imports it will see
                    names += _imports(compile(source.text, source.file, "exec"), package)
        return modules, sources, _lines(functions)

    def parts(self) -> dict[str, dict[str, object]]:
        """Functions and classes of modules that do not go as a whole, by module and name."""
        found: dict[str, dict[str, object]] = {}
        named: list[FunctionType | type] = [*self._functions, *self._classes]
        for one in named:
            module, name = one.__module__, one.__qualname__
            if module not in self.modules and _is_found(one, module, name):
                found.setdefault(module, {})[name] = one
        return found

    def check_left_out(self) -> None:
        """Make sure that nothing that was left out is used by what was written.

        Raises:
            TypeError: Something is.
        """
        used = {name for one in self._functions for name in _names(one.__code__)}
        for module, variables in self.left_out.items():
            for name, reason in variables.items():
                if name in used:
                    message = f"{name!r} of the module {module!r}: {reason}"
                    raise TypeError(message)

    def _state(self, module: ModuleType) -> parcel.ModuleState:
        left_out = self.left_out.get(module.__name__, {})
        variables = {
            name: value
            for name, value in vars(module).items()
            if name not in MACHINERY and name not in left_out
        }
        imports = {
            name: value.__name__
            for name, value in variables.items()
            if isinstance(value, ModuleType)
            and sys.modules.get(value.__name__) is value
            and not is_local(value)
        }
        for name, imported in imports.items():
            self._imported.setdefault(name, set()).add(imported)
        own = {name: value for name, value in variables.items() if name not in imports}
        return parcel.ModuleState(own, imports, left_out, is_package=hasattr(module, "__path__"))


class _Wrapped:
    """A value, and after it whatever the code in it turns out to need."""

    def __init__(self, value: object, pickler: _LocalPickler) -> None:
        self._value = value
        self._pickler = pickler

    def __reduce__(self) -> tuple[object, ...]:
        return parcel.unwrap, (self._value, _Rest(self._pickler))


class _Rest:
    """What the code needs, asked for when that code has been written."""

    def __init__(self, pickler: _LocalPickler) -> None:
        self._pickler = pickler

    def __reduce__(self) -> tuple[object, ...]:
        modules, sources, lines = self._pickler.take_rest()
        if not (modules or sources or lines):
            return parcel.arrive, (self._pickler.parts(), sources, lines)
        # The modules bring functions of their own, so there may be more to come.
        return parcel.arrive, (modules, sources, lines, _Rest(self._pickler))


def _leave_out(pickler: _LocalPickler, left_out: dict[str, dict[str, str]]) -> bool:
    """Find variables of modules that can't travel, and perhaps need not.

    Returns:
        Whether there are any that were not known yet.
    """
    # First what can't travel by itself; code that refers to it only where that does not help.
    for code_too in (False, True):
        found = [
            (name, variable, value, error)
            for name, module in pickler.modules.items()
            for variable, value in list(vars(module).items())
            if variable not in MACHINERY
            and variable not in left_out.get(name, {})
            and not isinstance(value, ModuleType)
            and (code_too or not isinstance(value, (FunctionType, type)))
            and (error := problem(value, left_out)) is not None
        ]
        for name, variable, value, error in found:
            reason = f"{type(value).__name__} objects can't be pickled ({error})"
            left_out.setdefault(name, {})[variable] = reason
        if found:
            return True
    return False


def _is_the_users(code: FunctionType | type) -> bool:
    module = sys.modules.get(code.__module__ or "")
    return module is None or module.__name__ == "__main__" or is_local(module)


def _is_found(code: FunctionType | type, module: str, name: str) -> bool:
    """Whether a module has a function or class under its name, as plain pickle wants it."""
    return vars(sys.modules.get(module, object)).get(name) is code


def _names(code: CodeType) -> Iterator[str]:
    """The names of globals and attributes that code uses."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _imports(code: CodeType, package: str) -> Iterator[str]:
    """The names of modules that code imports when it runs, and of what may be their submodules."""
    steps = [step for step in dis.get_instructions(code) if step.opname != "EXTENDED_ARG"]
    for place, step in enumerate(steps):
        if step.opname == "IMPORT_NAME":
            level, names = steps[place - 2].argval, steps[place - 1].argval
            with contextlib.suppress(ImportError, ValueError):  # relative to nothing
                name = importlib.util.resolve_name("." * level + step.argval, package)
                yield name
                yield from (f"{name}.{one}" for one in names or ())
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _imports(constant, package)


def _lines(functions: list[FunctionType]) -> dict[str, dict[int, str]]:
    """The lines of functions, for the tracebacks of a machine that has not their files."""
    lines: dict[str, dict[int, str]] = {}
    for function in functions:
        code = function.__code__
        text = linecache.getlines(code.co_filename, function.__globals__)
        numbers = list(_line_numbers(code))
        for number in range(min(numbers), max(numbers) + 1):
            if number <= len(text):
                lines.setdefault(code.co_filename, {})[number] = text[number - 1]
    return lines


def _line_numbers(code: CodeType) -> Iterator[int]:
    yield code.co_firstlineno
    yield from (line for _, _, line in code.co_lines() if line)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _line_numbers(constant)


def _forget_lock() -> None:
    # A thread of the parent may have held it, and that thread is not in the child.
    global _registry_lock  # noqa: PLW0603
    _registry_lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_lock)
