"""Where the contestants run: an environment and generated code for each library.

Libraries whose packages get into each other's way have environments of their own, in a folder that
is kept for the next run and named by what is in it.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.environments import BIN, ROOT, UnavailableError, kept, python_in, run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_HERE: Final = Path(__file__).parent
_PROTO: Final = _HERE / "proto"

GRPC_PINS: Final = ("grpcio==1.85.1", "grpcio-tools==1.85.1", "protobuf==7.36.2")
CONNECTRPC_PINS: Final = (
    "connectrpc==0.13.0",
    "protoc-gen-connectrpc==0.13.0",
    "protoc-gen-py==0.7.0",
    "protobuf-py==0.7.0",
    "pyqwest==0.12.0",
    "uvicorn==0.54.0",
    "uvloop==0.23.0",
    "httptools==0.9.0",
)


@dataclass(frozen=True)
class Environment:
    """What runs a contestant.

    Attributes:
        python: The interpreter.
        generated: Folder with the generated code.
    """

    python: Path
    generated: Path

    def variables(self) -> dict[str, str]:
        """The environment variables of a process in it."""
        path = os.pathsep.join([str(self.generated), str(ROOT)])
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return {**kept, "PYTHONPATH": path}


def ours(folder: Path) -> Environment:
    """The environment that this runs in, with code that the checkout generates into a folder."""
    plugins = [
        {
            "local": [sys.executable, "-m", "aiauto.connect.plugin.messages"],
            "out": "ours_gen",
            "strategy": "all",
            "opt": ["client_generation=none", "server_generation=none"],
        },
        {
            "local": [sys.executable, "-m", "aiauto.connect.plugin"],
            "out": "ours_gen",
            "strategy": "all",
        },
    ]
    _buf_generate(plugins, folder)
    return Environment(Path(sys.executable), folder)


def grpc() -> Environment:
    """The environment of grpcio."""
    return _kept(GRPC_PINS, _generate_grpc)


def connectrpc() -> Environment:
    """The environment of connectrpc."""
    if sys.version_info < (3, 11):
        raise UnavailableError("connectrpc needs Python 3.11")
    return _kept(CONNECTRPC_PINS, _generate_connectrpc)


def _generate_grpc(python: Path, folder: Path) -> None:
    protos = [str(path.relative_to(_PROTO)) for path in _PROTO.rglob("*.proto")]
    outputs = [f"--python_out={folder}", f"--grpc_python_out={folder}"]
    run(str(python), "-m", "grpc_tools.protoc", f"-I{_PROTO}", *outputs, *protos)


def _generate_connectrpc(python: Path, folder: Path) -> None:
    plugins = [
        {"local": [str(python.parent / name)], "out": "."}
        for name in ("protoc-gen-py", "protoc-gen-connectrpc")
    ]
    _buf_generate(plugins, folder)


def _kept(pins: tuple[str, ...], generate: Callable[[Path, Path], None]) -> Environment:
    """An environment that is made once and kept, with its generated code."""

    def prepare(folder: Path) -> None:
        (folder / "generated").mkdir(exist_ok=True)
        generate(python_in(folder), folder / "generated")

    folder = kept(pins, str(_HERE), *_protos(), prepare=prepare)
    return Environment(python_in(folder), folder / "generated")


def _protos() -> list[str]:
    return [path.read_text(encoding="utf-8") for path in sorted(_PROTO.rglob("*.proto"))]


def _buf_generate(plugins: Sequence[Mapping[str, object]], folder: Path) -> None:
    template = json.dumps({"version": "v2", "plugins": plugins})
    run(str(BIN / "buf"), "generate", str(_PROTO), "--template", template, "--output", str(folder))
