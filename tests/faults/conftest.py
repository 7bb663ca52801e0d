"""What every fault is done to: a batch at work, and what is known of it by other ways."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from optuna.samplers import RandomSampler

import aiauto
from aiauto.testing import embedded_server
from tests.faults import rounds
from tests.faults.rounds import GRACE, ROUNDS, SEED, TTL

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from aiauto.testing import EmbeddedServer


def pytest_report_header() -> str:
    return f"rounds a fault: {ROUNDS} (AIAUTO_FAULT_ROUNDS), AIAUTO_FAULT_SEED={SEED}"


@pytest.fixture(scope="module")
def impatience() -> Iterator[None]:
    """Servers that start now soon believe that a silent worker is dead."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIAUTO_LEASE_TTL", str(TTL))
        patch.setenv("AIAUTO_LEASE_GRACE", str(GRACE))
        patch.setenv("AIAUTO_HEARTBEAT_INTERVAL", "0.5")
        yield


@pytest.fixture(scope="module")
def impatient(impatience: None) -> Iterator[EmbeddedServer]:
    """A server that soon believes so, and that the tests of one module share."""
    with embedded_server() as server:
        yield server


@pytest.fixture
def study(impatient: EmbeddedServer, study_name: str) -> aiauto.StudyWrapper:
    """A study on that server, with a sampler that takes no time."""
    controller = aiauto.AIAutoController(impatient.token, impatient.url)
    return controller.create_study(study_name, sampler=RandomSampler())


@pytest.fixture
def chance(record_property: Callable[[str, object], None]) -> random.Random:
    return rounds.chance(record_property)


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """Where objectives note what they return."""
    folder = tmp_path / "notes"
    folder.mkdir()
    return folder
