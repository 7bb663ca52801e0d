"""Events: what controllers tell people about objects."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from tests.kubernetes.api.kinds import EVENT, Kind, Object, reference
from tests.kubernetes.api.registry import now

if TYPE_CHECKING:
    from tests.kubernetes.api.registry import Registry


class Recorder:
    """Writes Events, and counts one that is written again."""

    def __init__(self, registry: Registry, component: str) -> None:
        self._registry = registry
        self._component = component

    def record(self, kind: Kind, obj: Object, severity: str, reason: str, message: str) -> None:
        """Tell something about an object.

        Args:
            kind: Its kind.
            obj: The object.
            severity: "Normal" or "Warning".
            reason: One word.
            message: For people.
        """
        about = reference(kind, obj)
        namespace = about["namespace"] or "default"
        for known in self._registry.store.all(EVENT, namespace):
            same = (known["involvedObject"]["uid"], known["reason"], known["message"])
            if same == (about["uid"], reason, message):
                again = {**known, "count": known["count"] + 1, "lastTimestamp": now()}
                self._registry.store.replace(EVENT, known, again)
                return
        self._registry.create(
            EVENT, namespace, event(self._component, about, severity, reason, message)
        )


def event(
    component: str, about: Object, severity: str, reason: str, message: str, host: str = ""
) -> Object:
    """A new Event.

    Args:
        component: Who tells it.
        about: What it is about, as a reference.
        severity: "Normal" or "Warning".
        reason: One word.
        message: For people.
        host: Node of who tells it.
    """
    moment = now()
    return {
        "metadata": {
            "name": f"{about['name']}.{uuid.uuid4().hex[:16]}",
            "namespace": about["namespace"] or "default",
        },
        "involvedObject": {**about, "namespace": about["namespace"] or "default"},
        "type": severity,
        "reason": reason,
        "message": message,
        "source": {"component": component, **({"host": host} if host else {})},
        "reportingComponent": component,
        "reportingInstance": host,
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "count": 1,
    }
