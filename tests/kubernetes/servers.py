"""Servers that run batches on a cluster."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
from typing import TYPE_CHECKING, Any, Final

import pytest

from aiauto.testing import embedded_server
from tests.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from pathlib import Path

    from aiauto.testing import EmbeddedServer
    from tests.kubernetes.cluster import Cluster
    from tests.kubernetes.live import LiveCluster

_LOOPBACK: Final = "127.0.0.1"
# Who is there is asked for each connection.
_NOBODY: Final = "http://127.0.0.1:1"


class Service(Proxy):
    """One address for several servers, as a Service is. Each connection reaches one that is there.

    Attributes:
        servers: They.

    Args:
        address: This machine's as Pods reach it; empty for the loopback.
    """

    def __init__(self, address: str = "") -> None:
        self.servers: list[EmbeddedServer] = []
        self._turn = itertools.count()
        try:
            super().__init__(_NOBODY, address or _LOOPBACK)
        except OSError:  # it leads here, and is none of this machine's own
            super().__init__(_NOBODY)
            self.url = f"http://{address}:{self.url.rpartition(':')[2]}"

    def connect(self) -> socket.socket | None:
        """A connection to the next server that is there."""
        turn = next(self._turn)
        for number in range(len(self.servers)):
            server = self.servers[(turn + number) % len(self.servers)]
            with contextlib.suppress(OSError):
                port = int(server.url.rpartition(":")[2])
                return socket.create_connection((_LOOPBACK, port))
        return None


@contextlib.contextmanager
def settings_for(
    kubeconfig: Path, configuration: Mapping[str, Any], folder: Path
) -> Generator[None]:
    """Let servers that are started while the block runs use a cluster.

    Args:
        kubeconfig: Leads to the cluster.
        configuration: How it wants workers.
        folder: Where the configuration goes.
    """
    path = folder / "kubernetes.yaml"
    path.write_text(json.dumps(configuration), encoding="utf-8")  # JSON is YAML, too
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", str(kubeconfig))
        patch.setenv("AIAUTO_EXECUTOR", "kubernetes")
        patch.setenv("AIAUTO_KUBERNETES_CONFIG", str(path))
        yield


@contextlib.contextmanager
def server_on(
    cluster: Cluster | LiveCluster,
    configuration: Mapping[str, Any],
    folder: Path,
    *,
    kubeconfig: Path | None = None,
) -> Generator[EmbeddedServer]:
    """Run a server that runs batches on a cluster while the block runs.

    Args:
        cluster: The cluster.
        configuration: How it wants workers.
        folder: Where the server's files go.
        kubeconfig: Leads to the cluster; None for as the one who may do everything.
    """
    with contextlib.ExitStack() as stack:
        service = None
        if cluster.address:
            # The server itself listens where nobody else reaches it.
            service = stack.enter_context(Service(cluster.address))
            configuration = {"worker_url": service.url, **configuration}
        used = kubeconfig or cluster.kubeconfig
        stack.enter_context(settings_for(used, configuration, folder))
        running = stack.enter_context(embedded_server(folder / "data"))
        if service is not None:
            service.servers.append(running)
        yield running
