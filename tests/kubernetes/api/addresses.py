"""What the path of a request is about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.kubernetes.api.kinds import NAMESPACE, Kind, find
from tests.kubernetes.api.queries import flag

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Address:
    """The objects, or the one, that a path names.

    Attributes:
        kind: Their kind.
        namespace: Where they are; "" for everywhere.
        name: The one; "" for all.
        subresource: A part of it, such as "status"; "" for the object.
    """

    kind: Kind
    namespace: str
    name: str
    subresource: str

    @classmethod
    def read(cls, path: str) -> Address | None:
        """Of a path; None where nothing is there."""
        parts = path.strip("/").split("/")
        if parts[0] == "api":
            group, version, rest = "", "".join(parts[1:2]), parts[2:]
        elif parts[0] == "apis" and len(parts) > 2:
            group, version, rest = parts[1], parts[2], parts[3:]
        else:
            return None
        namespace = ""
        if len(rest) > 2 and rest[0] == "namespaces" and find(group, version, rest[2]):
            namespace, rest = rest[1], rest[2:]
        kind = find(group, version, rest[0]) if rest else None
        if kind is None or len(rest) > 3 or (namespace and not kind.namespaced):
            return None
        name, subresource = (*rest[1:], "", "")[:2]
        if name and kind.namespaced and not namespace:
            return None
        if kind is NAMESPACE:
            namespace = name
        return cls(kind, namespace, name, subresource)

    @property
    def home(self) -> str:
        """The namespace by which the store knows the object."""
        return self.namespace if self.kind.namespaced else ""


def verb_of(method: str, address: Address, query: Mapping[str, str]) -> str:
    """The word that rights have for a request, such as "list" or "deletecollection"."""
    if method == "GET":
        if flag(query, "watch"):
            return "watch"
        return "get" if address.name else "list"
    if method == "DELETE":
        return "delete" if address.name else "deletecollection"
    return {"POST": "create", "PUT": "update", "PATCH": "patch"}.get(method, method.lower())
