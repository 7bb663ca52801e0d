"""What the end of one Pod means for its Job: `podFailurePolicy`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.kubernetes.api.kinds import items, part

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
    metadata, status = pod["metadata"], part(pod, "status")
    who = f"{metadata['namespace']}/{metadata['name']}"
    if rule.get("onExitCodes") is not None:
        wanted: Object = rule["onExitCodes"]
        for one in (
            *items(status, "containerStatuses"),
            *items(status, "initContainerStatuses"),
        ):
            ended: Object | None = one["state"].get("terminated")
            if ended is None or ended["exitCode"] == 0:
                continue
            named = wanted.get("containerName") in {None, one["name"]}
            listed = ended["exitCode"] in wanted["values"]
            if named and listed == (wanted["operator"] == "In"):
                code = ended["exitCode"]
                return f"Container {one['name']} for pod {who} failed with exit code {code}"
        return ""
    for condition in items(status, "conditions"):
        for pattern in rule["onPodConditions"]:
            if (condition["type"], condition["status"]) == (pattern["type"], pattern["status"]):
                return f"Pod {who} has condition {condition['type']}"
    return ""
