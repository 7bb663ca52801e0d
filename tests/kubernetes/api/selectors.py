"""Label and field selectors."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeAlias

from tests.kubernetes.api.errors import bad_request
from tests.kubernetes.api.kinds import EVENT, JOB, NODE, POD, SECRET, Kind, Object, items, part

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# typing evaluates it, also on Python 3.10.
Predicate: TypeAlias = "Callable[[Object], bool]"

_SET: Final = re.compile(r"^(\S+)\s+(in|notin)\s+\(([^)]*)\)$")
_EQUAL: Final = re.compile(r"^([^=!\s]+)\s*(==|=|!=)\s*(\S*)$")
_NAME: Final = re.compile(r"^!?\s*[A-Za-z0-9][-A-Za-z0-9_./]*$")
_COMMA: Final = re.compile(r",(?![^(]*\))")

_ALWAYS: Final = frozenset({"metadata.name", "metadata.namespace"})
_FIELDS: Final[Mapping[Kind, frozenset[str]]] = {
    POD: frozenset(
        {
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        }
    ),
    EVENT: frozenset(
        {
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        }
    ),
    SECRET: frozenset({"type"}),
    NODE: frozenset({"spec.unschedulable"}),
    JOB: frozenset({"status.successful"}),
}


def labels(text: str) -> Predicate:
    """Whether an object's labels are as the selector wants them.

    Raises:
        StatusError: It can't be read.
    """
    wanted = [_label(one.strip()) for one in _COMMA.split(text) if one.strip()]
    return lambda obj: all(one(part(obj["metadata"], "labels")) for one in wanted)


def _label(text: str) -> Callable[[Mapping[str, str]], bool]:
    if match := _SET.match(text):
        name, operator, listed = match.groups()
        values = {one.strip() for one in listed.split(",")}
        if operator == "in":
            return lambda have: name in have and have[name] in values
        return lambda have: name not in have or have[name] not in values
    if match := _EQUAL.match(text):
        name, operator, value = match.groups()
        if operator == "!=":
            return lambda have: have.get(name) != value
        return lambda have: have.get(name) == value
    if _NAME.match(text):
        name = text.lstrip("! ")
        if text.startswith("!"):
            return lambda have: name not in have
        return lambda have: name in have
    raise bad_request(f"unable to parse requirement: found '{text}', expected: label selector")


def fields(kind: Kind, text: str) -> Predicate:
    """Whether an object's fields are as the selector wants them.

    Raises:
        StatusError: It can't be read, or the kind has no such field to select by.
    """
    wanted: list[tuple[str, bool, str]] = []
    for one in filter(None, text.split(",")):
        match = _EQUAL.match(one)
        if match is None:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{one}'")
        path, operator, value = match.groups()
        if path not in _ALWAYS | _FIELDS.get(kind, frozenset()):
            raise bad_request(f"field label not supported: {path}")
        wanted.append((path, operator != "!=", value))
    return lambda obj: all((_value(obj, path) == value) == same for path, same, value in wanted)


def _value(obj: Object, path: str) -> str:
    # An Event's old `source` is selected by the component in it.
    *outer, last = ("source.component" if path == "source" else path).split(".")
    for name in outer:
        obj = part(obj, name)
    return "" if obj.get(last) is None else str(obj[last])


def everything(obj: Object) -> bool:
    """Selects all there is."""
    del obj
    return True


def both(one: Predicate, other: Predicate) -> Predicate:
    """Selects what both select."""
    return lambda obj: one(obj) and other(obj)


def matches(selector: Object, have: Mapping[str, str]) -> bool:
    """Whether labels are as a `LabelSelector` object (matchLabels, matchExpressions) wants them."""
    if any(have.get(name) != value for name, value in part(selector, "matchLabels").items()):
        return False
    return all(expression(one, have) for one in items(selector, "matchExpressions"))


def expression(wanted: Object, have: Mapping[str, str]) -> bool:
    """Whether labels are as one expression (key, operator, values) wants them."""
    value = have.get(wanted["key"])
    values: list[str] = items(wanted, "values")
    operator = wanted["operator"]
    if operator == "In":
        return value in values
    if operator == "NotIn":
        return value not in values
    if operator == "Exists":
        return value is not None
    if operator == "DoesNotExist":
        return value is None
    if value is None or not value.isdigit():
        return False
    return int(value) > int(values[0]) if operator == "Gt" else int(value) < int(values[0])
