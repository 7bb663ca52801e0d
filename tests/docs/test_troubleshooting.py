"""The messages that docs/troubleshooting.md explains are those of the code."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
MESSAGES = re.findall(r"^### `(.+)`$", PAGE, re.MULTILINE)
DIFFERS = "…"
pytestmark = pytest.mark.once


def texts(file: Path) -> Iterator[str]:
    """The strings in a file; what an f-string puts in is left open."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            parts = [
                str(one.value) if isinstance(one, ast.Constant) else DIFFERS for one in node.values
            ]
            yield "".join(parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


CODE = [text for file in (ROOT / "aiauto").rglob("*.py") for text in texts(file)]
# Some are Optuna's own.
OPTUNA = list(texts(Path(str(optuna.__file__)).parent / "storages/_base.py"))


@pytest.mark.parametrize("message", MESSAGES)
def test_messages(message: str) -> None:
    said = [re.escape(part) for part in message.split(DIFFERS)]
    pattern = re.compile(".*".join(said), re.DOTALL)
    assert any(pattern.fullmatch(text) for text in [*CODE, *OPTUNA]), message


def test_there_are_messages() -> None:
    assert len(MESSAGES) > 30
