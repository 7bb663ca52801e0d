"""The scheduler: binds Pods to nodes that they fit on, and says why others must wait."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.kubernetes.api.conditions import find_condition, set_condition
from tests.kubernetes.api.kinds import CLAIM, NODE, POD, Object, items
from tests.kubernetes.api.registry import DeleteOptions
from tests.kubernetes.api.subresources import bind
from tests.kubernetes.controllers import fitting
from tests.kubernetes.controllers.events import Recorder

if TYPE_CHECKING:
    from tests.kubernetes.api.registry import Registry

_NAME: Final = "default-scheduler"
_GATED: Final = "Scheduling is blocked due to non-empty scheduling gates"


class Scheduler:
    """Sees to Pods that are on no node yet."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._store = registry.store
        self._recorder = Recorder(registry, _NAME)

    def sync(self) -> float | None:
        """Place what fits, the most important Pods and then the oldest first."""
        waiting = [pod for pod in self._store.all(POD) if _waits(pod)]
        waiting.sort(
            key=lambda pod: (-pod["spec"]["priority"], int(pod["metadata"]["resourceVersion"]))
        )
        for pod in waiting:
            self._place(pod)
        return None

    def _place(self, pod: Object) -> None:
        if pod["spec"].get("schedulingGates"):
            self._refuse(pod, "SchedulingGated", _GATED)
            return
        if lacking := self._lacking_claim(pod):
            count = len(self._store.all(NODE))
            every = f"0/{count} nodes are available:"
            helpless = f"{count} Preemption is not helpful for scheduling."
            self._refuse(pod, "Unschedulable", f"{every} {lacking}. preemption: {every} {helpless}")
            return
        reasons: dict[str, list[str]] = {}
        for node in self._store.all(NODE):
            name = node["metadata"]["name"]
            left = fitting.free(node, (one for one in self._store.all(POD) if _takes(one, name)))
            reasons[name] = fitting.obstacles(pod, node, left)
        metadata = pod["metadata"]
        fits = [name for name, of_node in reasons.items() if not of_node]
        if not fits:
            self._refuse(pod, "Unschedulable", fitting.explain(reasons))
            return
        # The one with the fewest Pods.
        chosen = min(fits, key=lambda name: sum(_takes(one, name) for one in self._store.all(POD)))
        bind(self._registry, metadata["namespace"], metadata["name"], chosen)
        message = f"Successfully assigned {metadata['namespace']}/{metadata['name']} to {chosen}"
        self._recorder.record(POD, pod, "Normal", "Scheduled", message)

    def _lacking_claim(self, pod: Object) -> str:
        for volume in items(pod["spec"], "volumes"):
            source: Object | None = volume.get("persistentVolumeClaim")
            if source is None:
                continue
            claim = self._store.find(CLAIM, pod["metadata"]["namespace"], source["claimName"])
            if claim is None:
                return f'persistentvolumeclaim "{source["claimName"]}" not found'
            if claim["status"].get("phase") != "Bound":
                return "pod has unbound immediate PersistentVolumeClaims"
        return ""

    def _refuse(self, pod: Object, reason: str, message: str) -> None:
        known = find_condition(pod["status"], "PodScheduled")
        if known is not None and (known.get("reason"), known.get("message")) == (reason, message):
            return

        def refused(old: Object) -> Object:
            old["status"] = set_condition(old["status"], "PodScheduled", "False", reason, message)
            return old

        metadata = pod["metadata"]
        where = metadata["namespace"], metadata["name"]
        self._registry.update(POD, *where, refused, subresource="status")
        if reason == "Unschedulable":
            self._recorder.record(POD, pod, "Warning", "FailedScheduling", message)

    def preempt(self, namespace: str, name: str) -> None:
        """Take a Pod's place away, as for another that is more important.

        Args:
            namespace: Where it is.
            name: Its name.
        """
        message = f"{_NAME}: preempting to accommodate a higher priority pod"

        def disrupted(pod: Object) -> Object:
            pod["status"] = set_condition(
                pod["status"], "DisruptionTarget", "True", "PreemptionByScheduler", message
            )
            return pod

        pod = self._registry.update(POD, namespace, name, disrupted, subresource="status")
        node = pod["spec"].get("nodeName", "")
        self._recorder.record(
            POD, pod, "Normal", "Preempted", f"Preempted by a higher priority pod on node {node}"
        )
        self._registry.delete(POD, namespace, name, DeleteOptions())


def _waits(pod: Object) -> bool:
    spec = pod["spec"]
    return (
        not spec.get("nodeName")
        and spec["schedulerName"] == _NAME
        and "deletionTimestamp" not in pod["metadata"]
        and pod["status"]["phase"] == "Pending"
    )


def _takes(pod: Object, node: str) -> bool:
    """Whether a Pod takes room on a node."""
    over = pod["status"].get("phase") in {"Succeeded", "Failed"}
    return pod["spec"].get("nodeName") == node and not over
