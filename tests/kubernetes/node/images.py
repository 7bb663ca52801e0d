"""Images: what a node can pull, and what it says where it can't."""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from tests.kubernetes.api.kinds import Object

_NAME: Final = re.compile(
    r"^(?:[a-zA-Z0-9.-]+(?::[0-9]+)?/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*"
    r"(?::[\w][\w.-]{0,127})?(?:@sha256:[0-9a-f]{64})?$"
)
# What programs that install packages need to know of this machine.
_PASSED_ON: Final = (
    "PIP_",
    "UV_",
    "SSL_CERT",
    "REQUESTS_CA",
    "CURL_CA",
    "http_proxy",
    "https_proxy",
)


@dataclass(frozen=True)
class Image:
    """What an image is here.

    Attributes:
        prefix: Folder of a Python: its `bin` comes first on the PATH, so that `python3` is that
            one. None for an image without Python.
        credentials: User name and password that its registry asks for; None for a public one.
        environment: Variables that the image sets.
        user: Number of the user that the image runs as.
    """

    prefix: Path | None = None
    credentials: tuple[str, str] | None = None
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    user: int = 0


def of_this_machine(prefix: Path) -> Image:
    """An image with a Python of this machine, whose packages come from where this machine's do.

    Args:
        prefix: Folder of the Python.
    """
    environment = {name: value for name, value in os.environ.items() if name.startswith(_PASSED_ON)}
    return Image(prefix, environment=environment)


class PullError(Exception):
    """An image can't be had.

    Attributes:
        reason: What the container waits with.
        message: What the real node says.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class Images:
    """The images of one node.

    Attributes:
        table: What can be pulled, by name.
        pulls: How often each was pulled.
    """

    def __init__(self, table: Mapping[str, Image]) -> None:
        self.table = table
        self._present: set[str] = set()
        self.pulls: Counter[str] = Counter()

    def is_here(self, name: str, policy: str) -> bool:
        """Whether an image need not be pulled."""
        return name in self._present and policy != "Always"

    def pull(self, name: str, policy: str, secrets: Iterable[Object]) -> Image:
        """Have an image here.

        Args:
            name: Its name.
            policy: Always, IfNotPresent or Never.
            secrets: The Pod's `imagePullSecrets`, as objects.

        Raises:
            PullError: There is none, or it is not for whoever asks.
        """
        if not _NAME.match(name):
            raise PullError(
                "InvalidImageName",
                f'Failed to apply default image tag "{name}": couldn\'t parse image name '
                f'"{name}": invalid reference format',
            )
        if self.is_here(name, policy):
            return self.table[name]
        if policy == "Never":
            raise PullError(
                "ErrImageNeverPull",
                f'Container image "{name}" is not present with pull policy of Never',
            )
        self.pulls[name] += 1
        image = self.table.get(name)
        whole = _whole(name)
        failed = f'failed to pull and unpack image "{whole}": failed to resolve reference "{whole}"'
        if image is None:
            message = f"rpc error: code = NotFound desc = {failed}: {whole}: not found"
            raise PullError("ErrImagePull", message)
        if image.credentials is not None and image.credentials not in _found(secrets, whole):
            raise PullError(
                "ErrImagePull",
                f"rpc error: code = Unknown desc = {failed}: pull access denied, repository does "
                "not exist or may require authorization: server message: insufficient_scope: "
                "authorization failed",
            )
        self._present.add(name)
        return image


def _whole(name: str) -> str:
    """The name with its registry and its tag."""
    first, _, rest = name.partition("/")
    if not rest:
        name = f"docker.io/library/{name}"
    elif "." not in first and ":" not in first and first != "localhost":
        name = f"docker.io/{name}"
    tagged = ":" in name.rpartition("/")[2] or "@" in name
    return name if tagged else f"{name}:latest"


def _found(secrets: Iterable[Object], name: str) -> list[tuple[str, str]]:
    """Credentials for an image's registry."""
    registry = name.partition("/")[0]
    found: list[tuple[str, str]] = []
    for secret in secrets:
        if secret.get("type") != "kubernetes.io/dockerconfigjson":
            continue
        written = base64.b64decode(secret["data"][".dockerconfigjson"])
        entries: dict[str, Object] = json.loads(written).get("auths") or {}
        for address, entry in entries.items():
            host = re.sub(r"^https?://", "", address).partition("/")[0]
            if {"index.docker.io": "docker.io"}.get(host, host) == registry:
                found.append(_credentials(entry))
    return found


def _credentials(entry: Object) -> tuple[str, str]:
    if "auth" in entry:
        try:
            user, _, password = base64.b64decode(entry["auth"]).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return "", ""
        return user, password
    return entry.get("username", ""), entry.get("password", "")
