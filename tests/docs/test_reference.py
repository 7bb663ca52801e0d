"""The reference leaves nothing out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer

import aiauto
from aiauto.cli import app

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.once


def generated(module: str) -> str:
    """A page that is generated. What does that is in a checkout only."""
    made: str = getattr(pytest.importorskip(f"tools.site.{module}"), module)()
    return made


def test_every_public_name() -> None:
    pages = [page.read_text(encoding="utf-8") for page in ROOT.glob("docs/reference/api/*.md")]
    text = "\n".join([*pages, generated("errors_page")])
    found = re.findall(r"^::: aiauto\.(\w+)$", text, re.MULTILINE)
    assert sorted(found) == sorted(set(aiauto.__all__) - {"__version__"})


def test_every_member_of_a_study() -> None:
    page = (ROOT / "docs/reference/api/study.md").read_text(encoding="utf-8")
    found = re.findall(r"^ +- (\w+)$", page, re.MULTILINE)
    public = {name for name in dir(aiauto.StudyWrapper) if not name.startswith("_")}
    assert sorted(found) == sorted(public)


def test_every_command() -> None:
    def commands(command: Any, name: str) -> Iterator[str]:
        yield name
        for one, inner in getattr(command, "commands", {}).items():
            yield from commands(inner, f"{name} {one}")

    page = generated("command_page")
    _, *names = commands(typer.main.get_command(app), "aiauto")
    assert re.findall(r"^#+ `(aiauto .*)`$", page, re.MULTILINE) == names
    assert "`aiauto login http://127.0.0.1:8787 < token.txt`" in page


def test_every_call_and_message() -> None:
    page = generated("schema_page")
    for file in ROOT.glob("proto/aiauto/v1/*.proto"):
        text = file.read_text(encoding="utf-8")
        for kind, row in (("rpc", r"^\| `{}` \|"), ("message", r"^### (?:\w+\.)*{} ")):
            for name in re.findall(rf"^ *{kind} (\w+)", text, re.MULTILINE):
                assert re.search(row.format(name), page, re.MULTILINE), name
    assert "| `study_name` | 1 | `string` | " in page
    assert "map of `string` to " in page


def test_every_variable() -> None:
    page = (ROOT / "docs/reference/environment.md").read_text(encoding="utf-8")
    told = set(re.findall(r"`(AIAUTO_\w+)`", page))
    limits = (ROOT / "docs/server.md").read_text(encoding="utf-8")
    told |= set(re.findall(r"`(AIAUTO_\w+)` \|", limits))
    code = [file.read_text(encoding="utf-8") for file in ROOT.glob("aiauto/**/*.py")]
    # As a string: other places only speak of it.
    known = set(re.findall(r'"(AIAUTO_[A-Z_]+[A-Z])"', "\n".join(code)))
    assert len(known) > 20
    # The last is how a worker tells itself that it has entered its environment.
    assert known - told == {"AIAUTO_RUNNER_ENVIRONMENT"}
