"""The objective that `file.py:name` names."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import typer

from aiauto.cli.exits import USAGE, fail

if TYPE_CHECKING:
    from types import ModuleType

    from aiauto.running import Objective


def load(place: str) -> tuple[Path, Objective]:
    """Load a function from a file.

    The file is imported, so that what stands under ``if __name__ == "__main__"`` does not run, and
    its folder is searched for the modules that it imports.

    Args:
        place: ``file.py:name``; without a name ``objective`` is meant.

    Returns:
        The file, and the function.

    Raises:
        typer.Exit: There is none, which has been said.
    """
    # From the right: on Windows a path has a colon of its own.
    file_name, colon, name = place.rpartition(":")
    if not colon or file_name.endswith(":") or name.endswith(".py"):
        file_name, name = place, "objective"
    path = Path(file_name)
    if path.suffix != ".py" or not path.is_file():
        raise fail(
            f"There is no Python file {file_name!r}: name the file and the function, as in "
            "train.py:objective.",
            USAGE,
        )
    value: Any = _import(path)
    for part in name.split("."):
        try:
            value = getattr(value, part)
        except AttributeError:
            raise fail(f"{file_name} has no {name!r}.", USAGE) from None
    if not callable(value):
        raise fail(f"{name!r} in {file_name} is not a function that takes a trial.", USAGE)
    return path, cast("Objective", value)


def _import(path: Path) -> ModuleType:
    _refuse_a_taken_name(path)
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    spec = importlib.util.spec_from_file_location(path.stem, path.resolve())
    if spec is None or spec.loader is None:
        raise fail(f"{path} can't be imported.", USAGE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except (typer.Exit, KeyboardInterrupt):
        raise
    # Whatever the user's own code raises, it may even call exit().
    except (Exception, SystemExit) as error:  # noqa: BLE001
        raise fail(f"{path} can't be loaded: {_described(error, path)}") from None
    return module


def _refuse_a_taken_name(path: Path) -> None:
    """Whoever imports a module by its name must not get the user's file in its place."""
    if path.stem in sys.stdlib_module_names:
        raise fail(
            f"{path} has the name of a module of Python, {path.stem!r}, and would be taken for it: "
            "rename the file.",
            USAGE,
        )
    known = sys.modules.get(path.stem)
    if known is None:
        return
    file = getattr(known, "__file__", None)
    if file is None or Path(file).resolve() != path.resolve():
        raise fail(
            f"{path} has the name of a module that aiauto uses, {path.stem!r}: rename the file.",
            USAGE,
        )


def _described(error: BaseException, path: Path) -> str:
    """The error and the line of the file in which it came up."""
    if isinstance(error, SyntaxError):
        return f"SyntaxError: {error}"
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename) == path.resolve()
    ]
    where = f" (line {lines[-1]})" if lines else ""
    return f"{type(error).__name__}: {error}{where}"
