"""Generating code from a schema, as anybody would."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

HERE = Path(__file__).parent


def buf(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    folder = str(Path(sys.executable).parent)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    found = shutil.which("buf", path=path)
    assert found is not None, "buf is missing: install the dependency group 'gen'"
    return subprocess.run(
        [found, *arguments],
        cwd=cwd,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def generate(proto: Path, root: Path) -> subprocess.CompletedProcess[str]:
    """Generates the messages and services of a folder of protos into the package `root`."""
    template = {
        "version": "v2",
        "plugins": [
            {
                "local": [sys.executable, "-m", "aiauto.connect.plugin.messages"],
                "out": root.name,
                "strategy": "all",
                "opt": ["client_generation=none", "server_generation=none"],
            },
            {
                "local": [sys.executable, "-m", "aiauto.connect.plugin"],
                "out": root.name,
                "strategy": "all",
            },
        ],
    }
    text = json.dumps(template)
    return buf("generate", str(proto), "--template", text, "--output", ".", cwd=root.parent)


@dataclass(frozen=True)
class Generated:
    """A generated package that can be imported."""

    root: Path

    def module(self, name: str) -> Any:
        """A module of it."""
        return importlib.import_module(f"{self.root.name}.{name}" if name else self.root.name)


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Generated]:
    """The schema in ./proto, generated."""
    folder = tmp_path_factory.mktemp("gen")
    done = generate(HERE / "proto", folder / "acme_gen")
    assert done.returncode == 0, done.stderr
    sys.path.insert(0, str(folder))
    yield Generated(folder / "acme_gen")
    sys.path.remove(str(folder))


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The messages of the schema in ./proto, by Google's own compiler and runtime."""
    folder = tmp_path_factory.mktemp("reference")
    protos = [str(path.relative_to(HERE / "proto")) for path in HERE.glob("proto/**/*.proto")]
    command = ["-m", "grpc_tools.protoc", "-I", str(HERE / "proto"), "--python_out", str(folder)]
    subprocess.run([sys.executable, *command, *protos], check=True)
    sys.path.insert(0, str(folder))
    yield importlib.import_module("acme.shop.v1.order_pb2")
    sys.path.remove(str(folder))
