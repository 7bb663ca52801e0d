"""An objective function on its way to the workers: packed with the local code that it needs."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import inspect
import pickle
import platform
import sys
import tokenize
from types import FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, cast

from aiauto_gen.aiauto import v1

from aiauto import local_code
from aiauto.errors import ArgumentTypeError, ArgumentValueError, ObjectiveError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import CodeType

    import optuna

MAX_PICKLED_BYTES = 32 * 1024 * 1024
# What the payload and the worker should agree on, as far as it is installed.
TOLD_PACKAGES = ("aiauto-client", "cloudpickle", "numpy", "optuna")
MAX_DEPTH = 8


def pack(objective: Callable[[optuna.trial.Trial], Any]) -> v1.ObjectivePayload:
    """Pack a function with the local code that it needs.

    Args:
        objective: Takes a trial and returns a value, or several. Any callable will do: a function,
            lambda, closure, bound method, partial or object.

    Returns:
        The payload, without requirements.

    Raises:
        ArgumentTypeError: It can't be called.
        ArgumentValueError: Something that it refers to can't travel, or it is too big.
    """
    given: object = objective
    if not callable(given):
        message = (
            f"objective must be a function that takes a trial, not {type(given).__name__}: pass "
            "the function itself, without calling it."
        )
        raise ArgumentTypeError(message, argument="objective")
    try:
        data = local_code.dumps(given)
    except Exception as error:
        message = (
            f"objective can't travel to the workers: {_culprit(given) or 'it'} can't be pickled "
            f"({error}). Make it inside the function instead."
        )
        raise ArgumentValueError(message, argument="objective") from error
    if len(data) > MAX_PICKLED_BYTES:
        message = (
            f"objective takes {_mebibytes(len(data))} with what it refers to, and at most "
            f"{_mebibytes(MAX_PICKLED_BYTES)} travel{_biggest(given)}. Load data inside the "
            "function, from a file or an address, instead of referring to it."
        )
        raise ArgumentValueError(message, argument="objective")
    return v1.ObjectivePayload(
        source_code=_source(given),
        objective_name=_name(given),
        pickled=data,
        python_version=platform.python_version(),
        package_versions=_package_versions(),
    )


def unpack(payload: v1.ObjectivePayload) -> Callable[[optuna.trial.Trial], Any]:
    """Load a function that was packed. Only a worker does: it runs what was sent.

    Args:
        payload: What `pack` made.

    Returns:
        The function.

    Raises:
        ObjectiveError: It can't be loaded here; the text says what to do.
    """
    sent, here = payload.python_version.split(".")[:2], platform.python_version_tuple()[:2]
    if tuple(sent) != here:
        message = (
            f"The objective was sent from Python {payload.python_version}, and this worker runs "
            f"{platform.python_version()} ({sys.executable}): code travels between equal minor "
            f"versions only. Run the script with Python {'.'.join(here)}, or have the workers run "
            f"Python {'.'.join(sent)}: choose such an image, or, for workers on this machine, stop "
            "the server and start it from there."
        )
        raise ObjectiveError(message)
    try:
        loaded: object = pickle.loads(payload.pickled)  # noqa: S301 - that is a worker's job
    except ModuleNotFoundError as error:
        message = (
            f"The objective needs the module {error.name!r}, which this worker does not have: add "
            "the package to requirements_list. A module of your own must be a .py file that is "
            f"imported where the objective is sent from. (The worker runs {sys.executable}.)"
        )
        raise ObjectiveError(message) from error
    except (Exception, SystemExit) as error:
        versions = _differences(dict(payload.package_versions))
        message = f"The objective can't be loaded on the worker: {error!r}.{versions}"
        raise ObjectiveError(message) from error
    if not callable(loaded):
        message = f"The objective arrived as {type(loaded).__name__}, which can't be called."
        raise ObjectiveError(message)
    return cast("Callable[[Any], Any]", loaded)


def _culprit(value: object) -> str:
    """Name what can't be pickled, by trying one part after another; empty if it is no part."""
    labels: list[str] = []
    leaf = value
    while len(labels) < MAX_DEPTH:
        for label, part in _parts(leaf):
            if local_code.problem(part) is not None:
                labels.append(label)
                leaf = part
                break
        else:
            break
    if not labels:
        return ""
    return f"{' of '.join(reversed(labels))} (a {type(leaf).__name__})"


def _biggest(value: object) -> str:
    """Name the part that takes the most, if one takes half or more of what is allowed."""
    sizes = [(_size(part), label) for label, part in _parts(value)]
    size, label = max(sizes, default=(0, ""))
    return f": {label} alone takes {_mebibytes(size)}" if size > MAX_PICKLED_BYTES / 2 else ""


def _size(value: object) -> int:
    try:
        return len(local_code.dumps(value))
    except Exception:  # noqa: BLE001 - what can't be pickled alone has no size of its own
        return 0


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"


def _parts(whole: object) -> Iterator[tuple[str, object]]:
    """What a value is made of, each part with words for it."""
    value: Any = whole
    cls = type(whole)
    if isinstance(whole, functools.partial):
        yield "the function", value.func
        yield from ((f"argument {place}", one) for place, one in enumerate(value.args))
        yield from ((f"the argument {name!r}", one) for name, one in value.keywords.items())
    elif isinstance(whole, MethodType):
        yield "the object", value.__self__
        yield "the method", value.__func__
    elif isinstance(whole, FunctionType):
        yield from _variables(whole)
    elif isinstance(whole, dict):
        yield from ((f"the entry {key!r}", one) for key, one in value.items())
    elif isinstance(whole, (list, tuple, set, frozenset)):
        yield from ((f"item {place}", one) for place, one in enumerate(value))
    elif isinstance(whole, (ModuleType, type)):
        yield from _members(whole)
    else:
        yield from _named(getattr(value, "__dict__", {}), f"in the {cls.__name__}")
        yield from _members(cls)


def _members(value: ModuleType | type) -> Iterator[tuple[str, object]]:
    """The variables of a module or class, where it travels by value."""
    module = value if isinstance(value, ModuleType) else sys.modules.get(value.__module__)
    if module is None or module.__name__ == "__main__" or local_code.is_local(module):
        kind = "module" if isinstance(value, ModuleType) else "class"
        yield from _named(vars(value), f"in the {kind} {value.__name__!r}")


def _named(variables: Mapping[str, object], where: str) -> Iterator[tuple[str, object]]:
    for name, one in list(variables.items()):
        if name not in local_code.MACHINERY and name not in {"__dict__", "__weakref__"}:
            yield f"{name!r} {where}", one


def _variables(function: FunctionType) -> Iterator[tuple[str, object]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        with contextlib.suppress(ValueError):  # not assigned yet
            yield f"the variable {name!r}", cell.cell_contents
    for name in dict.fromkeys(_global_names(function.__code__)):
        if name in function.__globals__:
            yield f"the variable {name!r}", function.__globals__[name]
    yield from (("a default", one) for one in function.__defaults__ or ())
    for name, one in (function.__kwdefaults__ or {}).items():
        yield f"the default of {name!r}", one


def _global_names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if inspect.iscode(constant):
            yield from _global_names(constant)


def _source(objective: object) -> str:
    source = _inner(objective)
    if not isinstance(source, (FunctionType, type)):
        source = type(source)
    if isinstance(source, FunctionType) and source.__code__.co_filename == "<string>":
        return ""  # Python 3.13 would answer with the text of `python -c`, whatever this one is
    try:
        return inspect.getsource(source)
    except (OSError, TypeError, SyntaxError, tokenize.TokenError):  # typed at a prompt, say
        return ""


def _name(objective: object) -> str:
    inner = _inner(objective)
    name: object = getattr(inner, "__name__", "")
    return name if isinstance(name, str) and name else type(inner).__name__


def _inner(objective: object) -> object:
    """The function in a partial or method."""
    value: Any = objective
    if isinstance(objective, functools.partial):
        return _inner(value.func)
    if isinstance(objective, MethodType):
        return _inner(value.__func__)
    return objective


def _package_versions() -> dict[str, str]:
    versions: dict[str, str] = {}
    for package in TOLD_PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions


def _differences(sent: dict[str, str]) -> str:
    here = _package_versions()
    different = [
        f"{package} {version} there, {here.get(package, 'none')} here"
        for package, version in sorted(sent.items())
        if here.get(package) != version
    ]
    return f" Versions differ: {'; '.join(different)}." if different else ""
