"""Who may import whom: the walls of the house (see CONTRIBUTING.md, "Rooms")."""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path

import pytest

PACKAGE_ROOTS = {
    name: Path(str(spec.origin)).parent
    for name in ("aiauto", "aiauto_gen")
    if (spec := importlib.util.find_spec(name)) is not None
}
OURS = tuple(PACKAGE_ROOTS)

# What each room may import of ours and of others; the standard library is open to all, and the
# longest prefix of a module's name decides. `*` allows any third-party distribution.
RULES: dict[str, set[str]] = {
    "aiauto_gen": {"aiauto_gen", "betterproto2", "typing_extensions"},
    "aiauto.connect": {"aiauto.connect", "aiohttp", "betterproto2", "typing_extensions"},
    "aiauto.connect.plugin": {"aiauto.connect", "betterproto2", "betterproto2_compiler"},
    "aiauto.server": {
        "aiauto.server",
        "aiauto.connect",
        "aiauto.config",
        "aiauto.errors",
        "aiauto.gpu_models",
        "aiauto.images",
        "aiauto.legible",
        "aiauto.resources",
        "aiauto.version",
        "aiauto.whole_file",
        "aiauto_gen",
        "*",
    },
    "aiauto.runner": {"aiauto", "aiauto_gen", "*"},
    "aiauto.cli": {"aiauto", "aiauto_gen", "*"},
    "aiauto": {"aiauto", "aiauto_gen", "*"},
}
# Rooms behind which no other room may look, and who may.
PRIVATE = {
    "aiauto.server": {"aiauto.server", "aiauto.cli"},
    "aiauto.runner": {"aiauto.runner"},
    "aiauto.cli": {"aiauto.cli", "aiauto.__main__"},
}
# The server never loads what it was sent.
LOADERS = {"pickle", "cloudpickle", "dill", "marshal", "shelve"}


def within(module: str, room: str) -> bool:
    return module == room or module.startswith(room + ".")


def modules() -> dict[str, Path]:
    found: dict[str, Path] = {}
    for name, root in PACKAGE_ROOTS.items():
        for path in sorted(root.rglob("*.py")):
            parts = [name, *path.relative_to(root).with_suffix("").parts]
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_of(module: str, path: Path) -> set[str]:
    """Names of the modules that a module imports anywhere in its text, lazily or not."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            # `from aiauto import server` names a module, `from aiauto.study import wait` does not.
            named = {f"{base}.{alias.name}" for alias in node.names}
            found |= named & ALL_NAMES
            if named - ALL_NAMES:
                found.add(base)
    return found


MODULES = modules()
ALL_NAMES = MODULES.keys()


def test_the_house_is_found() -> None:
    assert {"aiauto", "aiauto.connect", "aiauto.server", "aiauto_gen.aiauto.v1"} <= MODULES.keys()


@pytest.mark.parametrize("module", MODULES)
def test_imports_stay_within_the_rules(module: str) -> None:
    room = max((name for name in RULES if within(module, name)), key=len)
    allowed = RULES[room]
    for name in imports_of(module, MODULES[module]):
        top = name.partition(".")[0]
        if top in sys.stdlib_module_names:
            continue
        if top not in OURS and "*" in allowed:
            continue
        # A name that merely passes through a parent package (`import a.b` names `a`) is no import
        # of all that is in it.
        assert any(within(name, one) for one in allowed), f"{module} imports {name}"


@pytest.mark.parametrize("module", MODULES)
def test_nobody_looks_behind_a_private_room(module: str) -> None:
    for name in imports_of(module, MODULES[module]):
        for room, insiders in PRIVATE.items():
            if within(name, room):
                assert any(within(module, one) for one in insiders), f"{module} imports {name}"


@pytest.mark.parametrize("module", [name for name in MODULES if within(name, "aiauto.server")])
def test_the_server_loads_nothing(module: str) -> None:
    path = MODULES[module]
    assert not {name.partition(".")[0] for name in imports_of(module, path)} & LOADERS
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"eval", "exec", "compile", "__import__"}, module
