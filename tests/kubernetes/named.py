"""The cluster that `KUBECONFIG` names, whichever that is: a namespace of it for each test.

Nothing is changed outside that namespace, which goes with the test.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from typing import TYPE_CHECKING, Final, NoReturn

import pytest
from kubernetes_asyncio.client.exceptions import ApiException

from tests.kubernetes import kubeconfigs
from tests.kubernetes.api.kinds import NAMESPACE, NODE, SERVICE_ACCOUNT
from tests.kubernetes.live import LiveCluster

if TYPE_CHECKING:
    from pathlib import Path

# What namespaces of tests have, so that whoever killed the tests finds them.
LABEL: Final = "aiauto.dev/test"
# Pods of workers must get along with the strictest rules.
_LABELS: Final = {LABEL: "true", "pod-security.kubernetes.io/enforce": "restricted"}
_LOOK_SECONDS: Final = 0.2


class NamedCluster(LiveCluster):
    """A cluster that is somebody else's. Its images are pulled and its nodes are what they are.

    Args:
        kubeconfig: File that leads there.
        folder: Where files go.
        image: What workers run in; None for what the server chooses.
        address: This machine's as Pods reach it; empty for the one on the way to a node.

    Attributes:
        image: What workers run in; None for what the server chooses.
        node: Stands for a node. What tests do to one leaves the test out.
    """

    patience_seconds = 600.0

    def __init__(
        self, kubeconfig: Path, folder: Path, *, image: str | None = None, address: str = ""
    ) -> None:
        folder.mkdir(parents=True)
        self.namespace = f"aiauto-test-{secrets.token_hex(4)}"
        derived = kubeconfigs.derive(
            kubeconfig, folder / "kubeconfig.yaml", namespace=self.namespace
        )
        super().__init__(derived, folder)
        self.image = image
        self.address = address
        self.node = _TheirNode()

    def _prepare(self) -> None:
        self.create(NAMESPACE, {"metadata": {"name": self.namespace, "labels": _LABELS}})
        self.address = self.address or self._own_address()
        # A Pod is refused before its namespace has an account for it.
        self.wait_for(lambda: self.find(SERVICE_ACCOUNT, "default"), "the account of Pods")

    async def _clear(self) -> None:
        try:
            await self.client.delete(NAMESPACE, "", self.namespace)
            while True:  # until there is none
                await self.client.get(NAMESPACE, "", self.namespace)
                await asyncio.sleep(_LOOK_SECONDS)
        except ApiException as error:
            if error.status != 404:
                raise

    def _own_address(self) -> str:
        """This machine's address on the way to a node: Pods there reach it by that, as a rule."""
        for node in self.all(NODE):
            for one in node["status"].get("addresses", []):
                if one["type"] == "InternalIP" and ":" not in one["address"]:
                    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
                        way.connect((one["address"], 9))  # nothing is sent by this
                        address: str = way.getsockname()[0]
                        return address
        message = "No node tells its address. Name this machine's: --cluster-address."
        raise RuntimeError(message)


class _TheirNode:
    """A node that tests can do nothing to."""

    def __getattr__(self, name: str) -> NoReturn:
        pytest.skip(f"this cluster's nodes are its own: no `{name}`")
