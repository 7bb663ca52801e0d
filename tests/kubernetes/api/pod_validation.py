"""Which Pods, and templates of Pods, the API server refuses."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from tests.kubernetes.api import quantities
from tests.kubernetes.api.errors import (
    DUPLICATE,
    FORBIDDEN,
    UNKNOWN,
    Cause,
    bad_value,
    not_supported,
    required,
)
from tests.kubernetes.api.kinds import items, part

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kubernetes.api.kinds import Object

LABEL: Final = re.compile(r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")
_LABEL_RULE: Final = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and "
    "must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used "
    "for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
_SIMPLE: Final = frozenset({"cpu", "memory", "ephemeral-storage"})
_SOURCES: Final = ("configMapKeyRef", "fieldRef", "resourceFieldRef", "secretKeyRef", "fileKeyRef")


def of_pod(pod: Object) -> list[Cause]:
    """What is wrong with a new Pod."""
    return list(of_spec(part(pod, "spec"), "spec"))


def of_changed(old: Object, new: Object) -> Iterator[Cause]:
    """What is wrong with the new `spec` of a Pod: nearly nothing of it may change."""
    mutable = (
        "activeDeadlineSeconds",
        "tolerations",
        "terminationGracePeriodSeconds",
        "schedulingGates",
    )

    def fixed(spec: Object) -> Object:
        kept = {name: value for name, value in spec.items() if name not in mutable}
        return {**kept, "containers": [{**one, "image": ""} for one in spec["containers"]]}

    if fixed(old) != fixed(new):
        yield Cause(
            "spec",
            FORBIDDEN,
            "Forbidden: pod updates may not change fields other than "
            "`spec.containers[*].image`,`spec.initContainers[*].image`,"
            "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing "
            "tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was "
            "previously negative)",
        )


def of_spec(spec: Object, path: str) -> Iterator[Cause]:
    """What is wrong with the `spec` of a Pod.

    Args:
        spec: The `spec`, filled in.
        path: Where it is in the object.
    """
    restart = spec.get("restartPolicy") or ""
    if restart not in {"Always", "OnFailure", "Never"}:
        allowed = ("Always", "Never", "OnFailure")
        yield not_supported(f"{path}.restartPolicy", restart, allowed)
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and not 1 <= deadline <= 2**31 - 1:
        why = "must be between 1 and 2147483647, inclusive"
        yield bad_value(f"{path}.activeDeadlineSeconds", deadline, why)
    hostname = spec.get("hostname")
    if hostname and not LABEL.match(hostname):
        yield bad_value(f"{path}.hostname", hostname, _LABEL_RULE)
    for index, secret in enumerate(items(spec, "imagePullSecrets")):
        if not secret.get("name"):
            yield required(f"{path}.imagePullSecrets[{index}].name")
    volumes: dict[str, Object] = {}
    for index, volume in enumerate(items(spec, "volumes")):
        yield from _volume(f"{path}.volumes[{index}]", volume, volumes)
        volumes[volume.get("name") or ""] = volume
    seen: set[str] = set()
    if not spec.get("containers"):
        yield required(f"{path}.containers")
    for kind in ("containers", "initContainers"):
        for index, container in enumerate(items(spec, kind)):
            yield from _container(f"{path}.{kind}[{index}]", container, volumes, seen)


def _name(path: str, name: str, seen: set[str]) -> Iterator[Cause]:
    if not name:
        yield required(path)
    elif not LABEL.match(name):
        yield bad_value(path, name, _LABEL_RULE)
    elif name in seen:
        yield Cause(path, DUPLICATE, f'Duplicate value: "{name}"')


def _volume(path: str, volume: Object, known: dict[str, Object]) -> Iterator[Cause]:
    yield from _name(f"{path}.name", volume.get("name") or "", set(known))
    sources = [name for name, value in volume.items() if name != "name" and value is not None]
    if not sources:
        yield required(path, "must specify a volume type")
    for extra in sources[1:]:
        why = "Forbidden: may not specify more than 1 volume type"
        yield Cause(f"{path}.{extra}", FORBIDDEN, why)
    empty: Object = part(volume, "emptyDir")
    if (medium := empty.get("medium")) not in {None, "", "Memory"} and not str(medium).startswith(
        "HugePages"
    ):
        yield not_supported(f"{path}.emptyDir.medium", str(medium), ["Memory"])
    if (limit := empty.get("sizeLimit")) is not None and quantities.parse(limit) < 0:
        yield bad_value(
            f"{path}.emptyDir.sizeLimit", limit, "SizeLimit field must be a valid resource quantity"
        )
    for source, field in (
        ("secret", "secretName"),
        ("configMap", "name"),
        ("persistentVolumeClaim", "claimName"),
    ):
        if volume.get(source) is not None and not volume[source].get(field):
            yield required(f"{path}.{source}.{field}")


def _container(
    path: str, container: Object, volumes: dict[str, Object], seen: set[str]
) -> Iterator[Cause]:
    name = container.get("name") or ""
    yield from _name(f"{path}.name", name, seen)
    seen.add(name)
    image: str = container.get("image") or ""
    if not image:
        yield required(f"{path}.image")
    elif image != image.strip():
        yield bad_value(f"{path}.image", image, "must not have leading or trailing whitespace")
    policy = container.get("imagePullPolicy")
    if policy not in {"Always", "IfNotPresent", "Never"}:
        allowed = ("Always", "IfNotPresent", "Never")
        yield not_supported(f"{path}.imagePullPolicy", str(policy), allowed)
    for index, variable in enumerate(items(container, "env")):
        yield from _variable(f"{path}.env[{index}]", variable)
    mounted: set[str] = set()
    for index, mount in enumerate(items(container, "volumeMounts")):
        yield from _mount(f"{path}.volumeMounts[{index}]", mount, volumes, mounted)
    yield from _resources(f"{path}.resources", part(container, "resources"))
    context: Object = part(container, "securityContext")
    if context.get("allowPrivilegeEscalation") is False and context.get("privileged"):
        why = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
        yield bad_value(f"{path}.securityContext", "core.SecurityContext{...}", why)


def _variable(path: str, variable: Object) -> Iterator[Cause]:
    name = variable.get("name") or ""
    if not name:
        yield required(f"{path}.name")
    elif "=" in name or not name.isprintable():
        yield bad_value(
            f"{path}.name",
            name,
            "a valid environment variable name must consist only "
            "of printable ASCII characters other than '='",
        )
    source: Object | None = variable.get("valueFrom")
    if source is None:
        return
    given = [one for one in _SOURCES if source.get(one) is not None]
    if variable.get("value"):
        yield bad_value(f"{path}.valueFrom", "", "may not be specified when `value` is not empty")
    if len(given) != 1:
        yield bad_value(
            f"{path}.valueFrom",
            "",
            "must specify one of: `configMapKeyRef`, "
            "`fieldRef`, `fileKeyRef`, `resourceFieldRef` or `secretKeyRef`"
            if not given
            else "may not have more than one field specified at a time",
        )
        return
    reference: Object = source[given[0]]
    if given[0] in {"configMapKeyRef", "secretKeyRef"} and not reference.get("key"):
        yield required(f"{path}.valueFrom.{given[0]}.key")
    if given[0] == "fieldRef" and not reference.get("fieldPath"):
        yield required(f"{path}.valueFrom.fieldRef.fieldPath")


def _mount(
    path: str, mount: Object, volumes: dict[str, Object], mounted: set[str]
) -> Iterator[Cause]:
    name, where = mount.get("name") or "", mount.get("mountPath") or ""
    if not name:
        yield required(f"{path}.name")
    elif name not in volumes:
        yield Cause(f"{path}.name", UNKNOWN, f'Not found: "{name}"')
    if not where:
        yield required(f"{path}.mountPath")
    elif where in mounted:
        yield bad_value(f"{path}.mountPath", where, "must be unique")
    mounted.add(where)
    if mount.get("subPath") and mount.get("subPathExpr"):
        yield bad_value(
            f"{path}.subPathExpr",
            mount["subPathExpr"],
            "subPathExpr and subPath are mutually exclusive",
        )
    for field in ("subPath", "subPathExpr"):
        part: str = mount.get(field) or ""
        if part.startswith("/"):
            yield bad_value(f"{path}.{field}", part, "must be a relative path")
        if ".." in part.split("/"):
            yield bad_value(f"{path}.{field}", part, "must not contain '..'")


def _resources(path: str, resources: Object) -> Iterator[Cause]:
    limits: Object = part(resources, "limits")
    requests: Object = part(resources, "requests")
    for kind, given in (("limits", limits), ("requests", requests)):
        for name, quantity in given.items():
            where = f"{path}.{kind}[{name}]"
            if name not in _SIMPLE and "/" not in name and not name.startswith("hugepages-"):
                yield bad_value(where, name, "must be a standard resource type or fully qualified")
            elif quantities.parse(quantity) < 0:
                yield bad_value(where, quantity, "must be greater than or equal to 0")
            elif "/" in name and quantities.parse(quantity) % 1:
                yield bad_value(where, quantity, "must be an integer")
    for name, quantity in requests.items():
        where = f"{path}.requests"
        if "/" in name and name not in limits:
            yield required(f"{path}.limits", "Limit must be set for non overcommitable resources")
        elif "/" in name and quantities.parse(quantity) != quantities.parse(limits[name]):
            yield bad_value(where, quantity, f"must be equal to {name} limit of {limits[name]}")
        elif name in limits and quantities.parse(quantity) > quantities.parse(limits[name]):
            why = f"must be less than or equal to {name} limit of {limits[name]}"
            yield bad_value(where, quantity, why)
