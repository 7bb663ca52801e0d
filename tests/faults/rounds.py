"""Rounds of faults at random moments: how many, and how to have the same ones again."""

from __future__ import annotations

import os
import random
from typing import Final

import pytest

# Read before a fixture takes everything of ours out of the environment.
ROUNDS: Final = int(os.environ.get("AIAUTO_FAULT_ROUNDS", "1"))
SEED: Final = os.environ.get("AIAUTO_FAULT_SEED") or f"{random.SystemRandom().getrandbits(32):08x}"

# Seconds of silence after which a server of these tests suspects a worker, and then gives it up.
TTL: Final = 3.0
GRACE: Final = 2.0

every_round = pytest.mark.parametrize("number", range(ROUNDS))


def chance(request: pytest.FixtureRequest) -> random.Random:
    """What a round draws from. The same seed gives the same moments to the same round."""
    print(f"AIAUTO_FAULT_SEED={SEED}")
    request.node.user_properties.append(("fault round", SEED))
    return random.Random(f"{SEED}/{request.node.name}")
