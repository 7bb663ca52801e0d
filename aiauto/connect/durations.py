"""Durations, of which the message library knows no negative ones.

In `google.protobuf.Duration` seconds and nanoseconds have the same sign.
"""

# ruff: noqa: ANN401 - generated classes, and what stands in for them in Python

from __future__ import annotations

import datetime
import re
from typing import Any, Final

__all__ = ["from_json", "from_python", "to_json"]

_MICROSECOND: Final = datetime.timedelta(microseconds=1)
_TEXT: Final = re.compile(r"(-?)(\d+)(?:\.(\d{1,9}))?s", re.ASCII)


def from_python(message_type: type[Any], value: Any) -> Any:
    """The message for a value that stands in for it, which need not be a duration."""
    if not isinstance(value, datetime.timedelta):
        return message_type.from_wrapped(value)
    seconds, rest = divmod(abs(value) // _MICROSECOND, 1_000_000)
    sign = -1 if value < datetime.timedelta() else 1
    return message_type(sign * seconds, sign * rest * 1000)


def to_json(message: Any) -> str:
    """A duration as JSON has it, with as few groups of three decimals as it takes."""
    seconds, nanos = message.seconds, message.nanos
    sign = "-" if seconds < 0 or nanos < 0 else ""
    decimals = f"{abs(nanos):09d}"
    while decimals.endswith("000"):
        decimals = decimals[:-3]
    return f"{sign}{abs(seconds)}{'.' if decimals else ''}{decimals}s"


def from_json(message_type: type[Any], found: object) -> Any:
    """Reads a duration.

    Raises:
        ValueError: It is none.
    """
    match = _TEXT.fullmatch(found) if isinstance(found, str) else None
    if match is None:
        raise ValueError('a duration is a text such as "-1.5s"')
    sign = -1 if match[1] else 1
    return message_type(sign * int(match[2]), sign * int((match[3] or "").ljust(9, "0")))
