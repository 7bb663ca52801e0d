"""How a node tells the API what it does: statuses and Events, until they are there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from kubernetes_asyncio.client.exceptions import ApiException

from tests.kubernetes.api.kinds import EVENT, POD, Kind, Object, part, reference
from tests.kubernetes.controllers.events import event

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.kubernetes.client import Client
    from tests.kubernetes.node.containers import Container
    from tests.kubernetes.node.statuses import Story

_AGAIN_SECONDS: Final = 0.1
_ADDRESS: Final = "127.0.0.1"


class Reporter:
    """Tells the API.

    Attributes:
        client: The API.
        addresses: What the status of every Pod has.
    """

    def __init__(self, client: Client, node: str) -> None:
        self.client = client
        self.addresses = {"hostIP": _ADDRESS, "podIP": _ADDRESS}
        self._node = node

    async def report(
        self, pod: Object, story: Story, initial: list[Container], main: list[Container]
    ) -> None:
        """Write the status of a Pod."""
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]

        async def write() -> None:
            present = await self.client.get(POD, namespace, name)
            if present["metadata"]["uid"] != pod["metadata"]["uid"]:
                return
            old = part(present, "status")
            status = story.status(old, initial, main, _ADDRESS)
            if status != old:
                path = POD.path(namespace, name, "status")
                await self.client.request("PUT", path, {**present, "status": status})

        await self._until_done(write)

    async def remove(self, pod: Object) -> None:
        """A Pod that is being deleted runs no longer: it may go."""
        metadata = pod["metadata"]

        async def delete() -> None:
            only = {"uid": metadata["uid"]}
            where = metadata["namespace"], metadata["name"]
            await self.client.delete(POD, *where, gracePeriodSeconds=0, preconditions=only)

        await self._until_done(delete)

    async def tell(self, kind: Kind, obj: Object, severity: str, reason: str, message: str) -> None:
        """Tell people something."""
        about = reference(kind, obj)
        told = event("kubelet", about, severity, reason, message, self._node)

        async def create() -> None:
            await self.client.create(EVENT, about["namespace"] or "default", told)

        await self._until_done(create)

    async def _until_done(self, do: Callable[[], Awaitable[Any]]) -> None:
        while True:
            try:
                await do()
            except ApiException as error:
                status = error.status or 0
                # Gone, another one, or of no use to a namespace that ends.
                if status in {403, 404, 422} or (
                    status == 409 and "Precondition" in str(error.body)
                ):
                    return
                if status not in {0, 409, 429} and status < 500:
                    raise
                # Somebody else wrote it meanwhile: that is looked at at once.
                if status != 409:
                    await asyncio.sleep(_AGAIN_SECONDS)
            except (aiohttp.ClientError, OSError):
                await asyncio.sleep(_AGAIN_SECONDS)
            else:
                return
