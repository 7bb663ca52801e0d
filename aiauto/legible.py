"""Text that came from somewhere else, so that it can be shown and sent."""

from __future__ import annotations


def legible(text: str) -> str:
    r"""A text as UTF-8 can hold it.

    Python lets halves of surrogate pairs stand in text, for one where a file's name is not UTF-8.

    Args:
        text: Any text.

    Returns:
        The same, but for what is no character: that is spelled, as in ``caf\udce9.txt``.
    """
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()
