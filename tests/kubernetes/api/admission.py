"""What may not run in a namespace: Pod security, accounts and priorities that are not there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.kubernetes.api.errors import forbidden
from tests.kubernetes.api.kinds import (
    NAMESPACE,
    POD,
    PRIORITY_CLASS,
    SERVICE_ACCOUNT,
    Object,
    items,
    part,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kubernetes.api.store import Store

ENFORCE: Final = "pod-security.kubernetes.io/enforce"
_VOLUMES: Final = frozenset(
    {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
)
_BUILT_IN: Final = {"system-cluster-critical": 2000000000, "system-node-critical": 2000001000}


def admit_pod(store: Store, pod: Object) -> None:
    """Let a new Pod in, with the priority of its class.

    Raises:
        StatusError: It may not run in its namespace.
    """
    metadata, spec = pod["metadata"], part(pod, "spec")
    namespace, name = metadata["namespace"], metadata["name"]
    account = spec.get("serviceAccountName") or "default"
    if store.find(SERVICE_ACCOUNT, namespace, account) is None:
        why = (
            f"error looking up service account {namespace}/{account}: serviceaccount "
            f'"{account}" not found'
        )
        raise forbidden(POD, name, why)
    if (wanted := spec.get("priorityClassName")) is not None:
        found = store.find(PRIORITY_CLASS, "", wanted)
        value = _BUILT_IN.get(wanted) if found is None else found["value"]
        if value is None:
            raise forbidden(POD, name, f"no PriorityClass with name {wanted} was found")
        spec["priority"] = value
    labels = part(store.get(NAMESPACE, "", namespace)["metadata"], "labels")
    if labels.get(ENFORCE) == "restricted" and (violated := list(_restricted(spec))):
        why = f'violates PodSecurity "restricted:latest": {", ".join(violated)}'
        raise forbidden(POD, name, why)


def _named(names: list[str], kind: str = "container") -> str:
    listed = ", ".join(f'"{name}"' for name in names)
    return f"{kind} {listed}" if len(names) == 1 else f"{kind}s {listed}"


def _restricted(spec: Object) -> Iterator[str]:
    """What a Pod does that the profile "restricted" forbids, in the order of the real checks."""
    of_pod: Object = part(spec, "securityContext")
    containers: list[tuple[str, Object]] = [
        (one.get("name", ""), part(one, "securityContext"))
        for one in (*items(spec, "initContainers"), *items(spec, "containers"))
    ]

    shared = [one for one in ("hostNetwork", "hostPID", "hostIPC") if spec.get(one)]
    if shared:
        yield f"host namespaces ({', '.join(f'{one}=true' for one in shared)})"
    privileged = [name for name, context in containers if context.get("privileged")]
    if privileged:
        yield f"privileged ({_named(privileged)} must not set securityContext.privileged=true)"
    escalating = [
        name for name, context in containers if context.get("allowPrivilegeEscalation") is not False
    ]
    if escalating:
        yield (
            f"allowPrivilegeEscalation != false ({_named(escalating)} must set "
            "securityContext.allowPrivilegeEscalation=false)"
        )
    capable = [
        name
        for name, context in containers
        if "ALL" not in items(part(context, "capabilities"), "drop")
    ]
    if capable:
        yield (
            f"unrestricted capabilities ({_named(capable)} must set "
            'securityContext.capabilities.drop=["ALL"])'
        )
    yield from _of_volumes(spec)
    yield from _of_users(of_pod, containers)
    yield from _of_seccomp(of_pod, containers)


def _of_volumes(spec: Object) -> Iterator[str]:
    refused: dict[str, list[str]] = {}
    for volume in items(spec, "volumes"):
        kinds = [kind for kind, source in volume.items() if kind != "name" and source is not None]
        for kind in kinds:
            if kind not in _VOLUMES:
                refused.setdefault(kind, []).append(volume["name"])
    for kind, names in refused.items():
        use = "uses" if len(names) == 1 else "use"
        yield (
            f"restricted volume types ({_named(names, 'volume')} {use} restricted volume type "
            f'"{kind}")'
        )


def _of_users(of_pod: Object, containers: list[tuple[str, Object]]) -> Iterator[str]:
    rooted = [
        name
        for name, context in containers
        if context.get("runAsNonRoot", of_pod.get("runAsNonRoot")) is not True
    ]
    if rooted:
        yield (
            f"runAsNonRoot != true (pod or {_named(rooted)} must set "
            "securityContext.runAsNonRoot=true)"
        )
    as_root = [name for name, context in containers if context.get("runAsUser") == 0]
    if of_pod.get("runAsUser") == 0 or as_root:
        who = (
            f"pod and {_named(as_root)}"
            if of_pod.get("runAsUser") == 0 and as_root
            else (_named(as_root) if as_root else "pod")
        )
        yield f"runAsUser=0 ({who} must not set runAsUser=0)"


def _of_seccomp(of_pod: Object, containers: list[tuple[str, Object]]) -> Iterator[str]:
    default = part(of_pod, "seccompProfile").get("type")
    unset = [
        name
        for name, context in containers
        if part(context, "seccompProfile").get("type", default)
        not in {"RuntimeDefault", "Localhost"}
    ]
    if unset:
        yield (
            f"seccompProfile (pod or {_named(unset)} must set "
            'securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")'
        )
