"""What the README shows is there, and both languages show the same.

That it works is seen by docs/test_code_blocks.py.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = {"en": ROOT / "README.md", "ko": ROOT / "README.ko.md"}
FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(language: str, kind: str) -> list[str]:
    text = README[language].read_text(encoding="utf-8")
    return [body for name, body in FENCED.findall(text) if name == kind]


def without_comments(code: str) -> str:
    # Comments of code stay within a line and no string in the README holds a number sign.
    lines = (line.split("#")[0].rstrip() for line in code.splitlines())
    return "\n".join(line for line in lines if line)


@pytest.mark.parametrize("kind", ["python", "bash"])
def test_both_languages_show_the_same_code(kind: str) -> None:
    english, korean = ([without_comments(b) for b in blocks(lang, kind)] for lang in README)
    assert len(english) >= 4
    assert english == korean


def test_both_languages_have_the_same_shape() -> None:
    def shape(language: str) -> list[str]:
        text = FENCED.sub("", README[language].read_text(encoding="utf-8"))
        # Headings by depth, and table rows by their first cell.
        return re.findall(r"^#+(?= )|^\| `\w+`", text, re.MULTILINE)

    assert shape("en") == shape("ko")


def test_the_readme_fits_the_api() -> None:
    import inspect

    from aiauto import AIAutoController, StudyWrapper

    text = README["en"].read_text(encoding="utf-8")
    for function in (AIAutoController.create_study, StudyWrapper.optimize):
        section = text.partition(f"### {function.__name__}\n")[2].partition("\n#")[0]
        first_cells = re.findall(r"^\| (`[^|]*)\|", section, re.MULTILINE)
        documented = [name for cell in first_cells for name in re.findall(r"`(\w+)`", cell)]
        assert ["self", *documented] == list(inspect.signature(function).parameters)


@pytest.mark.parametrize("language", README)
def test_every_command_is_named(language: str) -> None:
    import typer

    from aiauto.cli import app

    text = README[language].read_text(encoding="utf-8")
    commands: dict[str, object] = vars(typer.main.get_command(app))["commands"]
    for name, command in commands.items():
        assert f"`{name}`" in text
        if inner := getattr(command, "commands", None):
            (told,) = re.findall(rf"`{name}` \(([\w,\s]+)", text)
            assert sorted(re.split(r",\s+", told)) == sorted(inner)


def test_what_the_readme_makes_is_what_ci_makes() -> None:
    """Where the README is run, `make` is a stand-in: what it makes takes minutes."""
    shown = re.findall(r"^make ([a-z-]+)", "".join(blocks("en", "bash")), re.MULTILINE)
    assert set(shown) == {"demo", "test", "test-all", "check", "build", "push"}
    steps = ROOT / ".ci/run"
    if not steps.exists():
        pytest.skip("what a release is made of has no CI")
    made = set(re.findall(r"\bmake ([a-z-]+)", steps.read_text(encoding="utf-8")))
    # With somebody's credentials only.
    assert set(shown) - made == {"push"}
