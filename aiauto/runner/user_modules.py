"""The user's modules in a worker, where the objective's functions and classes came without them.

Plain pickle, with which objectives save models and send work to processes of their own, looks for a
class or function in its module: in `__main__` for those of a script or notebook, or in a local
module that did not come as a whole. Processes that do not begin as forks also run the script anew
first, and get a file in its place that loads what the worker has loaded.
"""

from __future__ import annotations

import importlib.util
import pickle
import shutil
import sys
import tempfile
import weakref
from importlib.abc import Loader, MetaPathFinder
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from aiauto import parcel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from importlib.machinery import ModuleSpec

SCRIPT = """\
from pathlib import Path

from aiauto.runner import user_modules

globals().update(user_modules.load(Path(__file__).with_name("objective.pickle")))
"""


def enter(pickled: bytes) -> None:
    """Let what has come be found in its modules, and be `__main__` in place of the worker.

    Args:
        pickled: The objective, which has been loaded.
    """
    sys.meta_path.insert(0, _Finder())
    main = ModuleType("__main__")
    vars(main).update(parcel.parts.get("__main__", {}))
    vars(main)["__getattr__"] = _File(main, pickled, sys.modules["__main__"])
    sys.modules["__main__"] = main


def load(file: Path) -> Mapping[str, object]:
    """Load an objective in a process that it has started on a worker.

    Args:
        file: The objective, pickled.

    Returns:
        What is in `__main__` then, by name.
    """
    sys.meta_path.insert(0, _Finder())
    pickle.loads(file.read_bytes())  # noqa: S301 - the worker has done so too
    return parcel.parts.get("__main__", {})


class _File:
    """The `__getattr__` of that `__main__`: makes its file when somebody asks for it."""

    def __init__(self, main: ModuleType, pickled: bytes, program: ModuleType) -> None:
        self._main = main
        self._pickled = pickled
        self._program = program  # its code runs as long as the worker does

    def __call__(self, name: str) -> str:
        if name != "__file__":
            message = f"module '__main__' has no attribute {name!r}"
            raise AttributeError(message)
        folder = Path(tempfile.mkdtemp(prefix="aiauto-main-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        (folder / "objective.pickle").write_bytes(self._pickled)
        script = folder / "script.py"
        script.write_text(SCRIPT, encoding="utf-8")
        self._main.__file__ = str(script)
        return str(script)


class _Finder(MetaPathFinder):
    """Imports what has come of modules that did not come as a whole.

    Where this machine has such a module too, as with a project that is installed in place, what has
    come takes its place in there.
    """

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
        /,
    ) -> ModuleSpec | None:
        is_package = any(name.startswith(f"{fullname}.") for name in parcel.parts)
        if fullname not in parcel.parts and not is_package:
            return None
        parts = parcel.parts.get(fullname, {})
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(fullname, path, target)
            if spec is not None:
                if spec.loader is not None:  # a namespace package has none, and no code
                    spec.loader = _Overlay(spec.loader, parts)
                return spec
        loader = _Overlay(_Nothing(), {**parts, "__getattr__": _NotSent(fullname)})
        return importlib.util.spec_from_loader(fullname, loader, is_package=is_package)


class _Overlay(Loader):
    """Loads a module as another loader does, and puts into it what has come."""

    def __init__(self, loader: Loader, parts: Mapping[str, object]) -> None:
        self._loader = loader
        self._parts = parts

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        vars(module).update(self._parts)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - its `get_source`, say
        return getattr(self._loader, name)


class _Nothing(Loader):
    """Leaves a module empty."""

    def exec_module(self, module: ModuleType) -> None:
        pass


class _NotSent:
    """The `__getattr__` of a module of which only parts have come."""

    def __init__(self, module: str) -> None:
        self._module = module

    def __call__(self, name: str) -> object:
        message = (
            f"{self._module}.{name} did not come to the worker: of {self._module!r} only that has "
            f"come to which the objective refers. Write `import {self._module}` inside the "
            "objective, and all of it comes."
        )
        raise AttributeError(message)
