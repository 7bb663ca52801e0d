"""How much a workspace may keep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiauto_gen.aiauto import v1

if TYPE_CHECKING:
    from aiauto.server.database.models import Workspace

MEBIBYTE = 1024 * 1024
UNITS = {"Mi": MEBIBYTE, "Gi": 1024 * MEBIBYTE}


@dataclass(frozen=True)
class Limit:
    """How much a place may hold.

    Attributes:
        name: The argument that it was set by.
        text: It as it was given, for example ``2Gi``.
        size: The same in bytes.
    """

    name: str
    text: str
    size: int


def limit_of(workspace: Workspace, place: v1.FilePlace) -> Limit:
    """How much a place of a workspace may hold.

    Args:
        workspace: The workspace.
        place: The place.
    """
    artifacts = place == v1.FilePlace.ARTIFACTS
    name = "artifact_store_size" if artifacts else "shared_cache_size"
    text = workspace.artifact_store_size if artifacts else workspace.shared_cache_size
    # Checked when the workspace was made.
    return Limit(name, text, int(float(text[:-2]) * UNITS[text[-2:]]))


def in_words(size: int) -> str:
    """A number of bytes for people."""
    return f"{size / MEBIBYTE:,.1f} MiB" if size >= MEBIBYTE else f"{size} bytes"
