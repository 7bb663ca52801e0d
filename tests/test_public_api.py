"""What `import aiauto` offers, and what it costs."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import subprocess
import sys
import typing
from pathlib import Path

import pytest

import aiauto
from aiauto import connect, errors


def test_every_name_is_there_and_documented() -> None:
    assert len(set(aiauto.__all__)) == len(aiauto.__all__)
    for name in aiauto.__all__:
        value = getattr(aiauto, name)
        # To Python 3.10 an alias of Callable is a class, too.
        if inspect.isclass(value) and typing.get_origin(value) is None:
            assert inspect.getdoc(value), name
    assert set(aiauto.__all__) <= set(dir(aiauto))


def test_every_error_is_a_public_name() -> None:
    assert set(errors.__all__) <= set(aiauto.__all__)
    assert aiauto.AIAutoRpcError is aiauto.RpcError


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(str(aiauto.__file__)).read_text(encoding="utf-8"))
    seen = {
        alias.asname or alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module != "__future__"
        for alias in node.names
        if alias.name != "TYPE_CHECKING"
    }
    assert seen.keys() == set(aiauto.__all__)
    for name, module in seen.items():
        assert getattr(aiauto, name) is getattr(importlib.import_module(str(module)), name), name


def names_in(annotation: ast.expr | None, known: set[str], modules: set[str]) -> set[str]:
    """Which of the known names an annotation speaks of, as they are or as part of a module."""
    found: set[str] = set()
    for one in ast.walk(annotation) if annotation is not None else ():
        if isinstance(one, ast.Name) and one.id in known:
            found.add(one.id)
        elif isinstance(one, ast.Attribute) and isinstance(one.value, ast.Name):
            found |= {one.attr} if one.value.id in modules else set()
    return found


def names_in_signatures(cls: type) -> set[str]:
    """Names of this package that the signatures of a class's public methods speak of."""
    found: set[str] = set()
    for base in cls.__mro__:
        if not base.__module__.startswith("aiauto"):
            continue
        tree = ast.parse(inspect.getsource(sys.modules[base.__module__]))
        known = {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
        modules: set[str] = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("aiauto."):
                known |= {alias.asname or alias.name for alias in node.names}
            if isinstance(node, ast.ImportFrom) and node.module == "aiauto":
                modules |= {alias.asname or alias.name for alias in node.names}
        bodies = [
            node.body
            for node in tree.body
            if isinstance(node, ast.ClassDef) and node.name == base.__name__
        ]
        for method in (method for body in bodies for method in body):
            if not isinstance(method, (ast.FunctionDef, ast.AsyncFunctionDef)):
                continue
            if method.name.startswith("_") and method.name != "__new__":
                continue
            given = method.args
            annotations = [one.annotation for one in (*given.args, *given.kwonlyargs)]
            for annotation in (*annotations, method.returns):
                found |= names_in(annotation, known, modules)
    return found


def test_every_type_of_a_signature_is_a_public_name() -> None:
    classes = [value for name in aiauto.__all__ if inspect.isclass(value := getattr(aiauto, name))]
    named = {name for cls in classes for name in names_in_signatures(cls)}
    assert {"LogLine", "Resources", "StudyStatusWithTrials", "WaitOptionName"} <= named
    # What errors of calls carry belongs to the protocol.
    assert named <= {*aiauto.__all__, *connect.__all__}


def test_other_names_are_not_there() -> None:
    with pytest.raises(AttributeError, match="module 'aiauto' has no attribute 'Controller'"):
        getattr(aiauto, "Controller")  # noqa: B009 - a type checker sees through the other form


def test_the_version_is_that_of_the_distribution() -> None:
    from importlib.metadata import version

    assert aiauto.__version__ == version("aiauto-client")


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import aiauto", {"optuna", "aiohttp", "sqlalchemy", "betterproto2", "numpy", "tqdm"}),
        ("import aiauto; aiauto.RUNTIME_IMAGES", {"optuna", "aiohttp", "sqlalchemy", "numpy"}),
        ("import aiauto; aiauto.AIAutoError", {"optuna", "sqlalchemy", "numpy"}),
        ("import aiauto; aiauto.AIAutoController", {"optuna", "sqlalchemy", "alembic"}),
    ],
)
def test_importing_costs_little(statement: str, absent: set[str]) -> None:
    script = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = set(done.stdout.split())
    assert "aiauto" in loaded
    assert not loaded & absent
    assert not {name for name in loaded if name.startswith(("aiauto.server", "aiauto.runner"))}


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({}, "https://dashboard.aiauto.pangyo.ainode.ai False\n"),
        (
            {"AIAUTO_BASE_URL": "https://hpo.example.org:8443", "AIAUTO_INSECURE": "Yes"},
            "https://hpo.example.org:8443 True\n",
        ),
    ],
)
def test_names_of_the_released_client(variables: dict[str, str], told: str) -> None:
    program = (
        "from aiauto import AIAUTO_BASE_URL, AIAUTO_INSECURE, RUNTIME_IMAGES, AIAutoController\n"
        "from aiauto import AIAutoRpcError, ExhaustiveCategoricalSampler, SearchSpaceExhausted\n"
        "from aiauto import StudyWrapper, TrialController, WaitOption, __version__\n"
        "print(AIAUTO_BASE_URL, AIAUTO_INSECURE)\n"
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AIAUTO_")}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**kept, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == told
