"""What the commands of all benchmarks have in common: some options, what they print and write."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["is_wanted", "parser", "say", "write"]


def parser(description: str, *, rounds: int, results: Path) -> argparse.ArgumentParser:
    """A parser of the options that every benchmark has.

    Args:
        description: What it measures.
        rounds: How often each contestant is measured, unless said otherwise.
        results: Where the results go, unless said otherwise.
    """
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--rounds", type=int, default=rounds, help="how often each is measured")
    made.add_argument(
        "--only", action="append", help="contestants with this in their names; may be repeated"
    )
    made.add_argument(
        "--output", type=Path, default=results, help="folder for results.json and results.md"
    )
    return made


def is_wanted(name: str, parts: Sequence[str] | None) -> bool:
    """Whether a contestant is one of those that `--only` names."""
    return not parts or any(part in name for part in parts)


def write(path: Path, text: str) -> None:
    """Writes a file, and says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    say(f"wrote {path}\n")


def say(text: str) -> None:
    """Prints at once."""
    sys.stdout.write(text)
    sys.stdout.flush()
