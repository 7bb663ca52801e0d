"""What a worker may use: amounts as Kubernetes writes them, such as ``500m`` and ``1.5Gi``."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["DEFAULT_RESOURCES", "amount_of", "is_kind"]

# What stands where a user names nothing.
DEFAULT_RESOURCES: Final = {"cpu": "256m", "memory": "256Mi"}

# What Kubernetes itself knows; that of devices has the name of their maker before a slash.
_KIND: Final = re.compile(
    r"cpu|memory|ephemeral-storage|hugepages-[0-9KMGi]+|[a-z0-9.-]+/[A-Za-z0-9_.-]+"
)
_NUMBER: Final = r"\d{1,30}(?:\.\d{1,30})?(?:[eE][+-]?\d{1,2})?"
_QUANTITY: Final = re.compile(rf"({_NUMBER})(m|[kMGTPE]|[KMGTPE]i)?")
# Powers of ten and of two behind the number.
_SCALES: Final = {"": 1.0, "m": 1e-3} | {
    suffix + binary: base ** (power + 1)
    for power, suffix in enumerate("KMGTPE")
    for binary, base in (("", 1000.0), ("i", 1024.0))
}


def is_kind(name: str) -> bool:
    """Whether something may be the name of a resource, such as ``cpu`` and ``nvidia.com/gpu``."""
    return _KIND.fullmatch(name) is not None


def amount_of(text: str) -> float | None:
    """An amount as a number: of cores, of bytes.

    Args:
        text: The text.

    Returns:
        The number; None where the text is no amount.
    """
    match = _QUANTITY.fullmatch(text)
    if match is None:
        return None
    number, suffix = match.groups(default="")
    return float(number) * _SCALES["K" if suffix == "k" else suffix]
