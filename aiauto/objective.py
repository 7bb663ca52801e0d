"""An objective function on its way to the workers: packed with the local code that it needs."""

from __future__ import annotations

import functools
import inspect
import pickle
import platform
import sys
import tokenize
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, cast

from aiauto_gen.aiauto import v1

from aiauto import local_code, parts, versions
from aiauto.errors import ArgumentTypeError, ArgumentValueError, ObjectiveError

if TYPE_CHECKING:
    from collections.abc import Callable

    import optuna

MAX_PICKLED_BYTES = 32 * 1024 * 1024


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
    used: set[str] = set()
    try:
        data = local_code.dumps(given, used=used)
    except Exception as error:
        message = (
            f"objective can't travel to the workers: {parts.culprit(given) or 'it'} can't be "
            f"pickled: {error}. Make it inside the function instead."
        )
        raise ArgumentValueError(message, argument="objective") from error
    if len(data) > MAX_PICKLED_BYTES:
        found = parts.biggest(given, MAX_PICKLED_BYTES // 2)
        alone = f": {found[0]} alone takes {_mebibytes(found[1])}" if found else ""
        message = (
            f"objective takes {_mebibytes(len(data))} with what it refers to, and at most "
            f"{_mebibytes(MAX_PICKLED_BYTES)} travel{alone}. Load data inside the function, from a "
            "file or an address, instead of referring to it."
        )
        raise ArgumentValueError(message, argument="objective")
    return v1.ObjectivePayload(
        source_code=_source(given),
        objective_name=_name(given),
        pickled=data,
        python_version=platform.python_version(),
        package_versions=versions.installed(used),
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
    sent_versions = dict(payload.package_versions)
    if found := versions.mismatches(sent_versions, payload.requirements_txt):
        message = (
            f"The objective was sent with other packages than this worker has: {'; '.join(found)}. "
            "Name the version that the objective needs in requirements_list, for example "
            f"'{found[0].split()[0]}=={sent_versions[found[0].split()[0]]}', or install the "
            f"worker's where the script runs. (The worker runs {sys.executable}.)"
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
        different = "; ".join(versions.differences(sent_versions))
        different = f" Versions differ: {different}." if different else ""
        message = f"The objective can't be loaded on the worker: {error!r}.{different}"
        raise ObjectiveError(message) from error
    if not callable(loaded):
        message = f"The objective arrived as {type(loaded).__name__}, which can't be called."
        raise ObjectiveError(message)
    return cast("Callable[[Any], Any]", loaded)


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"


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
