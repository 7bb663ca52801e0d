"""The newest entries of a journal, kept in memory: those that its readers have not seen yet."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# Of one journal. Whoever has missed more than this asks the database.
MAX_CHARACTERS = 512 * 1024


class Newest:
    """The end of one journal, as text."""

    def __init__(self) -> None:
        self._texts: deque[str] = deque()
        self._characters = 0
        self._stop = 0

    def extend(self, texts: Iterable[str]) -> None:
        """Take the entries that come next."""
        for text in texts:
            self._texts.append(text)
            self._characters += len(text)
            self._stop += 1
        while self._characters > MAX_CHARACTERS:
            self._characters -= len(self._texts.popleft())

    def drop(self, count: int) -> None:
        """Give back the entries that came last."""
        for _ in range(min(count, len(self._texts))):
            self._characters -= len(self._texts.pop())
        self._stop -= count

    def since(self, position: int) -> list[str] | None:
        """The entries from a position on; None where they are no longer all here."""
        count = self._stop - position
        if count > len(self._texts):
            return None
        # From the end: most often few of many are wanted.
        return list(islice(reversed(self._texts), count))[::-1]
