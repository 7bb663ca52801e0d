"""One control plane for the tests of one process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.kubernetes.control_plane import plane

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def control_plane() -> Iterator[plane.ControlPlane]:
    """Kubernetes' own control plane, without nodes."""
    with plane.control_plane() as running:
        yield running
