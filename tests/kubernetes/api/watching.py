"""Lists, page by page, and watches, which go on from where a list ended."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from tests.kubernetes.api import selectors
from tests.kubernetes.api.errors import StatusError, bad_request, expired
from tests.kubernetes.api.faults import NODE_AGENT
from tests.kubernetes.api.queries import flag

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from tests.kubernetes.api.addresses import Address
    from tests.kubernetes.api.faults import Faults
    from tests.kubernetes.api.kinds import Object
    from tests.kubernetes.api.selectors import Predicate
    from tests.kubernetes.api.store import Change, Store

_MAX_PAGES: Final = 1000
# Where a client does not say how long it watches, the real server takes 30 to 60 minutes.
_WATCH_SECONDS: Final = 1800.0
_FIRST_SEEN: Final = "k8s.io/initial-events-end"


def predicate(address: Address, query: Mapping[str, str]) -> Predicate:
    """Selects the objects that a list or watch is about.

    Raises:
        StatusError: A selector can't be read.
    """
    chosen: Predicate = selectors.everything
    if text := query.get("labelSelector"):
        chosen = selectors.both(chosen, selectors.labels(text))
    if text := query.get("fieldSelector"):
        chosen = selectors.both(chosen, selectors.fields(address.kind, text))
    if address.name:
        chosen = selectors.both(chosen, lambda obj: obj["metadata"]["name"] == address.name)
    if address.home:
        chosen = selectors.both(chosen, lambda obj: obj["metadata"]["namespace"] == address.home)
    return chosen


class Pages:
    """Gives lists in pages of `limit`, all of the moment at which the first one was asked for."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rest: OrderedDict[str, tuple[int, list[Object]]] = OrderedDict()

    def forget(self) -> None:
        """No page goes on from another."""
        self._rest.clear()

    def list(self, address: Address, query: Mapping[str, str]) -> Object:
        """A list, or a page of it.

        Raises:
            StatusError: A selector can't be read, or the page before is forgotten.
        """
        limit = int(query.get("limit") or 0)
        if token := query.get("continue"):
            if token not in self._rest:
                raise expired(
                    "The provided continue parameter is too old to display a consistent list "
                    "result. You can start a new list without the continue parameter."
                )
            revision, found = self._rest[token]
        else:
            revision = self._store.revision
            wanted = predicate(address, query)
            found = [one for one in self._store.all(address.kind, address.home) if wanted(one)]
        metadata: Object = {"resourceVersion": str(revision)}
        if limit and len(found) > limit:
            found, rest = found[:limit], found[limit:]
            metadata["continue"] = token = secrets.token_urlsafe(12)
            metadata["remainingItemCount"] = len(rest)
            self._rest[token] = revision, rest
            if len(self._rest) > _MAX_PAGES:
                self._rest.popitem(last=False)
        kind = address.kind
        # Objects in a list do not say what they are.
        items = [
            {key: value for key, value in one.items() if key not in {"kind", "apiVersion"}}
            for one in found
        ]
        return {
            "kind": f"{kind.name}List",
            "apiVersion": kind.api_version,
            "metadata": metadata,
            "items": items,
        }


class Watch:
    """One watch."""

    def __init__(
        self, store: Store, address: Address, query: Mapping[str, str], bookmark_seconds: float
    ) -> None:
        self._store = store
        self._kind = address.kind
        self._wanted = predicate(address, query)
        self._bookmarks = flag(query, "allowWatchBookmarks")
        self._bookmark_seconds = bookmark_seconds
        self._end = time.monotonic() + (float(query.get("timeoutSeconds") or 0) or _WATCH_SECONDS)
        self._initial = flag(query, "sendInitialEvents")
        given = query.get("resourceVersion") or "0"
        if not given.isdigit():
            raise bad_request(f'Invalid value: "{given}": strconv.ParseUint: invalid syntax')
        # From 0 on means: all there is first, as something new.
        self._from_now = int(given) == 0 or self._initial
        self._seen = self._store.revision if self._from_now else int(given)

    async def events(self) -> AsyncIterator[Object]:
        """What happens, until the time is over."""
        for event in self._first():
            yield event
        following = False
        while True:
            seen = self._store.revision
            try:
                changes = self._store.changes(self._seen, following=following)
            except StatusError as error:
                yield {"type": "ERROR", "object": error.body()}
                return
            for change in changes:
                for event in self._told(change):
                    yield event
            self._seen, following = seen, True
            left = self._end - time.monotonic()
            if left > 0 and await self._store.changed(
                self._seen, min(left, self._bookmark_seconds)
            ):
                continue
            if self._bookmarks:
                yield self._bookmark()
            if self._end <= time.monotonic():
                return

    def _first(self) -> Iterator[Object]:
        """What there is already, for who asks for that."""
        if not self._from_now:
            return
        for obj in self._store.all(self._kind):
            if self._wanted(obj):
                yield {"type": "ADDED", "object": obj}
        if self._initial and self._bookmarks:
            yield self._bookmark({_FIRST_SEEN: "true"})

    def _told(self, change: Change) -> Iterator[Object]:
        if change.kind is not self._kind:
            return
        had = change.before is not None and self._wanted(change.before)
        if change.after is not None and self._wanted(change.after):
            yield {"type": "MODIFIED" if had else "ADDED", "object": change.after}
        elif had and change.before is not None:
            # To whoever selects it no longer it is gone, with the revision of that.
            revision = str(change.revision)
            metadata = {**change.before["metadata"], "resourceVersion": revision}
            yield {"type": "DELETED", "object": {**change.before, "metadata": metadata}}

    def _bookmark(self, annotations: Mapping[str, str] | None = None) -> Object:
        metadata: Object = {"resourceVersion": str(self._seen), "creationTimestamp": None}
        if annotations:
            metadata["annotations"] = dict(annotations)
        obj = {"kind": self._kind.name, "apiVersion": self._kind.api_version, "metadata": metadata}
        return {"type": "BOOKMARK", "object": obj}


async def stream(request: web.Request, watch: Watch, faults: Faults) -> web.StreamResponse:
    """Answer with the events of a watch, a line of JSON for each."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    response.enable_chunked_encoding()
    await response.prepare(request)
    transport: Any = request.transport
    if not isinstance(transport, asyncio.Transport):
        return response
    if request.headers.get("User-Agent") != NODE_AGENT:
        faults.watching(transport)
    try:
        async for event in watch.events():
            await response.write(json.dumps(event).encode() + b"\n")
        await response.write_eof()
    except ConnectionError:
        pass
    finally:
        faults.watched(transport)
    return response
