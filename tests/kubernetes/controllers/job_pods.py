"""The Pods that a Job is made of."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Final

from tests.kubernetes.api.kinds import JOB, items, part
from tests.kubernetes.api.registry import suffix
from tests.kubernetes.controllers.indexes import INDEX

if TYPE_CHECKING:
    from tests.kubernetes.api.kinds import Object

# Keeps a Pod until it is counted.
TRACKING: Final = "batch.kubernetes.io/job-tracking"
FAILURES: Final = "batch.kubernetes.io/job-index-failure-count"
_VARIABLE: Final = "JOB_COMPLETION_INDEX"


def without_tracking(pod: Object) -> Object:
    """The Pod, which is counted."""
    kept = [one for one in pod["metadata"]["finalizers"] if one != TRACKING]
    pod["metadata"]["finalizers"] = kept
    return pod


def new_pod(job: Object, index: int | None, failures: int | None) -> Object:
    """A Pod for a Job.

    Args:
        job: The Job.
        index: Its completion index; None for a Job without.
        failures: How often the index failed; None where that is not counted.
    """
    template: Object = copy.deepcopy(job["spec"]["template"])
    metadata: Object = part(template, "metadata")
    name: str = job["metadata"]["name"]
    metadata["finalizers"] = [*metadata.get("finalizers", ()), TRACKING]
    metadata["ownerReferences"] = [
        {
            "apiVersion": JOB.api_version,
            "kind": JOB.name,
            "name": name,
            "uid": job["metadata"]["uid"],
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]
    spec: Object = template["spec"]
    # Names that are made have room for the rest: 58 characters, and 5 by chance.
    beginning = f"{name}-"[:58]
    if index is not None:
        beginning = f"{name[: 56 - len(str(index))]}-{index}-"
        metadata["annotations"] = {**part(metadata, "annotations"), INDEX: str(index)}
        metadata["labels"] = {**part(metadata, "labels"), INDEX: str(index)}
        spec["hostname"] = f"{name}-{index}"
        for container in (*spec["containers"], *items(spec, "initContainers")):
            _tell_index(container)
    if failures is not None:
        metadata["annotations"][FAILURES] = str(failures)
    metadata["generateName"], metadata["name"] = beginning, f"{beginning}{suffix()}"
    return {"metadata": metadata, "spec": spec}


def _tell_index(container: Object) -> None:
    variables: list[Object] = items(container, "env")
    if any(one["name"] == _VARIABLE for one in variables):
        return
    field = {"apiVersion": "v1", "fieldPath": f"metadata.labels['{INDEX}']"}
    variable: Object = {"name": _VARIABLE, "valueFrom": {"fieldRef": field}}
    container["env"] = [*variables, variable]
