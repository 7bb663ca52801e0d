"""Kubeconfig files: found, written, and made from others."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# Of the one cluster, the one user and the one context in those that are written here.
_NAME: Final = "test"
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


def write(
    target: Path, cluster: Mapping[str, Any], user: Mapping[str, Any], *, namespace: str
) -> Path:
    """Write a kubeconfig.

    Args:
        target: Where to.
        cluster: How it is reached, and who it must be.
        user: Credentials.
        namespace: The namespace of its context.

    Returns:
        The target.
    """
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": _NAME, "cluster": cluster}],
        "users": [{"name": _NAME, "user": user}],
        "contexts": [
            {"name": _NAME, "context": {"cluster": _NAME, "user": _NAME, "namespace": namespace}}
        ],
        "current-context": _NAME,
    }
    # It may hold a token.
    target.touch(mode=0o600)
    target.write_text(json.dumps(content, indent=2), encoding="utf-8")  # JSON is YAML, too
    return target


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
    context: dict[str, Any] = _one(content["contexts"], content["current-context"])["context"]
    cluster = _one(content["clusters"], context["cluster"])
    user = _one(content["users"], context["user"])
    if token is not None:
        user = {"user": {"token": token}}
    for part in (cluster["cluster"], user["user"]):
        part.update(
            {name: str(source.parent / part[name]) for name in _FILES if name in part},
        )
    return write(target, cluster["cluster"], user["user"], namespace=namespace)


def _one(entries: Iterable[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(entry for entry in entries if entry["name"] == name)
