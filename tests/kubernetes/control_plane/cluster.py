"""The cluster that tests know from the double, with Kubernetes' own control plane in its place."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import pytest
from kubernetes_asyncio.client.exceptions import ApiException

from tests.kubernetes.api import kinds
from tests.kubernetes.client import Client
from tests.kubernetes.node.keeping import KeepsNodes

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from pathlib import Path

    from typing_extensions import Self

    from tests.kubernetes.api.kinds import Kind, Object
    from tests.kubernetes.control_plane.plane import ControlPlane

T = TypeVar("T")

_SECONDS: Final = 60.0
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
    kinds.SERVICE_ACCOUNT,
    kinds.NODE,
    kinds.PRIORITY_CLASS,
    kinds.NAMESPACE,
)


class _Store:
    """What is read past the double's port, and from a real one as anybody reads it."""

    def __init__(self, cluster: RealCluster) -> None:
        self._cluster = cluster

    def all(self, kind: Kind, namespace: str = "") -> list[Object]:
        """The objects of a kind."""
        found = self._cluster.run(self._cluster.client.list(kind, namespace))
        items: list[Object] = found["items"]
        return items

    def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """An object."""
        return self._cluster.run(self._cluster.client.get(kind, namespace, name))

    def find(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """An object, if it is there."""
        try:
            return self.get(kind, namespace, name)
        except ApiException as error:
            if error.status == 404:
                return None
            raise


@dataclass(frozen=True)
class _Api:
    store: _Store


class RealCluster(KeepsNodes):
    """What `tests.kubernetes.cluster.Cluster` is, on a control plane that tests share.

    What only the double can do leaves the test out: faults, forgotten versions.

    Args:
        plane: The control plane.
        folder: Where the files of nodes go.

    Attributes:
        kubeconfig: A file with which everything may be done.
        url: The API's address.
        nodes: Its nodes, by name.
        claims: Folder of the claims of storage: `claims/<namespace>/<name>`.
        client: Speaks with it as its administrator, in its thread.
    """

    client: Client

    def __init__(self, plane: ControlPlane, folder: Path) -> None:
        self.folder = folder
        self.kubeconfig = plane.kubeconfig
        self.url = plane.url
        self.nodes = {}
        self.claims = folder / "claims"
        self.api = _Api(_Store(self))
        self._plane = plane
        self._accounts = itertools.count()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._thread.start()
        self.client = self.run(Client.connect(self.kubeconfig, "test"))
        for number in range(_VOLUMES):
            self.create(_VOLUME, _volume(f"volume-{number}"))
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            self.run(self._close())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    async def _close(self) -> None:
        for node in self.nodes.values():
            await node.close()
        try:
            await asyncio.wait_for(self._clear(), _SECONDS)
        finally:
            await self.client.close()

    async def _clear(self) -> None:
        """Leave the control plane to the next test as this one found it."""
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

    # ---------------------------------------------------------------------------- its objects

    def run(self, coroutine: Coroutine[Any, Any, T], timeout: float = _SECONDS) -> T:
        """Run something in the cluster's thread, and wait for it."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout)

    def create(self, kind: Kind, obj: Object, namespace: str = "default") -> Object:
        """Make an object."""
        where = namespace if kind.namespaced else ""
        whole = {"apiVersion": kind.api_version, "kind": kind.name, **obj}
        return self.run(self.client.create(kind, where, whole))

    def all(self, kind: Kind, namespace: str = "") -> list[Object]:
        """The objects of a kind."""
        return self.api.store.all(kind, namespace)

    def find(self, kind: Kind, name: str, namespace: str = "default") -> Object | None:
        """An object, if it is there."""
        return self.api.store.find(kind, namespace if kind.namespaced else "", name)

    def wait_for(
        self, condition: Callable[[], T | None], what: str, timeout: float = _SECONDS
    ) -> T:
        """Wait until something is so.

        Args:
            condition: Gives something true when it is so.
            what: What is waited for, for whoever waits in vain.
            timeout: Seconds to wait.

        Raises:
            AssertionError: It was not so in time.
        """
        deadline = time.monotonic() + timeout
        while not (found := condition()):
            assert time.monotonic() < deadline, f"{what}: not so after {timeout} s"
            time.sleep(_LOOK_SECONDS)
        return found

    # ------------------------------------------------------------------------- who calls, nodes

    def kubeconfig_of(self, rules: Sequence[Object], namespace: str) -> Path:
        """A file with which no more may be done than the rules of a Role allow.

        Args:
            rules: `rules` of the Role.
            namespace: Its namespace.
        """
        name = f"server-{next(self._accounts)}"
        role = {"kind": "Role", "apiGroup": "rbac.authorization.k8s.io", "name": name}
        subject = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
        objects: Sequence[Object] = (
            {"apiVersion": "v1", "kind": "ServiceAccount"},
            {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "rules": rules},
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "RoleBinding",
                "roleRef": role,
                "subjects": [subject],
            },
        )
        for one in objects:
            given = json.dumps({**one, "metadata": {"name": name}})
            self._plane.kubectl("apply", "-f-", f"--namespace={namespace}", given=given)
        return self._plane.account_kubeconfig(namespace, name)

    def _kubeconfig_of_node(self, name: str) -> Path:
        # It may do what a kubelet may, and no more.
        return self._plane.node_kubeconfig(name)

    # ------------------------------------------------------------------------- what goes wrong

    def evict(self, pod: str, namespace: str = "default") -> None:
        """Evict a Pod by the API, as whoever drains a node does."""
        eviction = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod, "namespace": namespace},
        }
        path = kinds.POD.path(namespace, pod, "eviction")
        self.run(self.client.request("POST", path, eviction))

    def lose(self, name: str) -> None:
        """Let a node disappear with all that runs on it: it says no more, and is then deleted."""
        self.run(self.nodes.pop(name).close())
        self.run(self.client.delete(kinds.NODE, "", name))

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):
            raise AttributeError(name)
        pytest.skip(f"a real control plane has no `{name}`")


def _volume(name: str) -> Object:
    modes = ["ReadWriteOnce", "ReadWriteMany", "ReadOnlyMany"]
    spec = {"capacity": {"storage": "1Ti"}, "accessModes": modes, "hostPath": {"path": "/none"}}
    return {"metadata": {"name": name}, "spec": spec}
