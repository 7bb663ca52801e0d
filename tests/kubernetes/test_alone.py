"""The cluster as a program of its own, for people who try things."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

from tests.kubernetes.api.kinds import NAMESPACE
from tests.kubernetes.client import Client

ROOT = Path(__file__).parents[2]


async def namespaces(kubeconfig: Path) -> list[str]:
    client = await Client.connect(kubeconfig, "test")
    found = await client.list(NAMESPACE)
    await client.close()
    return [one["metadata"]["name"] for one in found["items"]]


def test_it_runs_alone_and_leaves_nothing() -> None:
    command = [sys.executable, "-m", "tests.kubernetes"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        kubeconfig = Path(process.stdout.readline().strip())
        assert "default" in asyncio.run(namespaces(kubeconfig))
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert not kubeconfig.parent.exists()
