"""Which modules are the user's own, and where one stands that was not imported yet."""

from __future__ import annotations

import contextlib
import functools
import importlib.machinery
import importlib.metadata
import importlib.util
import os
import sys
import sysconfig
from pathlib import Path
from types import ModuleType
from typing import Any

from aiauto import parcel

OURS = frozenset({"aiauto", "aiauto_gen"})
INSTALLED_FOLDERS = frozenset({"site-packages", "dist-packages"})


def is_local(module: object) -> bool:
    """Tell whether a module is the user's own: neither installed nor Python's.

    A project that is installed in place (``pip install -e``) counts as the user's own: what stands
    in its folder now is what was meant. A script is local anyway, and not meant here.
    """
    # Some things among the modules only say that they are one, as the libraries of cffi do.
    if not issubclass(type(module), ModuleType):
        return False
    # Some modules load themselves when an attribute is asked for: not here.
    variables: dict[str, Any] = object.__getattribute__(module, "__dict__")
    name = variables.get("__name__")
    if not isinstance(name, str) or name == "__main__":
        return False
    file = variables.get("__file__")
    places = [file] if file else list(variables.get("__path__") or ())
    return _are_local(name, tuple(places))


def _are_local(name: str, places: tuple[object, ...]) -> bool:
    top = name.partition(".")[0]
    if top in OURS or not places:
        return False
    for place in places:
        if not isinstance(place, str):
            return False
        path = Path(place)
        if path.suffix not in {".py", ".pyc", ""}:
            return False  # compiled: only an installation brings it elsewhere
        depth = name.count(".") + (1 if path.stem == "__init__" or not path.suffix else 0)
        root = path.parents[depth] if len(path.parents) > depth else path.parent
        if _is_installed(os.path.dirname(place)) or top in _installed_into(str(root)):  # noqa: PTH120
            return False
    return True


@functools.lru_cache(maxsize=4096)
def _is_installed(folder: str) -> bool:
    path = Path(folder)
    if INSTALLED_FOLDERS.intersection(path.parts):
        return True
    library = (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"))
    return any(path.is_relative_to(one) for one in library)


@functools.lru_cache(maxsize=1024)
def _installed_into(folder: str) -> frozenset[str]:
    """Names of what was installed into a folder of its own (``pip install --target``)."""
    if not any(Path(folder).glob("*.dist-info")):
        return frozenset()
    distributions = importlib.metadata.distributions(path=[folder])
    files = (file for one in distributions if one.read_text("RECORD") for file in one.files or ())
    return frozenset(file.parts[0].removesuffix(".py") for file in files)


def find_source(name: str) -> parcel.Source | None:
    """The text of a local module that is not imported here, found without importing it."""
    spec = _find_spec(name)
    if spec is None:
        return None
    places = list(spec.submodule_search_locations or ())
    is_package = spec.submodule_search_locations is not None
    file = spec.origin if spec.has_location else None
    if not _are_local(name, (file,) if file else tuple(places)):
        return None
    loader: Any = spec.loader
    with contextlib.suppress(ImportError, AttributeError, OSError, SyntaxError):
        text = loader.get_source(name) if file else ""
        return parcel.Source(text or "", file or f"<{name}>", is_package)
    return None


def _find_spec(name: str) -> importlib.machinery.ModuleSpec | None:
    parent = name.rpartition(".")[0]
    with contextlib.suppress(ImportError, ValueError, AttributeError):
        if not parent:
            return importlib.util.find_spec(name)
        loaded = sys.modules.get(parent)
        above = loaded.__spec__ if loaded is not None else _find_spec(parent)
        path = above.submodule_search_locations if above is not None else None
        return importlib.machinery.PathFinder.find_spec(name, path) if path else None
    return None
