"""What the API server fills in where a client says nothing."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final

from tests.kubernetes.api.kinds import (
    CLAIM,
    EVENT,
    JOB,
    NAMESPACE,
    POD,
    SECRET,
    Kind,
    Object,
    items,
    part,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

CONTROLLER_UID: Final = "batch.kubernetes.io/controller-uid"
JOB_NAME: Final = "batch.kubernetes.io/job-name"
# How long a Pod stays on a node that is not ready, or gone.
_EVICTED_FROM: Final = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


def apply(kind: Kind, obj: Object) -> None:
    """Fill in a new object, or one that is changed."""
    obj["apiVersion"], obj["kind"] = kind.api_version, kind.name
    if kind is POD:
        _pod(obj)
    elif kind is JOB:
        _job(obj)
    elif kind is SECRET:
        _secret(obj)
    elif kind is NAMESPACE:
        name = obj["metadata"]["name"]
        obj["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = name
        obj["spec"] = {"finalizers": ["kubernetes"]}
        obj.setdefault("status", {"phase": "Active"})
    elif kind is CLAIM:
        obj.get("spec", {}).setdefault("volumeMode", "Filesystem")
        obj.setdefault("status", {"phase": "Pending"})
    elif kind is EVENT:
        obj.setdefault("type", "")


def _fill(obj: Object, values: Mapping[str, object]) -> None:
    for name, value in values.items():
        if obj.get(name) is None:
            obj[name] = value


def _pod(obj: Object) -> None:
    spec: Object = part(obj, "spec")
    pod_spec(spec)
    _fill(
        spec,
        {
            "serviceAccountName": "default",
            "priority": 0,
            "enableServiceLinks": True,
            "preemptionPolicy": "PreemptLowerPriority",
        },
    )
    spec["serviceAccount"] = spec["serviceAccountName"]
    tolerations: list[Object] = spec.setdefault("tolerations", [])
    for key in _EVICTED_FROM:
        if not any(one.get("key") in {None, "", key} for one in tolerations):
            tolerations.append(
                {
                    "key": key,
                    "operator": "Exists",
                    "effect": "NoExecute",
                    "tolerationSeconds": 300,
                }
            )
    for container in (*spec.get("containers", ()), *spec.get("initContainers", ())):
        resources: Object = container["resources"]
        if resources.get("limits"):
            resources["requests"] = {**resources["limits"], **resources.get("requests", {})}
    obj.setdefault("status", {"phase": "Pending", "qosClass": _quality(spec)})


def _quality(spec: Object) -> str:
    resources: list[Object] = [one["resources"] for one in spec.get("containers", ())]
    if not any(one.get("requests") for one in resources):
        return "BestEffort"
    for one in resources:
        limits: Object = part(one, "limits")
        requests: Object = part(one, "requests")
        if any(
            name not in limits or requests.get(name) != limits[name] for name in ("cpu", "memory")
        ):
            return "Burstable"
    return "Guaranteed"


def pod_spec(spec: Object) -> None:
    """Fill in the `spec` of a Pod, or of the template of one."""
    _fill(
        spec,
        {
            "restartPolicy": "Always",
            "dnsPolicy": "ClusterFirst",
            "terminationGracePeriodSeconds": 30,
            "schedulerName": "default-scheduler",
            "securityContext": {},
        },
    )
    for container in (*items(spec, "containers"), *items(spec, "initContainers")):
        _container(container)
    for volume in items(spec, "volumes"):
        for source in ("secret", "configMap"):
            if volume.get(source) is not None:
                _fill(volume[source], {"defaultMode": 0o644})


def _container(container: Object) -> None:
    image: str = container.get("image") or ""
    tag = image.rpartition("/")[2].partition(":")[2]
    newest = "@" not in image and tag in {"", "latest"}
    _fill(
        container,
        {
            "imagePullPolicy": "Always" if newest else "IfNotPresent",
            "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "File",
            "resources": {},
        },
    )
    for variable in items(container, "env"):
        source: Object = part(part(variable, "valueFrom"), "fieldRef")
        if source:
            _fill(source, {"apiVersion": "v1"})


def _job(obj: Object) -> None:
    spec: Object = part(obj, "spec")
    template: Object = part(spec, "template")
    pod_spec(part(template, "spec"))
    if spec.get("completions") is None and spec.get("parallelism") is None:
        _fill(spec, {"completions": 1})
    with_policy = spec.get("podFailurePolicy") is not None
    per_index = spec.get("backoffLimitPerIndex") is not None
    _fill(
        spec,
        {
            "parallelism": 1,
            "backoffLimit": 2**31 - 1 if per_index else 6,
            "completionMode": "NonIndexed",
            "suspend": False,
            "manualSelector": False,
            "podReplacementPolicy": "Failed" if with_policy else "TerminatingOrFailed",
        },
    )
    for rule in items(part(spec, "podFailurePolicy"), "rules"):
        for pattern in items(rule, "onPodConditions"):
            _fill(pattern, {"status": "True"})
    if not spec["manualSelector"] and spec.get("selector") is None:
        uid, name = obj["metadata"]["uid"], obj["metadata"]["name"]
        spec["selector"] = {"matchLabels": {CONTROLLER_UID: uid}}
        metadata: Object = template.setdefault("metadata", {})
        metadata["labels"] = {
            **part(metadata, "labels"),
            CONTROLLER_UID: uid,
            JOB_NAME: name,
            "controller-uid": uid,
            "job-name": name,
        }
    obj.setdefault("status", {})


def _secret(obj: Object) -> None:
    _fill(obj, {"type": "Opaque"})
    text: dict[str, str] = obj.pop("stringData", None) or {}
    if text:
        written = {name: base64.b64encode(one.encode()).decode() for name, one in text.items()}
        obj["data"] = {**part(obj, "data"), **written}
