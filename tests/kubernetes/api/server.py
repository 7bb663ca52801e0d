"""The API over HTTP: who asks for what, how it is read and how it is answered."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from tests.kubernetes.api import addresses, bodies, errors, kinds, subresources, watching
from tests.kubernetes.api.addresses import Address
from tests.kubernetes.api.errors import StatusError
from tests.kubernetes.api.faults import Call, Faults
from tests.kubernetes.api.kinds import JOB, KINDS, NAMESPACE, Object
from tests.kubernetes.api.registry import ORPHANED_BY_DEFAULT, DeleteOptions, Registry
from tests.kubernetes.api.store import Store
from tests.kubernetes.api.watching import Pages, Watch

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Mapping

    from tests.kubernetes.api.access import Caller
    from tests.kubernetes.schemas import Schemas

# What the real server takes of a request.
_MAX_BODY: Final = 3 * 1024 * 1024
_VERSION: Final = {"major": "1", "minor": "34", "gitVersion": "v1.34.4", "platform": "linux/amd64"}
_HEALTH: Final = ("/healthz", "/livez", "/readyz")


class ApiServer:
    """The API on a port of this machine.

    Args:
        schemas: Kubernetes' published ones, by which objects are judged; None not to.
        bookmark_seconds: How often watches that want bookmarks get one.

    Attributes:
        store: The objects.
        registry: Creates, changes and deletes them.
        faults: Goes wrong on demand, and records all requests.
        callers: Who has which bearer token.
        url: Its address, once it runs.
    """

    def __init__(self, *, schemas: Schemas | None = None, bookmark_seconds: float = 60) -> None:
        self.store = Store()
        self.registry = Registry(self.store)
        self.faults = Faults()
        self.callers: dict[str, Caller] = {}
        self.url = ""
        self._schemas = schemas
        self._bookmark_seconds = bookmark_seconds
        self._pages = Pages(self.store)
        self._runner: web.AppRunner | None = None

    async def start(self, tls: ssl.SSLContext) -> None:
        """Listen on a free port of loopback."""
        app = web.Application(client_max_size=_MAX_BODY)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(
            app, handler_cancellation=True, access_log=None, shutdown_timeout=0
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = f"https://127.0.0.1:{port}"

    async def close(self) -> None:
        """Listen no longer."""
        if self._runner is not None:
            self.faults.drop_watches()
            await self._runner.cleanup()

    def compact(self) -> None:
        """Forget the history: watches and pages that would go on must begin anew."""
        self.store.compact()
        self._pages.forget()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        address = Address.read(request.path)
        verb = request.method
        if address is not None:
            verb = addresses.verb_of(request.method, address, request.query)
        agent = request.headers.get("User-Agent", "")
        call = Call(verb, request.path, dict(request.query), agent)
        self.faults.calls.append(call)
        try:
            await self.faults.meet(request, call, address)
            caller = self._caller(request)
            if address is None:
                response: web.StreamResponse = self._about(request)
            else:
                caller.must_be_allowed(address, verb)
                response = await self._answer(request, address, verb)
        except StatusError as error:
            response = _refusal(error)
        call.status = response.status
        return response

    def _caller(self, request: web.Request) -> Caller:
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        caller = self.callers.get(token) if kind == "Bearer" else None
        if caller is None:
            raise errors.unauthorized()
        return caller

    def _about(self, request: web.Request) -> web.Response:
        """Answers about the API itself."""
        path = request.path.rstrip("/")
        if path in _HEALTH:
            return web.Response(text="ok")
        groups: dict[str, str] = {kind.group: kind.version for kind in KINDS if kind.group}
        answers: dict[str, Object] = {
            "/version": _VERSION,
            "/api": {"kind": "APIVersions", "versions": ["v1"]},
            "/apis": {
                "kind": "APIGroupList",
                "apiVersion": "v1",
                "groups": [_group(name, version) for name, version in groups.items()],
            },
            "/api/v1": _resources(""),
            **{f"/apis/{name}/{version}": _resources(name) for name, version in groups.items()},
        }
        if request.method != "GET" or path not in answers:
            raise errors.no_such_address()
        return web.json_response(answers[path])

    async def _answer(
        self, request: web.Request, address: Address, verb: str
    ) -> web.StreamResponse:
        if address.subresource not in {"", "status"}:
            return await subresources.answer(request, address, self.registry)
        if address.subresource and not address.kind.has_status:
            raise errors.no_such_address()
        if verb == "watch":
            watch = Watch(self.store, address, request.query, self._bookmark_seconds)
            return await watching.stream(request, watch, self.faults)
        known: Mapping[str, Callable[[web.Request, Address], Awaitable[web.Response]]] = {
            "get": self._get,
            "list": self._list,
            "create": self._create,
            "update": self._update,
            "patch": self._update,
            "delete": self._delete,
            "deletecollection": self._delete_all,
        }
        if verb not in known or (verb == "create" and address.name):
            raise errors.method_not_allowed()
        return await known[verb](request, address)

    async def _get(self, _: web.Request, address: Address) -> web.Response:
        return web.json_response(self.store.get(address.kind, address.home, address.name))

    async def _list(self, request: web.Request, address: Address) -> web.Response:
        return web.json_response(self._pages.list(address, request.query))

    async def _create(self, request: web.Request, address: Address) -> web.Response:
        kind = address.kind
        if kind.namespaced and not address.home:
            raise errors.method_not_allowed()
        warnings: list[str] = []
        sent = await bodies.read(request, kind)
        sent = self._judge(request, address, sent, warnings)
        dry = bodies.is_dry(request.query)
        made = self.registry.create(kind, address.home, sent, dry=dry)
        return web.json_response(made, status=201, headers=_warned(warnings))

    async def _update(self, request: web.Request, address: Address) -> web.Response:
        if not address.name:
            raise errors.method_not_allowed()
        warnings: list[str] = []
        if request.method == "PUT":
            made = bodies.replacement(await bodies.read(request, address.kind))
        else:
            made = await bodies.read_patch(request)

        def change(old: Object) -> Object:
            return self._judge(request, address, made(old), warnings)

        new = self.registry.update(
            address.kind,
            address.home,
            address.name,
            change,
            subresource=address.subresource,
            dry=bodies.is_dry(request.query),
        )
        return web.json_response(new, headers=_warned(warnings))

    async def _delete(self, request: web.Request, address: Address) -> web.Response:
        options = await bodies.delete_options(request)
        kind = address.kind
        dry = bodies.is_dry(request.query)
        obj, gone = self.registry.delete(kind, address.home, address.name, options, dry=dry)
        warnings = [ORPHANED_BY_DEFAULT] if kind is JOB and options.propagation is None else []
        if not gone or kind in {kinds.POD, kinds.CLAIM, kinds.SERVICE_ACCOUNT}:
            return web.json_response(obj, headers=_warned(warnings))
        group = {"group": kind.group} if kind.group else {}
        details = {
            "name": address.name,
            **group,
            "kind": kind.plural,
            "uid": obj["metadata"]["uid"],
        }
        success = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "details": details,
        }
        return web.json_response(success, headers=_warned(warnings))

    async def _delete_all(self, request: web.Request, address: Address) -> web.Response:
        options: DeleteOptions = await bodies.delete_options(request)
        if address.kind is NAMESPACE:
            raise errors.method_not_allowed()
        found = self._pages.list(address, request.query)
        for obj in found["items"]:
            metadata = obj["metadata"]
            where, name = metadata.get("namespace", ""), metadata["name"]
            dry = bodies.is_dry(request.query)
            self.registry.delete(address.kind, where, name, options, dry=dry)
        return web.json_response(found)

    def _judge(
        self, request: web.Request, address: Address, obj: Object, warnings: list[str]
    ) -> Object:
        return bodies.judge(
            obj,
            address,
            self._schemas,
            request.query.get("fieldValidation", "Warn"),
            warnings,
        )


def _group(name: str, version: str) -> Object:
    this = {"groupVersion": f"{name}/{version}", "version": version}
    return {"name": name, "versions": [this], "preferredVersion": this}


def _resources(group: str) -> Object:
    of_group = [kind for kind in KINDS if kind.group == group]
    verbs = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
    listed: list[Object] = []
    for kind in of_group:
        one = {"singularName": "", "namespaced": kind.namespaced, "kind": kind.name}
        listed.append({"name": kind.plural, "verbs": verbs, **one})
        if kind.has_status:
            some = ["get", "patch", "update"]
            listed.append({"name": f"{kind.plural}/status", "verbs": some, **one})
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": of_group[0].api_version,
        "resources": listed,
    }


def _warned(warnings: list[str]) -> dict[str, str]:
    return (
        {"Warning": ", ".join(f"299 - {json.dumps(one)}" for one in warnings)} if warnings else {}
    )


def _refusal(error: StatusError) -> web.Response:
    headers: dict[str, str] = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    body: dict[str, Any] = error.body()
    return web.json_response(body, status=error.code, headers=headers)
