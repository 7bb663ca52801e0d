"""Parts of a Pod that are no objects: its binding, its eviction, its log."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import aiohttp
from aiohttp import web

from tests.kubernetes.api import bodies, errors
from tests.kubernetes.api.conditions import set_condition
from tests.kubernetes.api.errors import StatusError, bad_request, conflict
from tests.kubernetes.api.kinds import NODE, POD, Object, items, part
from tests.kubernetes.api.registry import DeleteOptions

if TYPE_CHECKING:
    from tests.kubernetes.api.addresses import Address
    from tests.kubernetes.api.registry import Registry

_OF_LOGS = (
    "follow",
    "limitBytes",
    "previous",
    "sinceSeconds",
    "sinceTime",
    "tailLines",
    "timestamps",
)


async def answer(request: web.Request, address: Address, registry: Registry) -> web.StreamResponse:
    """Answer a request for a part of a Pod.

    Raises:
        StatusError: There is no such part, or it can't be done.
    """
    asked = (address.kind, address.subresource, request.method)
    if asked == (POD, "log", "GET"):
        return await _log(request, address, registry)
    if asked == (POD, "binding", "POST"):
        body = await bodies.read_any(request)
        bind(registry, address.namespace, address.name, body["target"]["name"])
    elif asked == (POD, "eviction", "POST"):
        body = await bodies.read_any(request)
        evict(registry, address.namespace, address.name, part(body, "deleteOptions"))
    else:
        raise errors.no_such_address()
    done: Object = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "code": 201,
    }
    return web.json_response(done, status=201)


def bind(registry: Registry, namespace: str, name: str, node: str) -> None:
    """Let a Pod run on a node.

    Raises:
        StatusError: It does already.
    """
    old = registry.store.get(POD, namespace, name)
    if old["spec"].get("nodeName"):
        why = f'pod {name} is already assigned to node "{old["spec"]["nodeName"]}"'
        raise conflict(POD, name, why)
    new = {**old, "spec": {**old["spec"], "nodeName": node}}
    new["status"] = set_condition(part(old, "status"), "PodScheduled", "True")
    registry.store.replace(POD, old, new)


def evict(registry: Registry, namespace: str, name: str, options: Object) -> None:
    """Delete a Pod because its place is needed, and let it say so.

    Raises:
        StatusError: There is no such Pod.
    """
    wanted = DeleteOptions.read(options)
    if registry.store.get(POD, namespace, name)["status"]["phase"] in {"Pending", "Running"}:

        def disrupted(pod: Object) -> Object:
            pod["status"] = set_condition(
                pod["status"],
                "DisruptionTarget",
                "True",
                "EvictionByEvictionAPI",
                "Eviction API: evicting",
            )
            return pod

        registry.update(POD, namespace, name, disrupted, subresource="status")
    registry.delete(POD, namespace, name, wanted)


async def _log(request: web.Request, address: Address, registry: Registry) -> web.StreamResponse:
    """What a container printed, which its node knows."""
    pod = registry.store.get(POD, address.namespace, address.name)
    container = _container(pod, request.query.get("container", ""))
    node_name = pod["spec"].get("nodeName")
    if not node_name:
        return web.Response(text="", content_type="text/plain")
    node = registry.store.get(NODE, "", node_name)
    status = node["status"]
    port = status["daemonEndpoints"]["kubeletEndpoint"]["Port"]
    host = next(one["address"] for one in status["addresses"] if one["type"] == "InternalIP")
    asked = {name: request.query[name] for name in _OF_LOGS if name in request.query}
    path = f"/containerLogs/{address.namespace}/{address.name}/{container}?{urlencode(asked)}"
    # The real server does not ask the nodes for certificates that it trusts, either.
    unverified = ssl.create_default_context()
    unverified.check_hostname = False
    unverified.verify_mode = ssl.CERT_NONE
    url = f"https://{host}:{port}{path}"
    timeout = aiohttp.ClientTimeout(total=None)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(url, ssl=unverified) as log,
        ):
            if log.status != 200:
                raise bad_request(await log.text())
            response = web.StreamResponse(headers={"Content-Type": "text/plain"})
            await response.prepare(request)
            async for chunk in log.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response
    except aiohttp.ClientConnectorError as error:
        message = f'Get "{url}": dial tcp {host}:{port}: connect: connection refused'
        raise StatusError(500, "InternalError", message) from error


def _container(pod: Object, wanted: str) -> str:
    spec, name = pod["spec"], pod["metadata"]["name"]
    names = [one["name"] for one in spec["containers"]]
    every = [*(one["name"] for one in items(spec, "initContainers")), *names]
    if wanted:
        if wanted not in every:
            raise bad_request(f"container {wanted} is not valid for pod {name}")
        return wanted
    if len(names) > 1:
        listed = " ".join(names)
        raise bad_request(
            f"a container name must be specified for pod {name}, choose one of: [{listed}]"
        )
    return str(names[0])
