"""What the end of one Pod means for its Job: `podFailurePolicy`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.kubernetes.api.kinds import Object


@dataclass(frozen=True)
class Verdict:
    """What a rule says.

    Attributes:
        action: Count, Ignore, FailJob or FailIndex.
        message: For FailJob, why.
    """

    action: str
    message: str = ""


def judge(policy: Object | None, pod: Object) -> Verdict:
    """What the first rule that matches says of a Pod that failed."""
    for index, rule in enumerate((policy or {}).get("rules") or ()):
        told = _matches(rule, pod)
        if told:
            return Verdict(
                rule["action"], f"{told} matching {rule['action']} rule at index {index}"
            )
    return Verdict("Count")


def _matches(rule: Object, pod: Object) -> str:
    """How a Pod matches a rule, for people; "" where it does not."""
    metadata, status = pod["metadata"], pod.get("status") or {}
    who = f"{metadata['namespace']}/{metadata['name']}"
    if rule.get("onExitCodes") is not None:
        wanted: Object = rule["onExitCodes"]
        for one in (
            *(status.get("containerStatuses") or ()),
            *(status.get("initContainerStatuses") or ()),
        ):
            ended: Object | None = one["state"].get("terminated")
            if ended is None or ended["exitCode"] == 0:
                continue
            named = wanted.get("containerName") in {None, one["name"]}
            listed = ended["exitCode"] in wanted["values"]
            if named and listed == (wanted["operator"] == "In"):
                return f"Container {one['name']} for pod {who} failed with exit code {ended['exitCode']}"
        return ""
    for condition in status.get("conditions") or ():
        for pattern in rule["onPodConditions"]:
            if (condition["type"], condition["status"]) == (pattern["type"], pattern["status"]):
                return f"Pod {who} has condition {condition['type']}"
    return ""
