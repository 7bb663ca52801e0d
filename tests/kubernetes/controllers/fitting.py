"""Which nodes a Pod fits on, and why it does not fit on the others."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from tests.kubernetes.api import quantities, selectors
from tests.kubernetes.api.kinds import items, part

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tests.kubernetes.api.kinds import Object

_AFFINITY: Final = "node(s) didn't match Pod's node affinity/selector"
_UNSCHEDULABLE: Final = "node(s) were unschedulable"
_BLOCKING: Final = frozenset({"NoSchedule", "NoExecute"})


def requests(pod: Object) -> dict[str, Decimal]:
    """What a Pod asks for, as numbers. One Pod asks for one place for a Pod."""
    spec = pod["spec"]
    running: Counter[str] = Counter()
    for container in spec["containers"]:
        for name, quantity in part(container["resources"], "requests").items():
            running[name] += quantities.parse(quantity)  # type: ignore[assignment]
    asked = {name: Decimal(number) for name, number in running.items()}
    # Those that come first run alone, one after the other.
    for container in items(spec, "initContainers"):
        for name, quantity in part(container["resources"], "requests").items():
            asked[name] = max(asked.get(name, Decimal(0)), quantities.parse(quantity))
    return {**asked, "pods": Decimal(1)}


def free(node: Object, pods: Iterable[Object]) -> dict[str, Decimal]:
    """What a node has left beside the Pods that are on it."""
    allocatable: Mapping[str, str] = part(part(node, "status"), "allocatable")
    left = {name: quantities.parse(value) for name, value in allocatable.items()}
    for pod in pods:
        for name, number in requests(pod).items():
            left[name] = left.get(name, Decimal(0)) - number
    return left


def obstacles(pod: Object, node: Object, left: Mapping[str, Decimal]) -> list[str]:
    """Why a Pod does not fit on a node; nothing where it does."""
    spec = pod["spec"]
    if part(node, "spec").get("unschedulable"):
        return [_UNSCHEDULABLE]
    for taint in items(part(node, "spec"), "taints"):
        if taint["effect"] in _BLOCKING and not any(
            _tolerates(one, taint) for one in spec["tolerations"]
        ):
            return [f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value', '')}}}"]
    if not _chosen(spec, node):
        return [_AFFINITY]
    return [
        "Too many pods" if name == "pods" else f"Insufficient {name}"
        for name, number in requests(pod).items()
        if number > left.get(name, Decimal(0))
    ]


def explain(reasons: Mapping[str, list[str]]) -> str:
    """What the scheduler says of a Pod that fits nowhere.

    Args:
        reasons: Why it does not fit, by node.
    """
    if not reasons:
        return "no nodes available to schedule pods"
    every = f"0/{len(reasons)} nodes are available:"
    counted = Counter(reason for of_node in reasons.values() for reason in of_node)
    helpless = sum(_for_good(of_node) for of_node in reasons.values())
    victimless = len(reasons) - helpless
    preempted = Counter(
        {
            "No preemption victims found for incoming pod": victimless,
            "Preemption is not helpful for scheduling": helpless,
        }
    )
    return f"{every} {_listed(counted)}. preemption: {every} {_listed(preempted)}."


def _for_good(reasons: list[str]) -> bool:
    """Whether nobody who leaves would make a node fit."""
    return not all(one.startswith(("Insufficient", "Too many")) for one in reasons)


def _listed(counted: Mapping[str, int]) -> str:
    return ", ".join(sorted(f"{number} {reason}" for reason, number in counted.items() if number))


def _tolerates(toleration: Object, taint: Object) -> bool:
    if toleration.get("effect") not in {None, "", taint["effect"]}:
        return False
    if toleration.get("key") not in {None, "", taint["key"]}:
        return False
    if toleration.get("operator") == "Exists":
        return True
    return bool(toleration.get("value", "") == taint.get("value", ""))


def _chosen(spec: Object, node: Object) -> bool:
    have: dict[str, str] = part(node["metadata"], "labels")
    if any(have.get(name) != value for name, value in part(spec, "nodeSelector").items()):
        return False
    affinity: Object = part(part(spec, "affinity"), "nodeAffinity")
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is None:
        return True
    name = {"metadata.name": node["metadata"]["name"]}
    return any(
        (term.get("matchExpressions") or term.get("matchFields"))
        and all(selectors.expression(one, have) for one in items(term, "matchExpressions"))
        and all(selectors.expression(one, name) for one in items(term, "matchFields"))
        for term in required["nodeSelectorTerms"]
    )
