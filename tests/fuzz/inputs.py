"""How many inputs the fuzzing tests try, and how many they have tried."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Callable

# Read before a fixture takes everything of ours out of the environment.
INPUTS: Final = int(os.environ.get("AIAUTO_FUZZ_INPUTS", "300"))

many = settings(
    max_examples=INPUTS,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    database=None,
)


class Count:
    """Counts the inputs that a test has tried, for the report.

    Args:
        record_property: Pytest's fixture.
    """

    def __init__(self, record_property: Callable[[str, object], None]) -> None:
        self._record = record_property
        self._tried = 0

    def __call__(self) -> None:
        """Count one."""
        self._tried += 1

    def report(self) -> None:
        """Tell how many there were."""
        self._record("fuzz inputs", self._tried)
