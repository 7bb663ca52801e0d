"""A cluster that is reached by its API alone, with the methods that tests know from the double."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import pytest
from kubernetes_asyncio.client.exceptions import ApiException

from tests.kubernetes import kubeconfigs
from tests.kubernetes.api import kinds
from tests.kubernetes.api.kinds import Kind
from tests.kubernetes.client import Client

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from pathlib import Path

    from typing_extensions import Self

    from tests.kubernetes.api.kinds import Object

T = TypeVar("T")

_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.05
_RBAC: Final = "rbac.authorization.k8s.io"
ROLE: Final = Kind(_RBAC, "v1", "roles", "Role")
ROLE_BINDING: Final = Kind(_RBAC, "v1", "rolebindings", "RoleBinding")


class _Store:
    """What is read past the double's port, and from these as anybody reads it."""

    def __init__(self, cluster: LiveCluster) -> None:
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


class LiveCluster:
    """What `tests.kubernetes.cluster.Cluster` is, on a cluster that is there anyway.

    What only the double can do leaves the test out: faults, forgotten versions.

    Args:
        kubeconfig: File that leads there.
        folder: Where files go.

    Attributes:
        kubeconfig: A file with which everything may be done that tests do.
        folder: Where files go.
        namespace: The namespace of its context, where tests work.
        address: This machine's as Pods reach it; empty where they are processes of this machine.
        patience_seconds: How long a batch may take for a step.
        client: Speaks with it as its administrator, in its thread.
    """

    client: Client
    namespace = "default"
    address = ""
    patience_seconds = 120.0

    def __init__(self, kubeconfig: Path, folder: Path) -> None:
        self.folder = folder
        self.kubeconfig = kubeconfig
        self.api = _Api(_Store(self))
        self._accounts = itertools.count()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._thread.start()
        self.client = self.run(Client.connect(self.kubeconfig, "test"))
        try:
            self._prepare()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            self.run(self._close(), timeout=self.patience_seconds)
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    async def _close(self) -> None:
        try:
            await self._clear()
        finally:
            await self.client.close()

    def _prepare(self) -> None:
        """Make what tests find there."""

    async def _clear(self) -> None:
        """Leave it as it was found."""

    # ---------------------------------------------------------------------------- its objects

    def run(self, coroutine: Coroutine[Any, Any, T], timeout: float = _SECONDS) -> T:
        """Run something in the cluster's thread, and wait for it."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout)

    def create(self, kind: Kind, obj: Object, namespace: str | None = None) -> Object:
        """Make an object."""
        whole = {"apiVersion": kind.api_version, "kind": kind.name, **obj}
        return self.run(self.client.create(kind, self._where(kind, namespace), whole))

    def all(self, kind: Kind, namespace: str | None = None) -> list[Object]:
        """The objects of a kind."""
        return self.api.store.all(kind, self._where(kind, namespace))

    def find(self, kind: Kind, name: str, namespace: str | None = None) -> Object | None:
        """An object, if it is there."""
        return self.api.store.find(kind, self._where(kind, namespace), name)

    def _where(self, kind: Kind, namespace: str | None) -> str:
        if not kind.namespaced:
            return ""
        return self.namespace if namespace is None else namespace

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

    # -------------------------------------------------------------------------------- who calls

    def kubeconfig_of(self, rules: Sequence[Object], namespace: str) -> Path:
        """A file with which no more may be done than the rules of a Role allow.

        Args:
            rules: `rules` of the Role.
            namespace: Its namespace.
        """
        name = f"server-{next(self._accounts)}"
        role = {"kind": "Role", "apiGroup": _RBAC, "name": name}
        subject = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
        objects: Sequence[tuple[Kind, Object]] = (
            (kinds.SERVICE_ACCOUNT, {}),
            (ROLE, {"rules": rules}),
            (ROLE_BINDING, {"roleRef": role, "subjects": [subject]}),
        )
        for kind, obj in objects:
            self.create(kind, {"metadata": {"name": name}, **obj}, namespace)
        version = "authentication.k8s.io/v1"
        request: Object = {"apiVersion": version, "kind": "TokenRequest", "spec": {}}
        path = kinds.SERVICE_ACCOUNT.path(namespace, name, "token")
        token = self.run(self.client.request("POST", path, request))["status"]["token"]
        return kubeconfigs.derive(
            self.kubeconfig, self.folder / f"{name}.kubeconfig", namespace=namespace, token=token
        )

    # ------------------------------------------------------------------------- what goes wrong

    def evict(self, pod: str, namespace: str | None = None) -> None:
        """Evict a Pod by the API, as whoever drains a node does."""
        where = self._where(kinds.POD, namespace)
        eviction = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod, "namespace": where},
        }
        path = kinds.POD.path(where, pod, "eviction")
        self.run(self.client.request("POST", path, eviction))

    def resume(self, job: str, namespace: str | None = None) -> None:
        """Let a Job begin that is suspended, as a queue does."""
        where, patch = self._where(kinds.JOB, namespace), {"spec": {"suspend": False}}
        self.run(self.client.merge(kinds.JOB, where, job, patch))

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):
            raise AttributeError(name)
        pytest.skip(f"only the cluster of this machine has `{name}`")
