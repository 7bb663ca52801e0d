"""Parameters of requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

# As Go reads them: clients write them in more than one way.
_TRUE: Final = frozenset({"1", "t", "T", "TRUE", "true", "True"})


def flag(query: Mapping[str, str], name: str) -> bool:
    """Whether a parameter says yes."""
    return query.get(name) in _TRUE
