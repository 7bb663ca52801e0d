"""Conditions in the status of objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.kubernetes.api.kinds import items
from tests.kubernetes.api.registry import now

if TYPE_CHECKING:
    from tests.kubernetes.api.kinds import Object


def find_condition(status: Object, kind: str) -> Object | None:
    """A condition, if there is one of that type."""
    conditions: list[Object] = items(status, "conditions")
    return next((one for one in conditions if one["type"] == kind), None)


def holds(status: Object, kind: str) -> bool:
    """Whether a condition is there, and true."""
    found = find_condition(status, kind)
    return found is not None and found["status"] == "True"


def set_condition(
    status: Object, kind: str, value: str, reason: str = "", message: str = ""
) -> Object:
    """A status with a condition as given. When it last changed is kept where it did not.

    Args:
        status: The status, which stays as it is.
        kind: Type of the condition.
        value: "True", "False" or "Unknown".
        reason: One word for why.
        message: For people.
    """
    old = find_condition(status, kind)
    new: Object = {"type": kind, "status": value}
    new.update({"reason": reason} if reason else {})
    new.update({"message": message} if message else {})
    same = old is not None and old["status"] == value
    new["lastTransitionTime"] = old["lastTransitionTime"] if same and old else now()
    if old is not None and "lastProbeTime" in old:
        new["lastProbeTime"] = old["lastProbeTime"]
    others = [one for one in items(status, "conditions") if one["type"] != kind]
    return {**status, "conditions": [*others, new]}
