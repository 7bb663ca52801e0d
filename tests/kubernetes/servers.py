"""Servers that run batches on a cluster, and what makes its workers start soon."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import uv

from aiauto.server import wheel
from aiauto.testing import embedded_server

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from aiauto.testing import EmbeddedServer


def fill_package_cache(folder: Path) -> dict[str, str]:
    """Have at hand what workers install: else each of them would fetch it anew.

    Args:
        folder: Where to keep it. It is empty.

    Returns:
        The variables by which the installer of a worker finds it.
    """
    own = folder / wheel.NAME
    own.write_bytes(wheel.OwnWheel().content())
    cache, target = folder / "cache", folder / "target"
    program = [uv.find_uv_bin(), "pip", "install", "--quiet", "--cache-dir", str(cache)]
    subprocess.run([*program, "--target", str(target), str(own)], check=True)
    shutil.rmtree(target)
    # Containers run as nobody in particular.
    for path in (cache, *cache.rglob("*")):
        path.chmod(path.stat().st_mode | (0o077 if path.is_dir() else 0o066))
    for parent in cache.parents:
        if parent != Path("/") and parent.stat().st_uid == os.getuid():
            parent.chmod(parent.stat().st_mode | 0o055)
    return {"UV_LINK_MODE": "copy", "UV_CACHE_DIR": str(cache)}


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
