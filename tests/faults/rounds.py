"""Rounds of faults at random moments: how many, and how to have the same ones again."""

from __future__ import annotations

import os
import random
import re
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

# Read before a fixture takes everything of ours out of the environment.
ROUNDS: Final = int(os.environ.get("AIAUTO_FAULT_ROUNDS", "1"))
SEED: Final = os.environ.get("AIAUTO_FAULT_SEED") or f"{random.SystemRandom().getrandbits(32):08x}"

# Seconds of silence after which a server of these tests suspects a worker, and then gives it up.
TTL: Final = 3.0
GRACE: Final = 2.0

every_round = pytest.mark.parametrize("number", range(ROUNDS))


def chance(record_property: Callable[[str, object], None]) -> random.Random:
    """What a round draws from. The same seed gives the same moments to the same round.

    Args:
        record_property: Pytest's fixture: the round is counted in its report.
    """
    print(f"AIAUTO_FAULT_SEED={SEED}")
    record_property("fault round", SEED)
    name = os.environ["PYTEST_CURRENT_TEST"].partition(" ")[0]
    # Without the number of the round.
    fault = re.sub(r"-?\d+\]$", "]", name.rpartition("::")[2]).removesuffix("[]")
    record_property("fault", fault)
    return random.Random(f"{SEED}/{name}")
