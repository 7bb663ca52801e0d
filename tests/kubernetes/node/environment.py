"""What a container finds in its environment, and `$(NAME)` in its command."""

from __future__ import annotations

import base64
import math
import re
from typing import TYPE_CHECKING, Final

from tests.kubernetes.api import quantities
from tests.kubernetes.api.kinds import items, part

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.kubernetes.api.kinds import Object
    from tests.kubernetes.node.references import References

_REFERENCE: Final = re.compile(r"\$(\$|\(([^()]+)\))")
_KEYED: Final = re.compile(r"^metadata\.(labels|annotations)\['([^']+)'\]$")


class ConfigError(Exception):
    """A container can't be made as it wants to be. The message is that of the real node."""


def expand(text: str, variables: Mapping[str, str]) -> str:
    """A text with `$(NAME)` filled in; what there is not stays as it is, and `$$` is one `$`."""

    def value(match: re.Match[str]) -> str:
        if match.group(1) == "$":
            return "$"
        return variables.get(match.group(2), match.group(0))

    return _REFERENCE.sub(value, text)


def resolve(container: Object, pod: Object, references: References) -> dict[str, str]:
    """The variables that a container asks for.

    Raises:
        ConfigError: One can't be had.
    """
    found: dict[str, str] = {}
    for source in items(container, "envFrom"):
        found.update(_all_of(source, references))
    for variable in items(container, "env"):
        origin: Object | None = variable.get("valueFrom")
        value: str | None = expand(variable.get("value") or "", found)
        if origin is not None:
            value = _from(origin, container, pod, references)
        if value is not None:
            found[variable["name"]] = value
    return found


def _all_of(source: Object, references: References) -> dict[str, str]:
    prefix = source.get("prefix") or ""
    for field, decode in (("secretRef", True), ("configMapRef", False)):
        wanted: Object | None = source.get(field)
        if wanted is None:
            continue
        data = references.data(field, wanted["name"], optional=bool(wanted.get("optional")))
        return {prefix + name: _text(value, decode) for name, value in (data or {}).items()}
    return {}


def _text(value: str, decode: bool) -> str:  # noqa: FBT001
    return base64.b64decode(value).decode() if decode else value


def _from(origin: Object, container: Object, pod: Object, references: References) -> str | None:
    for field, decode in (("secretKeyRef", True), ("configMapKeyRef", False)):
        wanted: Object | None = origin.get(field)
        if wanted is None:
            continue
        optional = bool(wanted.get("optional"))
        data = references.data(field, wanted["name"], optional=optional)
        if data is not None and wanted["key"] in data:
            return _text(data[wanted["key"]], decode)
        if optional:
            return None
        kind = "Secret" if decode else "ConfigMap"
        where = f"{pod['metadata']['namespace']}/{wanted['name']}"
        raise ConfigError(f"couldn't find key {wanted['key']} in {kind} {where}")
    if origin.get("fieldRef") is not None:
        return field_of(pod, origin["fieldRef"]["fieldPath"])
    if origin.get("resourceFieldRef") is not None:
        return _resource(origin["resourceFieldRef"], container)
    raise ConfigError(f"this node of the tests knows no variable from {sorted(origin)}")


def field_of(pod: Object, path: str) -> str:
    """A field of a Pod, as its containers may ask for it.

    Raises:
        ConfigError: There is no such field.
    """
    metadata, spec, status = pod["metadata"], pod["spec"], part(pod, "status")
    if match := _KEYED.match(path):
        have: Mapping[str, str] = metadata.get(match.group(1)) or {}
        return have.get(match.group(2), "")
    fields: dict[str, str] = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata["namespace"],
        "metadata.uid": metadata["uid"],
        "spec.nodeName": spec.get("nodeName", ""),
        "spec.serviceAccountName": spec.get("serviceAccountName", ""),
        "status.podIP": status.get("podIP", ""),
        "status.podIPs": status.get("podIP", ""),
        "status.hostIP": status.get("hostIP", ""),
    }
    if path not in fields:
        raise ConfigError(f"unsupported fieldPath: {path}")
    return fields[path]


def _resource(wanted: Object, container: Object) -> str:
    kind, _, name = wanted["resource"].partition(".")
    quantity = part(container["resources"], kind).get(name, "0")
    divisor = quantities.parse(wanted.get("divisor") or "1") or 1
    return str(math.ceil(quantities.parse(quantity) / divisor))
