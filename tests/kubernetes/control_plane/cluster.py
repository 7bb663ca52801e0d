"""The cluster that tests know from the double, with Kubernetes' own control plane in its place."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from kubernetes_asyncio.client.exceptions import ApiException

from tests.kubernetes.api import kinds
from tests.kubernetes.live import ROLE, ROLE_BINDING, LiveCluster
from tests.kubernetes.node.keeping import KeepsNodes

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kubernetes.api.kinds import Kind, Object
    from tests.kubernetes.control_plane.plane import ControlPlane

_LOOK_SECONDS: Final = 0.05
# What comes with a cluster, and stays.
_KEPT: Final = ("default", "kube-", "system-", "kubernetes")
# Claims are bound to these. What is in a claim, nodes keep elsewhere: see `claims`.
_VOLUME: Final = kinds.Kind("", "v1", "persistentvolumes", "PersistentVolume", namespaced=False)
_VOLUMES: Final = 2
_CLEARED: Final = (
    kinds.JOB,
    kinds.POD,
    kinds.CLAIM,
    _VOLUME,
    kinds.SECRET,
    kinds.CONFIG_MAP,
    kinds.LEASE,
    kinds.EVENT,
    ROLE_BINDING,
    ROLE,
    kinds.SERVICE_ACCOUNT,
    kinds.NODE,
    kinds.PRIORITY_CLASS,
    kinds.NAMESPACE,
)


class RealCluster(LiveCluster, KeepsNodes):
    """What `tests.kubernetes.cluster.Cluster` is, on a control plane that tests share.

    Args:
        plane: The control plane.
        folder: Where the files of nodes go.

    Attributes:
        url: The API's address.
        nodes: Its nodes, by name.
        claims: Folder of the claims of storage: `claims/<namespace>/<name>`.
    """

    def __init__(self, plane: ControlPlane, folder: Path) -> None:
        super().__init__(plane.kubeconfig, folder)
        self.url = plane.url
        self.nodes = {}
        self.claims = folder / "claims"
        self._plane = plane

    def _prepare(self) -> None:
        for number in range(_VOLUMES):
            self.create(_VOLUME, _volume(f"volume-{number}"))

    async def _clear(self) -> None:
        """Leave the control plane to the next test as this one found it."""
        for node in self.nodes.values():
            await node.close()
        for kind in _CLEARED:
            while found := await self._left(kind):
                for one in found:
                    await self._delete(kind, one)
                await asyncio.sleep(_LOOK_SECONDS)

    async def _left(self, kind: Kind) -> list[Object]:
        # Those of other namespaces go with these.
        items: list[Object] = (await self.client.list(kind, "default"))["items"]
        return [one for one in items if not one["metadata"]["name"].startswith(_KEPT)]

    async def _delete(self, kind: Kind, one: Object) -> None:
        metadata = one["metadata"]
        if kind is not kinds.NAMESPACE and "deletionTimestamp" in metadata:
            options: Object = {}
        else:
            options = {"propagationPolicy": "Background"}
        try:
            await self.client.delete(
                kind,
                metadata.get("namespace", ""),
                metadata["name"],
                gracePeriodSeconds=0,
                **options,
            )
        except ApiException as error:
            if error.status not in {404, 409}:
                raise

    def _kubeconfig_of_node(self, name: str) -> Path:
        # It may do what a kubelet may, and no more.
        return self._plane.node_kubeconfig(name)

    def lose(self, name: str) -> None:
        """Let a node disappear with all that runs on it: it says no more, and is then deleted."""
        self.run(self.nodes.pop(name).close())
        self.run(self.client.delete(kinds.NODE, "", name))


def _volume(name: str) -> Object:
    modes = ["ReadWriteOnce", "ReadWriteMany", "ReadOnlyMany"]
    spec = {"capacity": {"storage": "1Ti"}, "accessModes": modes, "hostPath": {"path": "/none"}}
    return {"metadata": {"name": name}, "spec": spec}
