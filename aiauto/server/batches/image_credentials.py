"""Credentials for private images: for whoever pulls the image, and never kept with the batch."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

from aiauto.errors import InvalidArgumentError

if TYPE_CHECKING:
    from aiauto_gen.aiauto import v1

MAX_BYTES = 64 * 1024


def take_credentials(spec: v1.TrialBatchSpec) -> str | None:
    """Take the credentials out of what a user asks for.

    Args:
        spec: The batch. It has none afterwards.

    Returns:
        They as a Docker `config.json`; None for none.

    Raises:
        InvalidArgumentError: They are no such thing.
    """
    registry, content = spec.image_pull_registry, spec.image_pull_docker_config_json
    spec.image_pull_registry = None
    spec.image_pull_docker_config_json = None
    if registry is not None:
        pair = f"{registry.username}:{registry.password}".encode()
        entry = {
            "username": registry.username,
            "password": registry.password,
            "auth": base64.b64encode(pair).decode("ascii"),
        }
        return json.dumps({"auths": {registry.registry: entry}})
    if not content:
        return None
    try:
        found: object = json.loads(content)
    except ValueError:
        found = None
    if not isinstance(found, dict) or "auths" not in found or len(content) > MAX_BYTES:
        # It is a secret, and not repeated.
        raise InvalidArgumentError(
            "image_pull_docker_config_json: it must be a Docker config.json with `auths`, of at "
            f"most {MAX_BYTES // 1024} KiB."
        )
    return content
