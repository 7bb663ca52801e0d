"""Objects as they are on the wire, by the real client: what a node and tests speak with the API."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final, cast

import kubernetes_asyncio.config

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from aiohttp import ClientResponse
    from kubernetes_asyncio.client import ApiClient
    from typing_extensions import Self

    from tests.kubernetes.api.kinds import Kind, Object

_ANY: Final = dict.fromkeys((200, 201, 202), "object")


def _abort(response: ClientResponse) -> None:
    """End an answer that is not over; not in peace, for which the other end would be needed."""
    connection = response.connection
    if connection is not None and isinstance(connection.transport, asyncio.Transport):
        connection.transport.abort()


class Client:
    """Speaks with an API. Errors are kubernetes-asyncio's `ApiException`.

    Attributes:
        api: The client of kubernetes-asyncio, for its typed forms.
    """

    def __init__(self, api: ApiClient) -> None:
        self.api = api
        # The types of this are left open there.
        self._call: Any = cast("Any", api).call_api
        self._watches: set[ClientResponse] = set()

    @classmethod
    async def connect(cls, kubeconfig: Path, user_agent: str) -> Self:
        """A client of the cluster that a kubeconfig file names.

        Args:
            kubeconfig: The file.
            user_agent: What the client calls itself.
        """
        # Its own types leave much of this open.
        config: Any = kubernetes_asyncio.config
        api: ApiClient = await config.new_client_from_config(config_file=str(kubeconfig))
        api.user_agent = user_agent
        return cls(api)

    async def close(self) -> None:
        """Speak no longer, with those watches that nobody follows to their end as well."""
        for response in self._watches:
            _abort(response)
        await self.api.close()
        # What was closed is gone in the next turns of the loop.
        for _ in range(3):
            await asyncio.sleep(0)

    async def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Mapping[str, object] | None = None,
        content_type: str = "application/json",
    ) -> Any:
        """Ask for something, and give the answer's JSON.

        Args:
            method: HTTP method.
            path: Path, as `Kind.path` makes it.
            body: What to send.
            query: Parameters.
            content_type: What the body is.
        """
        answer = await self._call(
            path,
            method,
            query_params=list((query or {}).items()),
            header_params={"Accept": "application/json", "Content-Type": content_type},
            body=body,
            response_types_map=_ANY,
            auth_settings=["BearerToken"],
        )
        return answer[0]

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """An object."""
        found: Object = await self.request("GET", kind.path(namespace, name))
        return found

    async def create(self, kind: Kind, namespace: str, obj: Object) -> Object:
        """Make an object."""
        made: Object = await self.request("POST", kind.path(namespace), obj)
        return made

    async def merge(
        self, kind: Kind, namespace: str, name: str, patch: Object, subresource: str = ""
    ) -> Object:
        """Change an object by a merge patch."""
        path = kind.path(namespace, name, subresource)
        content_type = "application/merge-patch+json"
        changed: Object = await self.request("PATCH", path, patch, content_type=content_type)
        return changed

    async def delete(self, kind: Kind, namespace: str, name: str, **options: object) -> Object:
        """Delete an object.

        Args:
            kind: What it is.
            namespace: Where it is.
            name: Its name.
            **options: Of `DeleteOptions`, such as `gracePeriodSeconds`.
        """
        path = kind.path(namespace, name)
        body = {"kind": "DeleteOptions", "apiVersion": "v1", **options}
        gone: Object = await self.request("DELETE", path, body)
        return gone

    async def list(self, kind: Kind, namespace: str = "", **query: object) -> Object:
        """A list, with its `metadata`."""
        found: Object = await self.request("GET", kind.path(namespace), query=query)
        return found

    async def watch(
        self, kind: Kind, namespace: str = "", **query: object
    ) -> AsyncIterator[tuple[str, Object]]:
        """What happens from now on: types of events, and objects. Ends when the server ends it."""
        asked = {"watch": "true", **query}
        response: ClientResponse = await self._call(
            kind.path(namespace),
            "GET",
            query_params=list(asked.items()),
            header_params={"Accept": "application/json"},
            auth_settings=["BearerToken"],
            _preload_content=False,
        )
        async with response:
            response.raise_for_status()
            self._watches.add(response)
            try:
                while line := await response.content.readline():
                    event: Object = json.loads(line)
                    yield event["type"], event["object"]
            finally:
                self._watches.discard(response)
                _abort(response)
