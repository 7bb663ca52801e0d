"""Removes what nobody needs: what is owned by what is gone, and Pods of nodes that are gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.kubernetes.api.conditions import set_condition
from tests.kubernetes.api.kinds import KINDS, NAMESPACE, NODE, POD, Kind, Object, items
from tests.kubernetes.api.registry import FOREGROUND, ORPHAN, DeleteOptions

if TYPE_CHECKING:
    from tests.kubernetes.api.registry import Registry


class GarbageCollector:
    """Sees to owners and what they own, namespaces that end, and nodes that ended."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._store = registry.store

    def sync(self) -> float | None:
        """Remove what is to go now."""
        every = [(kind, obj) for kind in KINDS for obj in self._store.all(kind)]
        uids = {obj["metadata"]["uid"] for _, obj in every}
        for kind, obj in every:
            finalizers = items(obj["metadata"], "finalizers")
            if FOREGROUND in finalizers or ORPHAN in finalizers:
                self._let_go(kind, obj, every)
        for kind, obj in every:
            owners = items(obj["metadata"], "ownerReferences")
            if owners and not any(owner["uid"] in uids for owner in owners):
                self._delete(kind, obj)
        for namespace in self._store.all(NAMESPACE):
            if "deletionTimestamp" in namespace["metadata"]:
                self._empty(namespace)
        self._collect_pods()
        return None

    def _let_go(self, kind: Kind, owner: Object, every: list[tuple[Kind, Object]]) -> None:
        """An owner that is being deleted goes when what it owns is gone, or on its own."""
        uid = owner["metadata"]["uid"]
        owned = [
            (of_kind, obj)
            for of_kind, obj in every
            if any(one["uid"] == uid for one in items(obj["metadata"], "ownerReferences"))
        ]
        if FOREGROUND in owner["metadata"]["finalizers"]:
            finalizer = FOREGROUND
            for of_kind, obj in owned:
                self._delete(of_kind, obj)
            if any(self._exists(of_kind, obj) for of_kind, obj in owned):
                return
        else:
            finalizer = ORPHAN
            for of_kind, obj in owned:
                self._disown(of_kind, obj, uid)

        def finalized(obj: Object) -> Object:
            kept = [one for one in obj["metadata"]["finalizers"] if one != finalizer]
            obj["metadata"]["finalizers"] = kept
            return obj

        if self._exists(kind, owner):
            self._registry.update(kind, *_where(owner), finalized)

    def _disown(self, kind: Kind, obj: Object, uid: str) -> None:
        def disowned(old: Object) -> Object:
            owners = old["metadata"]["ownerReferences"]
            old["metadata"]["ownerReferences"] = [one for one in owners if one["uid"] != uid]
            return old

        self._registry.update(kind, *_where(obj), disowned)

    def _exists(self, kind: Kind, obj: Object) -> bool:
        found = self._store.find(kind, *_where(obj))
        return found is not None and found["metadata"]["uid"] == obj["metadata"]["uid"]

    def _delete(self, kind: Kind, obj: Object) -> None:
        found = self._store.find(kind, *_where(obj))
        if found is None or found["metadata"]["uid"] != obj["metadata"]["uid"]:
            return
        if "deletionTimestamp" not in found["metadata"]:
            options = DeleteOptions(propagation="Background", uid=obj["metadata"]["uid"])
            self._registry.delete(kind, *_where(obj), options)

    def _empty(self, namespace: Object) -> None:
        """A namespace that is being deleted takes all that is in it along."""
        name = namespace["metadata"]["name"]
        inside = [
            (kind, obj) for kind in KINDS if kind.namespaced for obj in self._store.all(kind, name)
        ]
        for kind, obj in inside:
            self._delete(kind, obj)
        if any(self._exists(kind, obj) for kind, obj in inside):
            return
        self._store.remove(NAMESPACE, self._store.get(NAMESPACE, "", name))

    def _collect_pods(self) -> None:
        nodes = {node["metadata"]["name"] for node in self._store.all(NODE)}
        for pod in self._store.all(POD):
            node = pod["spec"].get("nodeName")
            if not node or node in nodes:
                continue
            if pod["status"]["phase"] not in {"Succeeded", "Failed"}:
                self._registry.update(POD, *_where(pod), _lost, subresource="status")
            options = DeleteOptions(grace=0, uid=pod["metadata"]["uid"])
            if pod["metadata"].get("deletionGracePeriodSeconds") != 0:
                self._registry.delete(POD, *_where(pod), options)


def _lost(pod: Object) -> Object:
    message = "PodGC: node no longer exists"
    status = {**pod["status"], "phase": "Failed"}
    pod["status"] = set_condition(status, "DisruptionTarget", "True", "DeletionByPodGC", message)
    return pod


def _where(obj: Object) -> tuple[str, str]:
    metadata = obj["metadata"]
    return metadata.get("namespace", ""), metadata["name"]
