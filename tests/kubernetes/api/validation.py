"""Which objects the API server refuses, beyond what the published schemas say."""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING, Final

from tests.kubernetes.api import pod_validation
from tests.kubernetes.api.errors import FORBIDDEN, Cause, bad_value, not_supported, required
from tests.kubernetes.api.kinds import (
    CONFIG_MAP,
    EVENT,
    JOB,
    POD,
    SECRET,
    Kind,
    Object,
    items,
    part,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

SUBDOMAIN: Final = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
_LABEL_NAME: Final = re.compile(
    r"^([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
)
_LABEL_VALUE: Final = re.compile(r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$")
_KEY: Final = re.compile(r"^[-._a-zA-Z0-9]{1,253}$")
_NOT_NEGATIVE: Final = (
    "parallelism",
    "completions",
    "activeDeadlineSeconds",
    "backoffLimit",
    "ttlSecondsAfterFinished",
    "backoffLimitPerIndex",
    "maxFailedIndexes",
)
_IMMUTABLE: Final = (
    "selector",
    "completionMode",
    "podFailurePolicy",
    "backoffLimitPerIndex",
    "managedBy",
    "successPolicy",
)
_ACTIONS: Final = ("Count", "FailIndex", "FailJob", "Ignore")
_MAX_PARALLELISM: Final = 100_000
_MAX_SECRET: Final = 1024 * 1024


def of_new(kind: Kind, obj: Object) -> list[Cause]:
    """What is wrong with a new object."""
    causes = [*_metadata(obj["metadata"])]
    if kind is POD:
        causes += pod_validation.of_pod(obj)
    elif kind is JOB:
        causes += _job(obj)
    elif kind in {SECRET, CONFIG_MAP}:
        causes += _data(kind, obj)
    elif kind is EVENT:
        causes += _event(obj)
    return causes


def of_changed(kind: Kind, old: Object, new: Object) -> list[Cause]:
    """What is wrong with a new version of an object."""
    causes = [*_metadata(new["metadata"])]
    if kind is POD and old["spec"] != new["spec"]:
        causes += pod_validation.of_changed(old["spec"], new["spec"])
    elif kind is JOB and old["spec"] != new["spec"]:
        causes += [*_job(new), *_changed_job(old, new)]
    elif kind in {SECRET, CONFIG_MAP}:
        causes += [*_data(kind, new), *_changed_data(kind, old, new)]
    return causes


def _metadata(metadata: Object) -> Iterator[Cause]:
    name: str = metadata["name"]
    if len(name) > 253:
        yield bad_value("metadata.name", name, "must be no more than 253 bytes")
    # Roles are free to have colons in their names, and are not here.
    elif not SUBDOMAIN.match(name):
        yield bad_value(
            "metadata.name",
            name,
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, "
            "'-' or '.', and must start and end with an alphanumeric character (e.g. "
            "'example.com', regex used for validation is "
            "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
        )
    yield from labels("metadata.labels", part(metadata, "labels"))
    annotations: dict[str, str] = part(metadata, "annotations")
    for key in annotations:
        if not _LABEL_NAME.match(key.lower()):
            yield bad_value("metadata.annotations", key, "name part must consist of alphanumerics")
    for index, owner in enumerate(items(metadata, "ownerReferences")):
        for field in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(field):
                path = f"metadata.ownerReferences[{index}].{field}"
                yield bad_value(path, owner.get(field) or "", "must not be empty")


def labels(path: str, have: dict[str, str]) -> Iterator[Cause]:
    """What is wrong with labels."""
    for name, value in have.items():
        if not _LABEL_NAME.match(name):
            yield bad_value(
                path,
                name,
                "name part must be 63 characters at most, alphanumerics, "
                "'-', '_' or '.', and must start and end with an alphanumeric",
            )
        if len(value) > 63:
            yield bad_value(path, value, "must be no more than 63 bytes")
        elif not _LABEL_VALUE.match(value):
            yield bad_value(
                path,
                value,
                "a valid label must be an empty string or consist of alphanumeric characters, "
                "'-', '_' or '.', and must start and end with an alphanumeric character (e.g. "
                "'MyValue',  or 'my_value',  or '12345', regex used for validation is "
                "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
            )


def _job(job: Object) -> Iterator[Cause]:
    spec: Object = part(job, "spec")
    for field in _NOT_NEGATIVE:
        if (spec.get(field) or 0) < 0:
            yield bad_value(f"spec.{field}", spec[field], "must be greater than or equal to 0")
    indexed = spec["completionMode"] == "Indexed"
    if spec["completionMode"] not in {"Indexed", "NonIndexed"}:
        modes = ("NonIndexed", "Indexed")
        yield not_supported("spec.completionMode", spec["completionMode"], modes)
    if indexed:
        yield from _indexed(job, spec)
    elif spec.get("backoffLimitPerIndex") is not None:
        given = spec["backoffLimitPerIndex"]
        yield bad_value("spec.backoffLimitPerIndex", given, "requires indexed completion mode")
    template: Object = part(spec, "template")
    of_pods: Object = part(template, "spec")
    yield from labels("spec.template.labels", part(part(template, "metadata"), "labels"))
    yield from pod_validation.of_spec(of_pods, "spec.template.spec")
    yield from _ends(spec, of_pods)
    yield from _unknown_here(spec)


def _unknown_here(spec: Object) -> Iterator[Cause]:
    """What the real controller does, and that of the tests does not."""
    if spec.get("successPolicy") is not None:
        yield bad_value("spec.successPolicy", "...", "the tests' cluster has no successPolicy")


def _ends(spec: Object, of_pods: Object) -> Iterator[Cause]:
    """What is wrong with how the end of a Pod is taken."""
    policy: Object | None = spec.get("podFailurePolicy")
    restart = of_pods.get("restartPolicy")
    path = "spec.template.spec.restartPolicy"
    if restart == "Always":
        yield required(path, 'valid values: "OnFailure", "Never"')
    elif policy is not None and restart != "Never":
        yield bad_value(
            path, restart, 'only "Never" is supported when podFailurePolicy is specified'
        )
    if policy is not None:
        names = {
            one.get("name")
            for one in (*of_pods.get("containers", ()), *items(of_pods, "initContainers"))
        }
        for index, rule in enumerate(items(policy, "rules")):
            yield from _rule(f"spec.podFailurePolicy.rules[{index}]", rule, spec, names)
        if spec["podReplacementPolicy"] != "Failed":
            given = spec["podReplacementPolicy"]
            yield not_supported("spec.podReplacementPolicy", given, ["Failed"])


def _indexed(job: Object, spec: Object) -> Iterator[Cause]:
    completions: int | None = spec.get("completions")
    if completions is None:
        yield required("spec.completions", "when completion mode is Indexed")
        return
    if spec["parallelism"] > _MAX_PARALLELISM:
        why = "must be less than or equal to 100000 when completion mode is Indexed"
        yield bad_value("spec.parallelism", spec["parallelism"], why)
    name = job["metadata"]["name"]
    hostname = f"{name}-{max(completions - 1, 0)}"
    if len(hostname) > 63 or "." in hostname:
        why = f"will not able to create pod with invalid DNS label: {hostname}"
        yield bad_value("metadata.name", name, why)


def _rule(path: str, rule: Object, spec: Object, names: set[str | None]) -> Iterator[Cause]:
    action = rule.get("action") or ""
    if not action:
        yield required(f"{path}.action", f"valid values: {list(_ACTIONS)}")
    elif action not in _ACTIONS:
        yield not_supported(f"{path}.action", action, _ACTIONS)
    elif action == "FailIndex" and spec.get("backoffLimitPerIndex") is None:
        yield bad_value(f"{path}.action", action, "requires the backoffLimitPerIndex to be set")
    codes: Object | None = rule.get("onExitCodes")
    conditions: list[Object] = items(rule, "onPodConditions")
    if codes is not None and conditions:
        why = "Invalid value: specifying both OnExitCodes and OnPodConditions is not supported"
        yield Cause(path, "FieldValueInvalid", why)
    if codes is None and not conditions:
        why = "Invalid value: specifying one of OnExitCodes and OnPodConditions is required"
        yield Cause(path, "FieldValueInvalid", why)
    if codes is not None:
        yield from _exit_codes(f"{path}.onExitCodes", codes, names)


def _exit_codes(path: str, codes: Object, names: set[str | None]) -> Iterator[Cause]:
    if codes.get("operator") not in {"In", "NotIn"}:
        yield not_supported(f"{path}.operator", codes.get("operator") or "", ["In", "NotIn"])
    values: list[int] = items(codes, "values")
    if not values:
        yield bad_value(f"{path}.values", values, "at least one value is required")
    if values != sorted(set(values)):
        yield bad_value(f"{path}.values", values, "must be ordered, and without duplicates")
    if codes.get("operator") == "In" and 0 in values:
        yield bad_value(f"{path}.values[{values.index(0)}]", 0, "must not be 0 for the In operator")
    if (named := codes.get("containerName")) is not None and named not in names:
        yield bad_value(
            f"{path}.containerName",
            named,
            "must be one of the container or initContainer names in the pod template",
        )


def _changed_job(old: Object, new: Object) -> Iterator[Cause]:
    before, after = old["spec"], new["spec"]
    for field in _IMMUTABLE:
        if before.get(field) != after.get(field):
            yield bad_value(f"spec.{field}", after.get(field), "field is immutable")
    if before.get("completions") != after.get("completions"):
        if after["completionMode"] != "Indexed":
            yield bad_value("spec.completions", after.get("completions"), "field is immutable")
        elif after.get("completions") != after["parallelism"]:
            why = "can only be modified in tandem with spec.parallelism"
            yield bad_value("spec.completions", after.get("completions"), why)
    template = copy.deepcopy(before["template"])
    if before["suspend"] and not part(old, "status").get("startTime"):
        _take_directives(template, after["template"])
    if template != after["template"]:
        yield bad_value("spec.template", "core.PodTemplateSpec{...}", "field is immutable")


def _take_directives(old: Object, new: Object) -> None:
    """Where a Job that waits will run may still be changed: queues do that."""
    for holder, taken, names in (
        (old["spec"], new["spec"], ("nodeSelector", "affinity", "tolerations", "schedulingGates")),
        (old.setdefault("metadata", {}), part(new, "metadata"), ("labels", "annotations")),
    ):
        for name in names:
            holder.pop(name, None)
            if name in taken:
                holder[name] = taken[name]


def _data(kind: Kind, obj: Object) -> Iterator[Cause]:
    data: dict[str, str] = part(obj, "data")
    for key in data:
        if not _KEY.match(key):
            yield bad_value(
                f"data[{key}]",
                key,
                "a valid config key must consist of alphanumeric "
                "characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or "
                "'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
            )
    if sum(len(value) for value in data.values()) > _MAX_SECRET * (4 / 3 if kind is SECRET else 1):
        yield Cause(
            "data", "FieldValueTooLong", f"Too long: may not be more than {_MAX_SECRET} bytes"
        )
    if (
        kind is SECRET
        and obj["type"] == "kubernetes.io/dockerconfigjson"
        and (".dockerconfigjson" not in data)
    ):
        yield required("data[.dockerconfigjson]")


def _changed_data(kind: Kind, old: Object, new: Object) -> Iterator[Cause]:
    if kind is SECRET and old.get("type") != new.get("type"):
        yield bad_value("type", new.get("type"), "field is immutable")
    if old.get("immutable") and (old.get("data"), True) != (new.get("data"), new.get("immutable")):
        yield Cause("data", FORBIDDEN, "Forbidden: field is immutable when `immutable` is set")


def _event(obj: Object) -> Iterator[Cause]:
    about: Object = part(obj, "involvedObject")
    if (about.get("namespace") or "default") != obj["metadata"]["namespace"]:
        yield bad_value(
            "involvedObject.namespace",
            about.get("namespace") or "",
            "does not match event.namespace",
        )
