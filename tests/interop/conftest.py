"""Pairs of a client and a server, one of them ours and the other an official one."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.gen.conftest import Generated, generate
from tests.interop import ours, peers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.interop.calls import Call, Client, Report

PAIRS = [
    ("our_async_client", "python_server"),
    ("our_async_client", "node_server"),
    ("our_sync_client", "python_server"),
    ("our_sync_client", "node_server"),
    ("python_client", "our_server"),
    ("node_client", "our_server"),
]


@dataclass(frozen=True)
class Pair:
    """A client and a server.

    Attributes:
        client: Name of the client's fixture.
        server: Name of the server's fixture.
    """

    client: str
    server: str
    _client: Client
    _url: str

    def call(self, call: Call) -> Report:
        """Calls the server with the client."""
        return self._client.call(self._url, call)


@pytest.fixture(params=PAIRS, ids=lambda names: "-".join(names).replace("_", " "))
def pair(request: pytest.FixtureRequest) -> Pair:
    client, server = request.param
    return Pair(client, server, request.getfixturevalue(client), request.getfixturevalue(server))


@pytest.fixture(params=["proto", "json"])
def codec(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["identity", "gzip"])
def compression(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ours.Code]:
    """The schema in ./proto, by our generator."""
    folder = tmp_path_factory.mktemp("interop")
    done = generate(peers.HERE / "proto", folder / "interop_gen")
    assert done.returncode == 0, done.stderr
    sys.path.insert(0, str(folder))
    yield ours.Code(Generated(folder / "interop_gen"))
    sys.path.remove(str(folder))


@pytest.fixture(scope="session")
def our_server(code: ours.Code) -> Iterator[str]:
    with ours.serve(code) as url:
        yield url


@pytest.fixture(scope="session")
def our_async_client(code: ours.Code) -> ours.AsyncClient:
    return ours.AsyncClient(code)


@pytest.fixture(scope="session")
def our_sync_client(code: ours.Code) -> Iterator[ours.SyncClient]:
    client = ours.SyncClient(code)
    yield client
    client.close()


@dataclass(frozen=True)
class Runtime:
    """How to run a peer's programs.

    Attributes:
        client: The command that runs its client.
        server: The command that runs its server.
        environment: Variables that they need.
    """

    client: Sequence[str | Path]
    server: Sequence[str | Path]
    environment: dict[str, str]


@pytest.fixture(scope="session")
def python_runtime(tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    programs = peers.install_python()
    folder = tmp_path_factory.mktemp("interop-python")
    peers.generate_python(programs, folder)
    client, server = (
        [programs / "python", peers.HERE / "python" / name] for name in ("client.py", "server.py")
    )
    return Runtime(client, server, {"PYTHONPATH": str(folder / "gen")})


@pytest.fixture(scope="session")
def python_client(python_runtime: Runtime) -> Iterator[Client]:
    with peers.program(python_runtime.client, python_runtime.environment) as running:
        yield peers.PeerClient(running)


@pytest.fixture(scope="session")
def python_server(python_runtime: Runtime) -> Iterator[str]:
    with peers.program(python_runtime.server, python_runtime.environment) as running:
        yield f"http://127.0.0.1:{int(running.ask())}"


@pytest.fixture(scope="session")
def node_runtime(tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    modules = peers.install_node()
    folder = tmp_path_factory.mktemp("interop-node")
    peers.prepare_node(modules, folder)
    node = Path(shutil.which("node") or "node")
    return Runtime([node, folder / "client.mjs"], [node, folder / "server.mjs"], {})


@pytest.fixture(scope="session")
def node_client(node_runtime: Runtime) -> Iterator[Client]:
    with peers.program(node_runtime.client, node_runtime.environment) as running:
        yield peers.PeerClient(running)


@pytest.fixture(scope="session")
def node_server(node_runtime: Runtime) -> Iterator[str]:
    with peers.program(node_runtime.server, node_runtime.environment) as running:
        yield f"http://127.0.0.1:{int(running.ask())}"
