"""Headers and trailers: names without case, and any number of values each."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Metadata"]


class Metadata(MutableMapping[str, str]):
    """Headers or trailers of a call.

    A mapping by lower-case name. A name that came several times reads as one value, joined with
    commas as HTTP has it; `get_all` gives them one by one and `add` adds one more. Names that end
    in `-bin` carry base64, since a header can't carry any bytes.
    """

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in pairs:
            self.add(name, value)

    def add(self, name: str, value: str) -> None:
        """Adds a value to those that the name has."""
        self._values.setdefault(name.lower(), []).append(value)

    def get_all(self, name: str) -> list[str]:
        """The values of a name, in order; none where it is not there."""
        return list(self._values.get(name.lower(), ()))

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Yields each name with each of its values."""
        for name, values in self._values.items():
            for value in values:
                yield name, value

    def lists(self) -> dict[str, list[str]]:
        """All values by name."""
        return {name: list(values) for name, values in self._values.items()}

    def __getitem__(self, name: str) -> str:
        return ", ".join(self._values[name.lower()])

    def __setitem__(self, name: str, value: str) -> None:
        self._values[name.lower()] = [value]

    def __delitem__(self, name: str) -> None:
        del self._values[name.lower()]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Metadata({dict(self)!r})"
