"""Quantities such as `500m`, `2Gi` and `1.5`."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

PATTERN: Final = r"^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$"
_SUFFIXES: Final = {
    **{
        name: Decimal(1000) ** power
        for power, name in enumerate(("", "k", "M", "G", "T", "P", "E"))
    },
    **{
        name: Decimal(1024) ** power
        for power, name in enumerate(("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"))
        if name
    },
    "m": Decimal(1) / 1000,
    "u": Decimal(1) / 1000**2,
    "n": Decimal(1) / 1000**3,
}
_WRITTEN: Final = re.compile(r"^([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))([a-zA-Z]*|[eE][+-]?[0-9]+)$")


def parse(quantity: str | float) -> Decimal:
    """The number that a quantity is.

    Raises:
        ValueError: It is none.
    """
    match = _WRITTEN.match(str(quantity))
    if match is None:
        raise ValueError(f"{quantity!r} is no quantity: write it as 500m, 2 or 1Gi")
    number, suffix = match.groups()
    if suffix in _SUFFIXES:
        return Decimal(number) * _SUFFIXES[suffix]
    if suffix[0] in "eE" and suffix[1:]:
        return Decimal(f"{number}{suffix}")
    raise ValueError(f"{quantity!r} is no quantity: write it as 500m, 2 or 1Gi")
