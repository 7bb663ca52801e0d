"""What a node tells the API of a Pod."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.kubernetes.api.conditions import set_condition
from tests.kubernetes.api.registry import now

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.kubernetes.api.kinds import Object
    from tests.kubernetes.node.containers import Container

_LOST: Final = {
    "terminated": {
        "exitCode": 137,
        "reason": "ContainerStatusUnknown",
        "message": "The container could not be located when the pod was terminated",
    }
}


class Story:
    """How far a Pod has come.

    Attributes:
        phase: Its phase.
        reason: Why it failed, where the node decided that.
        message: The same for people.
        disrupted: Why the node evicted it; "" where it did not.
        ready_to_start: Whether volumes and sandbox are there.
    """

    def __init__(self) -> None:
        self.start = now()
        self.phase = "Pending"
        self.reason = ""
        self.message = ""
        self.disrupted = ""
        self.ready_to_start = False

    @property
    def is_over(self) -> bool:
        """Whether nothing more happens."""
        return self.phase in {"Succeeded", "Failed"}

    def end(self, initial: Iterable[Container], main: Iterable[Container]) -> None:
        """Nothing runs any longer: say how the Pod ended."""
        initial, main = list(initial), list(main)
        initialized = all(one.exit_code == 0 for one in initial)
        for container in main if initialized else ():
            if container.exit_code is None:
                container.state = dict(_LOST)
        succeeded = initialized and all(one.exit_code == 0 for one in main) and not self.reason
        self.phase = "Succeeded" if succeeded else "Failed"

    def status(
        self, old: Object, initial: list[Container], main: list[Container], address: str
    ) -> Object:
        """The status as it is to be.

        Args:
            old: The status as the API has it: conditions of others stay.
            initial: Containers that come first.
            main: The others.
            address: Of the node, and of the Pod.
        """
        initialized = all(one.exit_code == 0 for one in initial)
        running = bool(main) and all(one.is_running for one in main)
        status: Object = {
            **old,
            "phase": self.phase,
            "hostIP": address,
            "hostIPs": [{"ip": address}],
            "startTime": self.start,
            "containerStatuses": [_of_container(one) for one in main],
        }
        if initial:
            status["initContainerStatuses"] = [_of_container(one) for one in initial]
        if self.ready_to_start:
            status.update(podIP=address, podIPs=[{"ip": address}])
        for name in ("reason", "message"):
            if value := getattr(self, name):
                status[name] = value
        ready = (
            "PodCompleted"
            if self.phase == "Succeeded"
            else ("PodFailed" if self.phase == "Failed" else "ContainersNotReady")
        )
        names = " ".join(one.name for one in main if not one.is_running)
        unready = f"containers with unready status: [{names}]"
        sandboxed = self.ready_to_start and not self.is_over
        not_initialized = "" if initialized else "ContainersNotInitialized"
        status = set_condition(status, "PodReadyToStartContainers", str(sandboxed))
        status = set_condition(status, "Initialized", str(initialized), not_initialized)
        for kind in ("Ready", "ContainersReady"):
            if running and not self.is_over:
                status = set_condition(status, kind, "True")
            else:
                status = set_condition(status, kind, "False", ready, unready)
        if self.disrupted:
            status = set_condition(
                status, "DisruptionTarget", "True", "TerminationByKubelet", self.disrupted
            )
        return status


def _of_container(container: Container) -> Object:
    status: Object = {
        "name": container.name,
        "image": container.image,
        "imageID": f"double://{container.image}" if container.id else "",
        "state": container.state,
        "lastState": {},
        "ready": container.is_running or container.exit_code == 0,
        "started": container.is_running,
        "restartCount": 0,
    }
    if container.id:
        status["containerID"] = container.id
    return status
