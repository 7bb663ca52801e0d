"""A cluster of this machine: the API, the controllers and nodes, in a thread of their own.

It is there because a real one can't be had everywhere. Programs speak with it by the real protocol
over a real port, and Pods are real processes. It differs from Kubernetes 1.34 in this:

- **Kinds.** Only those of `api/kinds.py`. JSON only, no protobuf, no server-side apply; a
  strategic merge patch is refused (415) where it has lists. `managedFields` are not kept.
- **Judging.** Types and unknown fields are judged by the published schemas, where Go can fetch
  them. Beyond those, what is refused is what `api/validation.py` and `api/pod_validation.py`
  list: the real server refuses more. Of a status it takes what it gets.
- **Rights.** A bearer token may do everything, or what the rules of one Role allow. There are no
  Roles as objects, no quotas, no limit ranges, no admission but Pod security ("restricted", of
  Pods alone), accounts and priority classes that are missing.
- **Accounts.** No token of a service account is mounted into Pods.
- **Lists.** A page goes on from memory; watches are never late. A watch without `timeoutSeconds`
  lasts 30 minutes.
- **Jobs.** No `successPolicy`, no `OnFailure` (the node refuses it). Pods are counted in one
  step, so `uncountedTerminatedPods` is always empty. The back-off after a failure is short unless
  a test asks for more.
- **Scheduler.** Node selector, required node affinity, taints, requests, claims. No preferences,
  no affinity between Pods, no spreading; nobody is preempted unless a test does it.
- **Storage.** One class, `standard`; a claim is bound at once and is a folder that all nodes
  share, owned by root as on most volumes. Sizes are not enforced, but that of `emptyDir` in
  memory is.
- **Nodes.** All have the address 127.0.0.1, and their Pods as well: there is no network between,
  no Service, no DNS, no NetworkPolicy. Limits of CPU and memory are not enforced: a test says
  when memory runs out. A GPU is a number: no device is passed on. Restart policy `Never` only; no
  probes, no sidecars, no lifecycle hooks, no `hostPath`, no projected volumes; a Secret that
  changes does not change in a Pod that runs. Variables of Services (`KUBERNETES_SERVICE_HOST`)
  are not set.
- **Images.** An image is this machine's root with a Python's folder at `/opt/image`, and an entry
  point must be given as `command`. Containers write into memory, not into this machine's files.
- **Capabilities** and seccomp profiles change nothing; users, groups, `fsGroup`, a read-only root
  and "no new privileges" do.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import secrets
import selectors
import threading
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TYPE_CHECKING, Any, Final, TypeVar

import trustme

from tests.kubernetes import certificates, kubeconfigs
from tests.kubernetes.api.access import Caller
from tests.kubernetes.api.kinds import JOB, NAMESPACE, NODE, Kind, Object
from tests.kubernetes.api.server import ApiServer
from tests.kubernetes.api.subresources import evict
from tests.kubernetes.controllers import loop
from tests.kubernetes.controllers.claims import ClaimBinder
from tests.kubernetes.controllers.garbage import GarbageCollector
from tests.kubernetes.controllers.jobs import JobController
from tests.kubernetes.controllers.scheduler import Scheduler
from tests.kubernetes.node.keeping import KeepsNodes

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from pathlib import Path

    from typing_extensions import Self

    from tests.kubernetes.api.faults import Faults
    from tests.kubernetes.schemas import Schemas

T = TypeVar("T")

_NAMESPACES: Final = ("default", "kube-system", "kube-node-lease")
_START_SECONDS: Final = 30.0
_CLOSE_SECONDS: Final = 5.0


class Cluster(KeepsNodes):
    """A cluster. Its methods may be called from any thread but its own.

    Args:
        folder: Where its files are; it must be empty.
        schemas: Kubernetes' published ones, by which objects are judged; None not to.
        backoff_seconds: How long a Job waits after its first Pod that failed. In a real cluster it
            is 10 seconds.
        bookmark_seconds: How often watches that want bookmarks get one. In a real cluster about a
            minute.

    Attributes:
        kubeconfig: A file with which everything may be done.
        token: Its bearer token.
        url: The API's address.
        api: The API.
        faults: What goes wrong on the way there, and the record of all requests.
        namespace: The namespace of the kubeconfig's context, where tests work.
        address: This machine's as Pods reach it: empty, since they are processes of this machine.
        patience_seconds: How long a batch may take for a step.
        nodes: Its nodes, by name.
        claims: Folder of the claims of storage: `claims/<namespace>/<name>`.
    """

    namespace = "default"
    address = ""
    patience_seconds = 120.0

    def __init__(
        self,
        folder: Path,
        *,
        schemas: Schemas | None = None,
        backoff_seconds: float = 0.05,
        bookmark_seconds: float = 60,
    ) -> None:
        self.folder = folder
        self.kubeconfig = folder / "kubeconfig.yaml"
        self.token = secrets.token_urlsafe()
        self.claims = folder / "claims"
        self.api = ApiServer(schemas=schemas, bookmark_seconds=bookmark_seconds)
        self.faults: Faults = self.api.faults
        self.nodes = {}
        self._authority = trustme.CA()
        self._scheduler = Scheduler(self.api.registry)
        self._controllers: Sequence[loop.Controller] = (
            ClaimBinder(self.api.registry),
            self._scheduler,
            JobController(self.api.registry, backoff_seconds=backoff_seconds),
            GarbageCollector(self.api.registry),
        )
        self._sockets = selectors.DefaultSelector()
        self._loop = asyncio.SelectorEventLoop(self._sockets)
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def url(self) -> str:
        """The API's address."""
        return self.api.url

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._thread.start()
        self.run(self._start())
        self._write(self.kubeconfig, self.token, self.namespace)
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            self.run(self._close())
        finally:
            self.run(self._disconnected())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    async def _start(self) -> None:
        self.api.callers[self.token] = Caller("system:admin")
        for name in _NAMESPACES:
            self.api.registry.create(NAMESPACE, "", {"metadata": {"name": name}})
        await self.api.start(certificates.serving(self._authority))
        for controller in self._controllers:
            task = asyncio.create_task(loop.run(self.api.store, controller))
            task.add_done_callback(_must_go_on)
            self._tasks.append(task)

    async def _disconnected(self) -> None:
        """Wait until both ends of each encrypted connection have taken their leave."""
        end = self._loop.time() + _CLOSE_SECONDS
        # One is the loop's own.
        while len(self._sockets.get_map()) > 1 and self._loop.time() < end:  # noqa: ASYNC110
            await asyncio.sleep(0.005)

    async def _close(self) -> None:
        failed = [task for task in self._tasks if task.done() and not task.cancelled()]
        for node in self.nodes.values():
            await node.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.api.close()
        if others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others, timeout=_CLOSE_SECONDS)
        for task in failed:
            # A controller that broke has not done what a test believes.
            task.result()

    # ---------------------------------------------------------------------- from other threads

    def run(self, coroutine: Coroutine[Any, Any, T], timeout: float = 60) -> T:
        """Run something in the cluster's thread, and wait for it."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout)

    def call(self, function: Callable[[], T]) -> T:
        """Call something in the cluster's thread, and wait for it."""
        result: Future[T] = Future()

        def do() -> None:
            try:
                result.set_result(function())
            except BaseException as error:  # noqa: BLE001
                result.set_exception(error)

        self._loop.call_soon_threadsafe(do)
        return result.result(60)

    def create(self, kind: Kind, obj: Object, namespace: str = "default") -> Object:
        """Make an object, past the API's port."""
        where = namespace if kind.namespaced else ""
        return self.call(lambda: self.api.registry.create(kind, where, obj))

    def all(self, kind: Kind, namespace: str = "") -> list[Object]:
        """The objects of a kind, past the API's port."""
        return self.call(lambda: self.api.store.all(kind, namespace))

    def find(self, kind: Kind, name: str, namespace: str = "default") -> Object | None:
        """An object, if it is there, past the API's port."""
        where = namespace if kind.namespaced else ""
        return self.call(lambda: self.api.store.find(kind, where, name))

    def wait_for(
        self, condition: Callable[[], T | None], what: str, timeout: float = _START_SECONDS
    ) -> T:
        """Wait until something is so. It is looked at after every change of any object.

        Args:
            condition: Gives something true when it is so. Called in the cluster's thread, where it
                may use `api.store`.
            what: What is waited for, for whoever waits in vain.
            timeout: Seconds to wait.

        Raises:
            AssertionError: It was not so in time.
        """

        async def wait() -> T:
            while True:
                seen = self.api.store.revision
                if found := condition():
                    return found
                await self.api.store.changed(seen)

        future = asyncio.run_coroutine_threadsafe(wait(), self._loop)
        try:
            return future.result(timeout)
        except (TimeoutError, FutureTimeoutError):
            raise AssertionError(f"{what}: not so after {timeout} s") from None
        finally:
            future.cancel()

    # ------------------------------------------------------------------------- who calls, nodes

    def kubeconfig_of(self, rules: Sequence[Object], namespace: str) -> Path:
        """A file with which no more may be done than the rules of a Role allow.

        Args:
            rules: `rules` of the Role.
            namespace: Its namespace.
        """
        token = secrets.token_urlsafe()
        user = f"system:serviceaccount:{namespace}:server"
        self.api.callers[token] = Caller(user, rules, namespace)
        path = self.folder / f"kubeconfig-{token[:8]}.yaml"
        self._write(path, token, namespace)
        return path

    def _write(self, path: Path, token: str, namespace: str) -> None:
        authority = base64.b64encode(self._authority.cert_pem.bytes()).decode()
        cluster = {"server": self.url, "certificate-authority-data": authority}
        kubeconfigs.write(path, cluster, {"token": token}, namespace=namespace)

    def _kubeconfig_of_node(self, name: str) -> Path:
        del name  # nodes may do everything here
        return self.kubeconfig

    # ------------------------------------------------------------------------- what goes wrong

    def evict(self, pod: str, namespace: str = "default") -> None:
        """Evict a Pod by the API, as whoever drains a node does."""
        self.call(lambda: evict(self.api.registry, namespace, pod, {}))

    def preempt(self, pod: str, namespace: str = "default") -> None:
        """Let the scheduler take a Pod's place away."""
        self.call(lambda: self._scheduler.preempt(namespace, pod))

    def lose(self, name: str) -> None:
        """Let a node disappear with all that runs on it: it says no more, and is then deleted."""
        self.run(self.nodes.pop(name).close())
        self.call(lambda: self.api.store.remove(NODE, self.api.store.get(NODE, "", name)))

    def resume(self, job: str, namespace: str = "default") -> None:
        """Let a Job begin that is suspended, as a queue does."""

        def resumed(found: Object) -> Object:
            return {**found, "spec": {**found["spec"], "suspend": False}}

        self.call(lambda: self.api.registry.update(JOB, namespace, job, resumed))

    def drop_watches(self) -> None:
        """Cut the connection of every open watch."""
        self.call(self.faults.drop_watches)

    def compact(self) -> None:
        """Forget the history: who watches from an older version gets 410."""
        self.call(self.api.compact)


def _must_go_on(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        with contextlib.suppress(RuntimeError):
            task.get_loop().call_exception_handler(
                {
                    "message": "a controller of the cluster broke",
                    "exception": error,
                }
            )
