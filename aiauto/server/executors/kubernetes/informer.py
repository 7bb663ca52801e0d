"""What there is in the cluster, kept up to date: listed once, then watched."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING, Final

from aiauto.server.executors.kubernetes.cluster import GONE, ClusterError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from aiauto.server.executors.kubernetes.cluster import Cluster, Kind
    from aiauto.server.executors.kubernetes.configuration import Json

LOGGER = logging.getLogger(__name__)

# All is listed anew so often, should an event have been lost in spite of everything.
RESYNC_SECONDS: Final = 600.0
FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 30.0


class Informer:
    """Knows the Pods or the Jobs that a selector selects, by name.

    Attributes:
        objects: They, as the cluster last told of them.
        synced: Set as soon as all of them were listed once.
    """

    def __init__(
        self, cluster: Cluster, kind: Kind, selector: str, on_change: Callable[[Json], None]
    ) -> None:
        """Make it. Nothing is asked yet.

        Args:
            cluster: The cluster.
            kind: Pods or Jobs.
            selector: A label selector.
            on_change: Called for each that has come, changed or gone; not for long.
        """
        self._cluster = cluster
        self._kind: Kind = kind
        self._selector = selector
        self._on_change = on_change
        self.objects: dict[str, Json] = {}
        self.synced: asyncio.Event = asyncio.Event()

    async def run(self) -> None:
        """List and watch, for ever."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                version = await self._list()
                pause = FIRST_PAUSE_SECONDS
                await asyncio.wait_for(self._watch(version), RESYNC_SECONDS)
            except asyncio.TimeoutError:
                continue
            except ClusterError as error:
                if error.status == GONE:
                    # The cluster has forgotten what came next: that is how it is.
                    LOGGER.debug("%ss are listed anew: %s", self._kind, error)
                    continue
                LOGGER.warning("%ss can't be watched: %s", self._kind.capitalize(), error)
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - no secret
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def _list(self) -> str:
        """Look at all there is, and tell what is new.

        Returns:
            The version of the cluster that this is of.
        """
        listed, version = await self._cluster.list_objects(self._kind, self._selector)
        there = {_name(one): one for one in listed}
        gone = [one for name, one in self.objects.items() if name not in there]
        changed = [
            one for name, one in there.items() if _version(one) != _version(self.objects.get(name))
        ]
        self.objects = there
        self.synced.set()
        self._tell([*gone, *changed])
        return version

    async def _watch(self, version: str) -> None:
        """Follow what happens from a version on. A watch that ends is gone on with."""
        while True:
            async for event in self._cluster.watch(self._kind, self._selector, version):
                one: Json = event["object"]
                version = str(one["metadata"]["resourceVersion"])
                if event["type"] == "DELETED":
                    self.objects.pop(_name(one), None)
                elif event["type"] in {"ADDED", "MODIFIED"}:
                    self.objects[_name(one)] = one
                else:  # a bookmark
                    continue
                self._tell([one])

    def _tell(self, changed: Iterable[Json]) -> None:
        for one in changed:
            self._on_change(one)


def _name(one: Json) -> str:
    return str(one["metadata"]["name"])


def _version(one: Json | None) -> str:
    return "" if one is None else str(one["metadata"]["resourceVersion"])
