"""Binds claims of storage, as a cluster with one storage class does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.kubernetes.api.kinds import CLAIM, Object, items, part

if TYPE_CHECKING:
    from tests.kubernetes.api.registry import Registry

STORAGE_CLASS: Final = "standard"


class ClaimBinder:
    """Sees to claims that have no storage yet; those of another class stay without."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def sync(self) -> float | None:
        """Bind what waits."""
        store = self._registry.store
        for claim in store.all(CLAIM):
            wanted = claim["spec"].get("storageClassName", STORAGE_CLASS)
            if claim["status"].get("phase") != "Bound" and wanted == STORAGE_CLASS:
                store.replace(CLAIM, claim, _bound(claim))
        return None


def _bound(claim: Object) -> Object:
    spec: Object = claim["spec"]
    status: Object = {
        "phase": "Bound",
        "accessModes": items(spec, "accessModes"),
        "capacity": part(part(spec, "resources"), "requests"),
    }
    volume = f"pvc-{claim['metadata']['uid']}"
    return {
        **claim,
        "spec": {**spec, "storageClassName": STORAGE_CLASS, "volumeName": volume},
        "status": status,
    }
