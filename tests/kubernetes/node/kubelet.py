"""A node: a client of the API, which runs the Pods that are bound to it as local processes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Final

import aiohttp
import trustme
from aiohttp import web
from kubernetes_asyncio.client.exceptions import ApiException

from tests.kubernetes import certificates
from tests.kubernetes.api.faults import NODE_AGENT
from tests.kubernetes.api.kinds import NODE, POD, Object, part
from tests.kubernetes.api.queries import flag
from tests.kubernetes.api.registry import now
from tests.kubernetes.client import Client
from tests.kubernetes.node.images import Image, Images
from tests.kubernetes.node.pods import PodLife
from tests.kubernetes.node.reporting import Reporter

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_log = logging.getLogger(__name__)

_CAPACITY: Final = {"cpu": "8", "memory": "16Gi", "ephemeral-storage": "100Gi", "pods": "110"}
_HEARTBEAT_SECONDS: Final = 10.0
_RELIST_SECONDS: Final = 0.2
_LOW: Final = (
    "The node was low on resource: memory. Threshold quantity: 100Mi, available: 98Mi. "
    "Container {name} was using 200Mi, request is 0, has larger consumption of memory. "
)


class Node:
    """A node.

    Args:
        kubeconfig: File that names the cluster, the double's or a real one.
        name: Its name.
        folder: Where the files of its Pods go.
        claims: Where claims of storage are: `<namespace>/<name>`.
        images: What it can pull, by name.
        capacity: What it has, besides or instead of 8 CPUs and 16Gi.
        labels: Its labels.
        backoff_seconds: How long it waits before it tries again what failed.

    Attributes:
        name: Its name.
        images: Its images, and how often each was pulled.
    """

    def __init__(
        self,
        kubeconfig: Path,
        name: str,
        folder: Path,
        *,
        claims: Path,
        images: Mapping[str, Image],
        capacity: Mapping[str, str],
        labels: Mapping[str, str],
        backoff_seconds: float = 10,
    ) -> None:
        self.name = name
        self.images = Images(images)
        self._kubeconfig = kubeconfig
        self._folder = folder
        self._claims = claims
        self._capacity = {**_CAPACITY, **capacity}
        self._labels = dict(labels)
        self._backoff = backoff_seconds
        self._lives: dict[str, PodLife] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._client: Client | None = None
        self._reporter: Reporter | None = None
        self._server: web.AppRunner | None = None
        self._port = 0
        self._loops: list[asyncio.Task[None]] = []
        self._broken: list[BaseException] = []

    async def start(self) -> None:
        """Join the cluster."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._client = await Client.connect(self._kubeconfig, NODE_AGENT)
        self._reporter = Reporter(self._client, self.name)
        await self._serve()
        await self._register(self._client)
        self._loops = [
            asyncio.create_task(self._follow(self._client)),
            asyncio.create_task(self._beat(self._client)),
        ]

    async def close(self) -> None:
        """End all that runs, without a word to the cluster."""
        for task in (*self._loops, *self._tasks.values()):
            task.cancel()
        await asyncio.gather(*self._loops, *self._tasks.values(), return_exceptions=True)
        self._tasks.clear()
        if self._server is not None:
            await self._server.cleanup()
        if self._client is not None:
            await self._client.close()
        if self._broken:
            # The node has not done what a test believes.
            raise self._broken[0]

    # -------------------------------------------------------------------------- the Node object

    async def _register(self, client: Client) -> None:
        labels = {
            "kubernetes.io/hostname": self.name,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": "amd64",
            **self._labels,
        }
        node = {"metadata": {"name": self.name, "labels": labels}, "spec": {}}
        try:
            await client.create(NODE, "", node)
        except ApiException as error:
            if error.status != 409:
                raise
        await client.merge(NODE, "", self.name, {"status": self._status()}, "status")

    def _status(self) -> Object:
        ready = {
            "type": "Ready",
            "status": "True",
            "reason": "KubeletReady",
            "message": "kubelet is posting ready status",
            "lastHeartbeatTime": now(),
            "lastTransitionTime": now(),
        }
        addresses = (("InternalIP", "127.0.0.1"), ("Hostname", self.name))
        return {
            "capacity": self._capacity,
            "allocatable": self._capacity,
            "addresses": [{"type": kind, "address": value} for kind, value in addresses],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self._port}},
            "conditions": [ready],
        }

    async def _beat(self, client: Client) -> None:
        while True:
            await asyncio.sleep(_HEARTBEAT_SECONDS)
            with contextlib.suppress(ApiException, aiohttp.ClientError, OSError):
                await client.merge(NODE, "", self.name, {"status": self._status()}, "status")

    # ------------------------------------------------------------------------------- its Pods

    async def _follow(self, client: Client) -> None:
        """List and watch the Pods that are bound here."""
        mine = {"fieldSelector": f"spec.nodeName={self.name}"}
        while True:
            try:
                found = await client.list(POD, **mine)
                for uid in set(self._lives) - {pod["metadata"]["uid"] for pod in found["items"]}:
                    self._removed(uid)
                for pod in found["items"]:
                    self._seen(pod)
                version = found["metadata"]["resourceVersion"]
                async for kind, pod in client.watch(POD, resourceVersion=version, **mine):
                    if kind == "ERROR":
                        break
                    if kind == "DELETED":
                        self._removed(pod["metadata"]["uid"])
                    else:
                        self._seen(pod)
            except (ApiException, aiohttp.ClientError, OSError) as error:
                _log.info("node %s lists its Pods anew: %s", self.name, error)
            await asyncio.sleep(_RELIST_SECONDS)

    def _seen(self, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        if uid not in self._lives:
            over = part(pod, "status").get("phase") in {"Succeeded", "Failed"}
            if over and "deletionTimestamp" not in pod["metadata"]:
                return
            assert self._reporter is not None
            folder = self._folder / uid
            life = PodLife(pod, folder, self._claims, self.images, self._reporter, self._backoff)
            self._lives[uid] = life
            task = asyncio.create_task(life.run())
            self._tasks[uid] = task
            task.add_done_callback(lambda _: self._ended(uid))
        self._lives[uid].changed(pod)

    def _removed(self, uid: str) -> None:
        if uid in self._lives:
            self._lives[uid].removed()

    def _ended(self, uid: str) -> None:
        task = self._tasks.pop(uid, None)
        if task is None or task.cancelled():
            return
        self._lives.pop(uid, None)
        if (error := task.exception()) is not None:
            self._broken.append(error)

    def _life(self, namespace: str, name: str) -> PodLife:
        for life in self._lives.values():
            metadata = life.pod["metadata"]
            if (metadata["namespace"], metadata["name"]) == (namespace, name):
                return life
        raise AssertionError(f"node {self.name} has no Pod {namespace}/{name}")

    # ------------------------------------------------------------------------ what goes wrong

    async def oom(self, namespace: str, name: str, container: str = "") -> None:
        """Kill a container of a Pod as where memory runs out."""
        self._life(namespace, name).oom(container)

    async def evict(self, namespace: str, name: str) -> None:
        """Evict a Pod, because memory runs out on the node."""
        life = self._life(namespace, name)
        message = _LOW.format(name=life.pod["spec"]["containers"][0]["name"])
        assert self._reporter is not None
        await self._reporter.tell(POD, life.pod, "Warning", "Evicted", message)
        life.evict("Evicted", message)

    # ----------------------------------------------------------------------------------- logs

    async def _serve(self) -> None:
        app = web.Application()
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._logs)
        self._server = web.AppRunner(
            app, handler_cancellation=True, access_log=None, shutdown_timeout=0
        )
        await self._server.setup()
        tls = certificates.serving(trustme.CA())
        site = web.TCPSite(self._server, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        self._port = self._server.addresses[0][1]

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        asked = request.match_info
        try:
            life = self._life(asked["namespace"], asked["pod"])
        except AssertionError:
            return web.Response(status=404, text=f'pod "{asked["pod"]}" does not exist')
        if flag(request.query, "previous"):
            where = f'"{asked["container"]}" in pod "{asked["pod"]}"'
            message = f"previous terminated container {where} not found"
            return web.Response(status=400, text=message)
        log = life.log(asked["container"])
        if isinstance(log, str):
            return web.Response(status=400, text=log)
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            async for text in log.read(request.query):
                await response.write(text)
            await response.write_eof()
        return response
