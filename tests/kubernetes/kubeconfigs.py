"""Kubeconfig files that are made from others."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterable

# Fields that name files, from the folder of the kubeconfig on.
_FILES: Final = ("certificate-authority", "client-certificate", "client-key", "tokenFile")


def named() -> Path:
    """The file that `KUBECONFIG` names, or the one that is used without.

    Raises:
        RuntimeError: There is none, or it names several.
    """
    value = os.environ.get("KUBECONFIG", "")
    path = Path(value or "~/.kube/config").expanduser()
    if os.pathsep in value:
        message = f"KUBECONFIG names several files ({value}): name one."
        raise RuntimeError(message)
    if not path.is_file():
        message = f"There is no kubeconfig at {path}. Set KUBECONFIG to that of your cluster."
        raise RuntimeError(message)
    return path.absolute()


def derive(source: Path, target: Path, *, namespace: str, token: str | None = None) -> Path:
    """Write a kubeconfig for another namespace, and perhaps for somebody else.

    Args:
        source: The file that it is made from. Its current context counts.
        target: Where to.
        namespace: The namespace of its context.
        token: A bearer token in place of the source's user.

    Returns:
        The target.
    """
    content: dict[str, Any] = yaml.safe_load(source.read_text(encoding="utf-8"))
    current = content["current-context"]
    context: dict[str, Any] = _one(content["contexts"], current)["context"]
    cluster = _one(content["clusters"], context["cluster"])
    user = _one(content["users"], context["user"])
    if token is not None:
        user = {"name": user["name"], "user": {"token": token}}
    for part in (cluster["cluster"], user["user"]):
        part.update(
            {name: str(source.parent / part[name]) for name in _FILES if name in part},
        )
    derived: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [cluster],
        "users": [user],
        "contexts": [{"name": current, "context": {**context, "namespace": namespace}}],
        "current-context": current,
    }
    # JSON is YAML. It may hold a token.
    target.touch(mode=0o600)
    target.write_text(json.dumps(derived), encoding="utf-8")
    return target


def _one(entries: Iterable[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(entry for entry in entries if entry["name"] == name)
