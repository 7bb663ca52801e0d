"""Servers that run batches on a cluster."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from aiauto.testing import embedded_server

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from pathlib import Path

    from aiauto.testing import EmbeddedServer


@contextlib.contextmanager
def server_on(
    kubeconfig: Path, configuration: Mapping[str, Any], folder: Path
) -> Generator[EmbeddedServer]:
    """Run a server that runs batches on a cluster while the block runs.

    Args:
        kubeconfig: Leads to the cluster.
        configuration: How the cluster wants workers.
        folder: Where the server's files go.
    """
    path = folder / "kubernetes.yaml"
    path.write_text(json.dumps(configuration), encoding="utf-8")  # JSON is YAML, too
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", str(kubeconfig))
        patch.setenv("AIAUTO_EXECUTOR", "kubernetes")
        patch.setenv("AIAUTO_KUBERNETES_CONFIG", str(path))
        with embedded_server(folder / "data") as running:
            yield running
