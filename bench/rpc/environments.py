"""Where the contestants run: an environment and generated code for each library.

Libraries whose packages get into each other's way have environments of their own, in a folder that
is kept for the next run and named by what is in it.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import filelock
import uv

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_BIN: Final = Path(sys.executable).parent
_HERE: Final = Path(__file__).parent
_ROOT: Final = _HERE.parents[1]
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


class UnavailableError(Exception):
    """An environment can't be made here."""


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
        path = os.pathsep.join([str(self.generated), str(_ROOT)])
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
    _run(str(python), "-m", "grpc_tools.protoc", f"-I{_PROTO}", *outputs, *protos)


def _generate_connectrpc(python: Path, folder: Path) -> None:
    plugins = [
        {"local": [str(python.parent / name)], "out": "."}
        for name in ("protoc-gen-py", "protoc-gen-connectrpc")
    ]
    _buf_generate(plugins, folder)


def _kept(pins: tuple[str, ...], generate: Callable[[Path, Path], None]) -> Environment:
    """An environment that is made once and kept."""
    what = [sys.version, str(_HERE), *pins, *_protos()]
    name = hashlib.sha256("\n".join(what).encode()).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"aiauto-bench-{name}"
    folder.mkdir(mode=0o700, exist_ok=True)
    python, generated = folder / "venv/bin/python", folder / "generated"
    done = folder / "done"  # an installation that was cut short is begun anew
    with filelock.FileLock(folder / "lock"):
        if not done.exists():
            installer = uv.find_uv_bin()
            venv = str(folder / "venv")
            _run(installer, "venv", "--quiet", "--clear", "--python", sys.executable, venv)
            _run(installer, "pip", "install", "--quiet", "--python", str(python), *pins)
            generated.mkdir(exist_ok=True)
            generate(python, generated)
            done.touch()
    return Environment(python, generated)


def _protos() -> list[str]:
    return [path.read_text(encoding="utf-8") for path in sorted(_PROTO.rglob("*.proto"))]


def _buf_generate(plugins: Sequence[Mapping[str, object]], folder: Path) -> None:
    template = json.dumps({"version": "v2", "plugins": plugins})
    _run(
        str(_BIN / "buf"), "generate", str(_PROTO), "--template", template, "--output", str(folder)
    )


def _run(*command: str) -> None:
    # The plugins start programs that are installed beside Python, such as ruff.
    path = f"{_BIN}{os.pathsep}{os.environ.get('PATH', '')}"
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        cwd=_ROOT,
        env={**os.environ, "PATH": path},
    )
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        raise UnavailableError(f"{Path(command[0]).name} failed: {said[-2000:]}")
