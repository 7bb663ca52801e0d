"""What of a machine some tests need, and are left out where it is not there.

A run that knows its machine to have something says so in AIAUTO_TESTS_REQUIRE, by these names and
with commas between them: then it is a failure that a test was left out for want of it.
"""

from __future__ import annotations

import os
from typing import Final

VARIABLE: Final = "AIAUTO_TESTS_REQUIRE"

# By how the tests say that it is missing.
MISSING: Final = {
    "chromium": ("there is no Chromium here",),
    "cgroups": ("this system lets the tests make no control groups",),
    "libfaketime": ("the library of libfaketime does not work",),
    "postgresql": ("PostgreSQL's programs",),
    "tmpfs": ("this system has no mount", "lets the tests mount no disk"),
}

# Read before a fixture takes everything of ours out of the environment.
REQUIRED: Final = frozenset(filter(None, os.environ.get(VARIABLE, "").split(",")))


def broken_promise(reason: str) -> str | None:
    """What this machine was said to have, and a test did not find.

    Args:
        reason: Why the test was left out.
    """
    unknown = REQUIRED - MISSING.keys()
    assert not unknown, f"{VARIABLE} names {sorted(unknown)}: there are {sorted(MISSING)}"
    for name in sorted(REQUIRED):
        if any(said in reason for said in MISSING[name]):
            return name
    return None
