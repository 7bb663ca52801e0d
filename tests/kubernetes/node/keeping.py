"""The nodes of a cluster, whoever its control plane is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, TypeVar

from tests.kubernetes.api.kinds import POD
from tests.kubernetes.node.kubelet import Node

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping
    from pathlib import Path

    from tests.kubernetes.api.kinds import Kind, Object
    from tests.kubernetes.node.images import Image

T = TypeVar("T")


class KeepsNodes(ABC):
    """Adds nodes to a cluster, and lets go wrong on them what goes wrong on nodes.

    Attributes:
        folder: Where their files are.
        claims: Folder of the claims of storage: `claims/<namespace>/<name>`.
        nodes: They, by name.
    """

    folder: Path
    claims: Path
    nodes: dict[str, Node]

    @abstractmethod
    def run(self, coroutine: Coroutine[Any, Any, T], timeout: float = 60) -> T:
        """Run something in the cluster's thread, and wait for it."""

    @abstractmethod
    def find(self, kind: Kind, name: str, namespace: str = "default") -> Object | None:
        """An object, if it is there."""

    @abstractmethod
    def _kubeconfig_of_node(self, name: str) -> Path:
        """What a node reaches the API by."""

    def add_node(
        self,
        name: str = "node-1",
        *,
        images: Mapping[str, Image] | None = None,
        capacity: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        backoff_seconds: float = 0.2,
    ) -> Node:
        """Let one more node run Pods.

        Args:
            name: Its name.
            images: What it can pull, by name.
            capacity: What it has, such as `{"cpu": "4", "nvidia.com/gpu": "1"}`.
            labels: Its labels.
            backoff_seconds: How long it waits before it tries again what failed.
        """
        node = Node(
            self._kubeconfig_of_node(name),
            name,
            self.folder / "nodes" / name,
            claims=self.claims,
            images=images or {},
            capacity=capacity or {},
            labels=labels or {},
            backoff_seconds=backoff_seconds,
        )
        self.run(node.start())
        self.nodes[name] = node
        return node

    def oom(self, pod: str, namespace: str = "default", container: str = "") -> None:
        """Kill a container of a Pod as the kernel does where memory runs out."""
        self.run(self._node_of(pod, namespace).oom(namespace, pod, container))

    def pressure(self, pod: str, namespace: str = "default") -> None:
        """Let a Pod's node evict it, because memory runs out there."""
        self.run(self._node_of(pod, namespace).evict(namespace, pod))

    def _node_of(self, pod: str, namespace: str) -> Node:
        found = self.find(POD, pod, namespace)
        assert found is not None, f"there is no Pod {namespace}/{pod}"
        return self.nodes[found["spec"]["nodeName"]]
