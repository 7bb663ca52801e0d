"""The kinds of object that the API knows, and how their addresses are written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypeGuard

Object: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """A kind of object.

    Attributes:
        group: API group; "" for the core.
        version: Version in the group.
        plural: Name in addresses.
        name: Name in objects (`kind`).
        namespaced: Whether its objects are in namespaces.
        has_status: Whether `status` is written by a subresource of its own.
    """

    group: str
    version: str
    plural: str
    name: str
    namespaced: bool = True
    has_status: bool = False

    @property
    def api_version(self) -> str:
        """What objects have as `apiVersion`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def resource(self) -> str:
        """How messages name the resource."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def qualified(self) -> str:
        """How messages name the kind."""
        return f"{self.name}.{self.group}" if self.group else self.name

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The address of its objects, or of one."""
        parts = ["/apis" if self.group else "/api", self.api_version]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        return "/".join(part for part in (*parts, self.plural, name, subresource) if part)


NAMESPACE: Final = Kind("", "v1", "namespaces", "Namespace", namespaced=False, has_status=True)
NODE: Final = Kind("", "v1", "nodes", "Node", namespaced=False, has_status=True)
POD: Final = Kind("", "v1", "pods", "Pod", has_status=True)
SECRET: Final = Kind("", "v1", "secrets", "Secret")
CONFIG_MAP: Final = Kind("", "v1", "configmaps", "ConfigMap")
SERVICE_ACCOUNT: Final = Kind("", "v1", "serviceaccounts", "ServiceAccount")
EVENT: Final = Kind("", "v1", "events", "Event")
CLAIM: Final = Kind("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", has_status=True)
JOB: Final = Kind("batch", "v1", "jobs", "Job", has_status=True)
LEASE: Final = Kind("coordination.k8s.io", "v1", "leases", "Lease")
PRIORITY_CLASS: Final = Kind(
    "scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", namespaced=False
)

KINDS: Final = (
    NAMESPACE,
    NODE,
    POD,
    SECRET,
    CONFIG_MAP,
    SERVICE_ACCOUNT,
    EVENT,
    CLAIM,
    JOB,
    LEASE,
    PRIORITY_CLASS,
)


def find(group: str, version: str, plural: str) -> Kind | None:
    """The kind that an address names, if the API knows it."""
    for kind in KINDS:
        if (kind.group, kind.version, kind.plural) == (group, version, plural):
            return kind
    return None


def reference(kind: Kind, obj: Object) -> Object:
    """What an Event says of whom it is about."""
    metadata = obj["metadata"]
    return {
        "apiVersion": kind.api_version,
        "kind": kind.name,
        "namespace": metadata.get("namespace", ""),
        "name": metadata["name"],
        "uid": metadata.get("uid", ""),
        "resourceVersion": metadata.get("resourceVersion", ""),
    }


def is_owned_by(obj: Object, uid: str) -> bool:
    """Whether the object's controller is the one with this uid."""
    owners: list[Object] = obj["metadata"].get("ownerReferences") or []
    return any(owner["uid"] == uid and owner.get("controller") for owner in owners)


def is_list(value: object) -> TypeGuard[list[Any]]:
    """Whether a value of an object is a list."""
    return isinstance(value, list)


def part(obj: Object, name: str) -> Object:
    """What an object has under a name; empty where there is nothing."""
    found: Object | None = obj.get(name)
    return {} if found is None else found


def items(obj: Object, name: str) -> list[Any]:
    """The list that an object has under a name; empty where there is none."""
    found: list[Any] | None = obj.get(name)
    return [] if found is None else found
