"""An objective function on its way to the workers: packed with the local code that it needs.

Whatever is not from an installed distribution or the standard library travels by value: notebook
cells, scripts, local modules and packages and what they import from each other. Installed packages
travel by name, and the workers import them.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import inspect
import io
import platform
import sys
import sysconfig
import threading
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

import cloudpickle
from aiauto_gen.aiauto import v1

from aiauto.errors import ArgumentTypeError, ArgumentValueError, ObjectiveError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    import optuna

MAX_PICKLED_BYTES = 32 * 1024 * 1024
# What the payload and the worker must agree on, as far as it is installed.
TOLD_PACKAGES = ("aiauto-client", "cloudpickle", "numpy", "optuna")
OURS = frozenset({"aiauto", "aiauto_gen"})
INSTALLED_FOLDERS = frozenset({"site-packages", "dist-packages"})
# What the import system keeps in a module is made anew where the module arrives.
MACHINERY = frozenset(
    {"__builtins__", "__cached__", "__file__", "__loader__", "__path__", "__spec__"}
)

# cloudpickle keeps one list for the process of what goes by value.
_registry_lock = threading.RLock()


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
    with by_value():
        data = _pickled(given)
    if len(data) > MAX_PICKLED_BYTES:
        message = (
            f"objective takes {len(data) / 2**20:.1f} MiB with what it refers to, and at most "
            f"{MAX_PICKLED_BYTES // 2**20} MiB travel: load data inside the function, from a file "
            "or an address, instead of referring to it."
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
            f"{platform.python_version()}: code travels between equal minor versions only. Run the "
            f"script with Python {'.'.join(here)}, or choose an image with Python {'.'.join(sent)}."
        )
        raise ObjectiveError(message)
    try:
        return cast("Callable[[Any], Any]", cloudpickle.loads(payload.pickled))
    except ModuleNotFoundError as error:
        message = (
            f"The objective needs the module {error.name!r}, which this worker does not have: add "
            "the package to requirements_list."
        )
        raise ObjectiveError(message) from error
    except Exception as error:
        versions = _differences(dict(payload.package_versions))
        message = f"The objective can't be loaded on the worker: {error!r}.{versions}"
        raise ObjectiveError(message) from error


@contextlib.contextmanager
def by_value() -> Generator[None, None, None]:
    """While this holds, cloudpickle takes local modules by value in this process."""
    with _registry_lock:
        modules = list(sys.modules.items())
        tops = {name.partition(".")[0] for name, module in modules if is_local(module)}
        known = cloudpickle.cloudpickle.list_registry_pickle_by_value()
        # What the user registered is theirs and stays.
        added = [sys.modules[top] for top in sorted(tops - known) if top in sys.modules]
        for module in added:
            cloudpickle.register_pickle_by_value(module)
        try:
            yield
        finally:
            for module in added:
                cloudpickle.unregister_pickle_by_value(module)


def is_local(module: object) -> bool:
    """Tell whether a module is the user's own: neither installed nor Python's.

    A project that is installed in place (``pip install -e``) counts as the user's own: what stands
    in its folder now is what was meant.
    """
    if not isinstance(module, ModuleType) or module.__name__.partition(".")[0] in OURS:
        return False
    if module.__name__ == "__main__":
        return False  # cloudpickle takes it by value unasked
    file = getattr(module, "__file__", None)
    places = [file] if file else list(getattr(module, "__path__", ()))
    return bool(places) and not any(_is_installed(Path(place)) for place in places)


def _is_installed(path: Path) -> bool:
    if INSTALLED_FOLDERS.intersection(path.parts):
        return True
    library = (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"))
    return any(path.is_relative_to(folder) for folder in library)


class _Pickler(cloudpickle.Pickler):
    """Writes local modules so that they may refer to themselves and each other."""

    def reducer_override(self, obj: Any) -> Any:  # noqa: ANN401 - as pickle has it
        if isinstance(obj, ModuleType) and is_local(obj):
            state = {key: value for key, value in vars(obj).items() if key not in MACHINERY}
            return _new_module, (obj.__name__,), state, None, None, _fill_module
        return super().reducer_override(obj)


def _new_module(name: str) -> ModuleType:
    return ModuleType(name)


def _fill_module(module: ModuleType, state: dict[str, Any]) -> None:
    vars(module).update(state)


def _pickled(value: object) -> bytes:
    file = io.BytesIO()
    try:
        _Pickler(file).dump(value)
    except Exception as error:
        culprit = _culprit(value)
        where = f"{culprit}, which it refers to, can't" if culprit else "it can't"
        message = (
            f"objective can't travel to the workers: {where} be pickled ({error}). Make it inside "
            "the function instead."
        )
        raise ArgumentValueError(message, argument="objective") from error
    return file.getvalue()


def _culprit(value: object) -> str:
    """Name the variable that can't be pickled, by trying one after another; empty if none."""
    function = inspect.unwrap(cast("Any", getattr(value, "__func__", value)))
    if not inspect.isfunction(function):
        attributes = getattr(value, "__dict__", {})
        return next((f"its attribute {k!r}" for k, v in attributes.items() if not _travels(v)), "")
    variables = inspect.getclosurevars(function)
    for kind in (variables.nonlocals, variables.globals):
        for name, inner in kind.items():
            if not _travels(inner):
                deeper = _culprit(inner) if inspect.isfunction(inner) else ""
                return deeper or f"the variable {name!r}"
    return ""


def _travels(value: object) -> bool:
    try:
        _Pickler(io.BytesIO()).dump(value)
    except Exception:  # noqa: BLE001 - whatever it raises: it does not
        return False
    return True


def _source(objective: object) -> str:
    try:
        return inspect.getsource(cast("Any", objective))
    except (OSError, TypeError):  # typed at a prompt, or no function
        return ""


def _name(objective: object) -> str:
    return getattr(objective, "__name__", "") or type(objective).__name__


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
