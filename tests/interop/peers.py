"""The official implementations: installed, their code generated, and run as programs."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import filelock
import pytest
import uv

from tests.gen.conftest import buf
from tests.interop.calls import Call, Report, call_to_json, report_from_json

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

HERE = Path(__file__).parent
# How long a program may take for its next line. Calls with a deadline end long before.
_SECONDS = 60


def _run(*command: str | Path, cwd: Path) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command} failed:\n{done.stdout}{done.stderr}"


def _missing(what: str) -> NoReturn:
    """Leaves out the tests of a peer that this machine can't run; CI must run them all."""
    reason = f"{what} is not on this machine"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def _installed(name: str, pins: str, install: Callable[[Path], None]) -> Path:
    """A folder outside the tree in which a peer is installed, kept for the next run.

    Args:
        name: Of the peer.
        pins: All that decides what is installed.
        install: Installs into an empty folder.
    """
    key = hashlib.sha256(pins.encode()).hexdigest()[:16]
    root = Path(tempfile.gettempdir()) / f"aiauto-interop-{os.getuid()}"
    root.mkdir(mode=0o700, exist_ok=True)
    # Somebody else's folder would hold somebody else's programs.
    assert root.stat().st_uid == os.getuid(), f"{root} belongs to another user: remove it"
    folder = root / f"{name}-{key}"
    with filelock.FileLock(root / f"{name}-{key}.lock"):
        ready = folder / ".ready"
        if not ready.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            install(folder)
            ready.touch()
    return folder


# --------------------------------------------------------------------------------- Python


def install_python() -> Path:
    """Installs the peer of Python. Gives the folder with its programs."""
    # It needs a newer Python than this package does.
    python = sys.executable if sys.version_info >= (3, 11) else ">=3.11"
    requirements = HERE / "python/requirements.txt"
    binary = uv.find_uv_bin()
    if sys.version_info < (3, 11):
        find = [binary, "python", "find", "--no-python-downloads", python]
        if subprocess.run(find, capture_output=True, check=False).returncode != 0:
            _missing("Python 3.11 or newer, which the peer needs,")

    def install(folder: Path) -> None:
        venv = folder / "venv"
        no_downloads = "--no-python-downloads"
        _run(binary, "venv", "--quiet", "--python", python, no_downloads, venv, cwd=folder)
        found = venv / "bin/python"
        quietly = (binary, "pip", "install", "--quiet")
        _run(*quietly, "--python", found, "--requirement", requirements, cwd=folder)

    pins = f"{requirements.read_text(encoding='utf-8')}{python}{sys.version}"
    return _installed("python", pins, install) / "venv/bin"


def generate_python(programs: Path, folder: Path) -> None:
    """Generates the code of the peer of Python into a folder."""
    plugins = [
        {"local": [str(programs / name)], "out": "gen"}
        for name in ("protoc-gen-py", "protoc-gen-connectrpc")
    ]
    _generate(plugins, folder)


# ------------------------------------------------------------------------------------ Node


def install_node() -> Path:
    """Installs the peer of Node.js. Gives the folder `node_modules`."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        _missing("Node.js with npm")
    package = HERE / "node/package.json"

    def install(folder: Path) -> None:
        shutil.copy(package, folder)
        options = ["--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"]
        _run(npm, "install", "--loglevel=error", *options, cwd=folder)

    return _installed("node", package.read_text(encoding="utf-8"), install) / "node_modules"


def prepare_node(modules: Path, folder: Path) -> None:
    """Makes a folder of the programs for Node.js, which looks for modules beside them."""
    for source in (HERE / "node").iterdir():
        shutil.copy(source, folder)
    (folder / "node_modules").symlink_to(modules)
    plugin = str(modules / ".bin/protoc-gen-es")
    _generate([{"local": [plugin], "out": "gen", "opt": ["target=js"]}], folder)


def _generate(plugins: Sequence[object], folder: Path) -> None:
    template = json.dumps({"version": "v2", "plugins": plugins})
    done = buf("generate", str(HERE / "proto"), "--template", template, cwd=folder)
    assert done.returncode == 0, done.stderr


# -------------------------------------------------------------------------------- programs


class Program:
    """A program that answers in lines. It ends when its input does."""

    def __init__(self, command: Sequence[str | Path], environment: dict[str, str]) -> None:
        # A proxy of the environment does not stand between a machine and itself.
        without_proxies = {
            name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")
        }
        self._process = subprocess.Popen(
            command,
            env={**without_proxies, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def ask(self, line: str | None = None) -> str:
        """Writes a line, if there is one, and reads one."""
        if line is not None:
            assert self._process.stdin is not None
            print(line, file=self._process.stdin, flush=True)
        answer = self._lines.get(timeout=_SECONDS)
        assert answer, "the peer's program ended: see its own words above"
        return answer

    def close(self) -> None:
        """Ends the program."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended by itself
            self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._thread.join()
        self._process.stdout.close()


@contextlib.contextmanager
def program(command: Sequence[str | Path], environment: dict[str, str]) -> Generator[Program]:
    """Runs a program."""
    running = Program(command, environment)
    try:
        yield running
    finally:
        running.close()


class PeerClient:
    """Calls with a program of a peer."""

    def __init__(self, running: Program) -> None:
        self._program = running

    def call(self, url: str, call: Call, /) -> Report:
        """Makes a call."""
        return report_from_json(self._program.ask(call_to_json(url, call)))
