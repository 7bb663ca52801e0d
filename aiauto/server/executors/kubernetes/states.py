"""What a Pod's status means, in words for its user."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from aiauto.server.batches.workers import OUT_OF_MEMORY
from aiauto.server.executors.ends import End, with_output

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiauto.server.executors.kubernetes.configuration import Json

# What a kubelet says of a container that no waiting will help: the image, or what the Pod asks for.
HOPELESS: Final = frozenset(
    {
        "CreateContainerConfigError",
        "CreateContainerError",
        "ErrImageNeverPull",
        "ErrImagePull",
        "ImageInspectError",
        "ImagePullBackOff",
        "InvalidImageName",
        "RegistryUnavailable",
        "RunContainerError",
    }
)
# Waiting that is part of every start.
STARTING: Final = frozenset({"", "ContainerCreating", "PodInitializing"})
_ADVICE: Final = {
    "ErrImagePull": "Check runtime_image, and the credentials for it if it is private.",
    "ImagePullBackOff": "Check runtime_image, and the credentials for it if it is private.",
    "InvalidImageName": "Check runtime_image.",
}
_KILLED: Final = 137


@dataclass(frozen=True)
class PodState:
    """A Pod as it stands.

    Attributes:
        ended: Whether it has ended, or is being removed and has no process any more.
        exit_code: Its container's exit code; None where it has none.
        reason: One CamelCase word; empty where all is well.
        message: The same as a sentence.
        hopeless: Whether it waits for what no waiting brings.
        disrupted: Whether the cluster took its place away: it was evicted or preempted, or its node
            is gone.
    """

    ended: bool
    exit_code: int | None = None
    reason: str = ""
    message: str = ""
    hopeless: bool = False
    disrupted: bool = False


def state_of(pod: Json) -> PodState:
    """Read a Pod's status.

    Args:
        pod: The Pod, as the cluster tells of it.
    """
    status: Json = pod.get("status", {})
    terminated = _terminated(status)
    disruption = _disruption(status)
    if status.get("phase") in {"Succeeded", "Failed"}:
        return _ended(status, terminated, disruption)
    waiting = _waiting(status)
    reason, message = str(waiting.get("reason", "")), str(waiting.get("message", ""))
    if reason not in STARTING:
        hopeless = reason in HOPELESS
        advice = _ADVICE.get(reason, "")
        return PodState(
            ended=False,
            reason=reason,
            message=" ".join(filter(None, (message, advice))),
            hopeless=hopeless,
        )
    scheduled = _condition(status, "PodScheduled")
    if scheduled.get("status") == "False":
        return PodState(
            ended=False,
            reason=str(scheduled.get("reason", "Unschedulable")),
            message=str(scheduled.get("message", "")),
        )
    return PodState(ended=False)


def finished_at(pod: Json) -> str:
    """When a Pod's container ended, as RFC 3339 has it; empty where it did not."""
    return str((_terminated(pod.get("status", {})) or {}).get("finishedAt") or "")


def gone(pod: Json) -> PodState:
    """What became of a Pod that was removed before it had ended, as far as is known."""
    disruption = _disruption(pod.get("status", {}))
    if disruption is not None:
        return PodState(ended=True, reason="Evicted", message=disruption, disrupted=True)
    return PodState(
        ended=True, reason="Deleted", message="The worker's Pod was deleted.", disrupted=True
    )


def _ended(status: Json, terminated: Json | None, disruption: str | None) -> PodState:
    code = None if terminated is None else int(terminated["exitCode"])
    if disruption is not None or status.get("reason") in {"Evicted", "NodeLost", "Shutdown"}:
        message = str(status.get("message") or disruption or "The Pod was evicted.")
        return PodState(
            ended=True, exit_code=code, reason="Evicted", message=message, disrupted=True
        )
    if terminated is None:
        # It never ran: the node refused it, or its time was up before.
        reason = str(status.get("reason") or "Failed")
        message = str(status.get("message") or "The Pod has failed before it ran.")
        return PodState(ended=True, reason=reason, message=message)
    reason = str(terminated.get("reason") or ("Completed" if code == 0 else "Error"))
    if reason == OUT_OF_MEMORY:
        return PodState(ended=True, exit_code=code, reason=reason, message=_OUT_OF_MEMORY)
    return PodState(
        ended=True, exit_code=code, reason=reason, message=_sentence(code or 0, terminated)
    )


_OUT_OF_MEMORY: Final = (
    "The worker was out of memory, and the cluster killed it: use less memory a trial, or raise "
    "resources_limits['memory'] (and resources_requests['memory'], so that its node has as much)."
)


def _sentence(code: int, terminated: Json) -> str:
    killed = "The worker was killed (SIGKILL)."
    sentence = killed if code == _KILLED else End(code).sentence
    printed = str(terminated.get("message") or "") if code else ""
    return with_output(sentence, printed)


def _containers(status: Json) -> Iterator[Json]:
    yield from status.get("initContainerStatuses") or ()
    yield from status.get("containerStatuses") or ()


def _terminated(status: Json) -> Json | None:
    for container in _containers(status):
        state: Json = container.get("state", {})
        if "terminated" in state:
            return dict[str, Any](state["terminated"])
    return None


def _waiting(status: Json) -> Json:
    for container in _containers(status):
        state: Json = container.get("state", {})
        if "waiting" in state:
            return dict[str, Any](state["waiting"])
    return {}


def _condition(status: Json, kind: str) -> Json:
    for condition in status.get("conditions") or ():
        if condition.get("type") == kind:
            return dict[str, Any](condition)
    return {}


def _disruption(status: Json) -> str | None:
    """Why the cluster took the Pod's place away; None where it did not."""
    condition = _condition(status, "DisruptionTarget")
    if condition.get("status") != "True":
        return None
    words = str(condition.get("message") or condition.get("reason") or "")
    return f"The cluster took the worker's place away: {words}"
