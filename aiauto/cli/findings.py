"""What `aiauto doctor` has to say of one thing that it looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from aiauto.errors import AIAutoError


@dataclass(frozen=True)
class Finding:
    """What one look has shown.

    Attributes:
        check: What was looked at.
        state: Whether it is well.
        found: What was found.
        advice: What to do; empty where nothing is.
    """

    check: str
    state: Literal["ok", "warning", "problem"]
    found: str
    advice: str = ""


Check: TypeAlias = Callable[[], Iterator[Finding]]
"""Looks at one thing. What it raises is a finding, too."""


def guarded(name: str, check: Check) -> Iterator[Finding]:
    """What a check finds, and why it could not go on: nothing may keep the others from looking.

    Args:
        name: What it looks at.
        check: The check.

    Yields:
        Its findings.
    """
    try:
        yield from check()
    except AIAutoError as error:
        yield Finding(name, "problem", str(error), "Do what it says, then look again.")
    except Exception as error:  # noqa: BLE001 - whatever it is, the next check is to look, too
        found = f"it could not be looked at: {type(error).__name__}: {error}"
        advice = "Where that tells you nothing, report it with all that `aiauto doctor` says."
        yield Finding(name, "problem", found, advice)
