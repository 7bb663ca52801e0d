"""All objects, one counter of revisions, and a history from which watches replay."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.kubernetes.api.errors import already_exists, conflict, expired, not_found

if TYPE_CHECKING:
    from tests.kubernetes.api.kinds import Kind, Object


@dataclass(frozen=True)
class Change:
    """What one revision changed.

    Attributes:
        revision: Its number.
        kind: Kind of the object.
        before: The object until then; None where it is new.
        after: The object since then; None where it is gone. Either way the other one has the
            revision of the change.
    """

    revision: int
    kind: Kind
    before: Object | None
    after: Object | None


class Store:
    """Keeps objects. Those it gives and takes are never changed in place by anyone.

    Attributes:
        revision: Number of the last change.
        compacted: Number of the last change that is forgotten.
    """

    def __init__(self, *, history: int = 10_000) -> None:
        self.revision = 1
        self.compacted = 0
        self._seen_by_all = 0
        self._objects: dict[Kind, dict[tuple[str, str], Object]] = {}
        self._history: deque[Change] = deque()
        self._limit = history
        self._waiting: set[asyncio.Future[None]] = set()

    def find(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """An object, if there is one of that name."""
        return self._objects.get(kind, {}).get((namespace, name))

    def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """An object.

        Raises:
            StatusError: There is none of that name.
        """
        found = self.find(kind, namespace, name)
        if found is None:
            raise not_found(kind, name)
        return found

    def all(self, kind: Kind, namespace: str = "") -> list[Object]:
        """The objects of a kind, of one namespace or of all, sorted by name."""
        found = sorted(self._objects.get(kind, {}).items())
        return [obj for (where, _), obj in found if not namespace or where == namespace]

    def add(self, kind: Kind, obj: Object) -> Object:
        """Keep a new object, and give it as it is kept.

        Raises:
            StatusError: There is one of that name.
        """
        key = _key(obj)
        if key in self._objects.setdefault(kind, {}):
            raise already_exists(kind, key[1])
        return self._put(kind, None, obj)

    def replace(self, kind: Kind, old: Object, new: Object) -> Object:
        """Keep a newer version of an object, and give it as it is kept.

        Raises:
            StatusError: The old one is not the newest.
        """
        self._must_be_newest(kind, old)
        return old if old == new else self._put(kind, old, new)

    def remove(self, kind: Kind, old: Object) -> Object:
        """Forget an object, and give its last state.

        Raises:
            StatusError: The old one is not the newest.
        """
        self._must_be_newest(kind, old)
        del self._objects[kind][_key(old)]
        self.revision += 1
        last = _with_revision(old, self.revision)
        self._remember(Change(self.revision, kind, last, None))
        return last

    def _must_be_newest(self, kind: Kind, obj: Object) -> None:
        namespace, name = _key(obj)
        if self.get(kind, namespace, name) is not obj:
            raise conflict(kind, name)

    def _put(self, kind: Kind, old: Object | None, new: Object) -> Object:
        self.revision += 1
        kept = _with_revision(new, self.revision)
        self._objects[kind][_key(kept)] = kept
        self._remember(Change(self.revision, kind, old, kept))
        return kept

    def _remember(self, change: Change) -> None:
        self._history.append(change)
        while len(self._history) > self._limit:
            self.compacted = self._seen_by_all = self._history.popleft().revision
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)

    def compact(self) -> None:
        """Forget the history: whoever has not seen all of it must list anew."""
        # Nobody may go on from the present revision either, or a test would have to change
        # something first.
        self._seen_by_all = self.revision
        self.revision += 1
        self.compacted = self.revision
        self._history.clear()

    def changes(self, since: int, *, following: bool = False) -> list[Change]:
        """What changed after a revision.

        Args:
            since: The revision.
            following: Whether whoever asks followed all changes until then: they have missed
                nothing where the history was forgotten just after.

        Raises:
            StatusError: That is forgotten.
        """
        if since < (min(self._seen_by_all, self.compacted) if following else self.compacted):
            message = f"too old resource version: {since} ({self.compacted})"
            raise expired(message)
        newer: list[Change] = []
        for change in reversed(self._history):
            if change.revision <= since:
                break
            newer.append(change)
        return newer[::-1]

    async def changed(self, since: int, timeout: float | None = None) -> bool:
        """Wait until something changed after a revision; False where the time ran out first."""
        if self.revision > since:
            return True
        change: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(change)
        try:
            # Not `wait_for`: until Python 3.12 it may lose that somebody cancels it.
            done, _ = await asyncio.wait({change}, timeout=timeout)
        finally:
            self._waiting.discard(change)
            change.cancel()
        return bool(done)


def _key(obj: Object) -> tuple[str, str]:
    metadata = obj["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def _with_revision(obj: Object, revision: int) -> Object:
    return {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(revision)}}
