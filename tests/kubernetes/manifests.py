"""Pods and Jobs as short as they can be, for tests to change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.kubernetes.api.kinds import Object

IMAGE = "python:test"


def container(*command: str, **fields: Any) -> Object:
    """A container named `main`.

    Args:
        *command: What it runs; nothing to speak of where none is given.
        **fields: Fields of the container.
    """
    run = list(command) or ["true"]
    return {"name": "main", "image": IMAGE, "command": run, **fields}


def pod(name: str, *command: str, container_fields: Object | None = None, **spec: Any) -> Object:
    """A Pod.

    Args:
        name: Its name.
        *command: What its container runs.
        container_fields: Fields of the container.
        **spec: Fields of the `spec`.
    """
    containers = [container(*command, **(container_fields or {}))]
    # Nodes here have no volumes with tokens, which a real API server adds.
    fields: Object = {"automountServiceAccountToken": False, "restartPolicy": "Never"}
    fields |= {"containers": containers, **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": fields}


def job(name: str, *command: str, pod_spec: Object | None = None, **spec: Any) -> Object:
    """An Indexed Job of one Pod.

    Args:
        name: Its name.
        *command: What its Pods run.
        pod_spec: Fields of their `spec`.
        **spec: Fields of the Job's `spec`.
    """
    template = {"spec": pod(name, *command, **(pod_spec or {}))["spec"]}
    fields = {"completionMode": "Indexed", "completions": 1, "parallelism": 1, "template": template}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {**fields, **spec},
    }


def python(code: str) -> list[str]:
    """A command that runs a piece of Python."""
    return ["python3", "-c", code]
