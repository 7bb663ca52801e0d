"""The exit codes are what people are told they are, wherever they are told."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer

from aiauto import errors
from aiauto.cli import app, exits
from aiauto.server import lifecycle

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.conftest import Aiauto

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.once

SUCCESS = 0
# By the constants of the command, and those of a server that ends by itself.
CODES = {
    SUCCESS,
    *(value for name, value in vars(exits).items() if name.isupper() and isinstance(value, int)),
    *(value for name, value in vars(lifecycle).items() if name.startswith("EXIT_")),
}


def commands(command: Any, name: str = "aiauto") -> Iterator[tuple[str, Any]]:
    """All that do something, by how they are called."""
    inner = getattr(command, "commands", {})
    if not inner:
        yield name, command
    for word, one in inner.items():
        yield from commands(one, f"{name} {word}")


ALL: dict[str, Any] = dict(commands(typer.main.get_command(app)))


def told(page: str, beginning: str) -> str:
    """What a page tells of exit codes, without line breaks and signs of code."""
    text = " ".join((ROOT / page).read_text(encoding="utf-8").replace("`", "").split())
    found = re.search(rf"- {beginning}: (.*?130 Ctrl-C)\.", text)
    assert found is not None, page
    return found[1]


def numbers(text: str) -> list[int]:
    return [int(one) for one in re.findall(r"(?:^|, )(\d+) ", text)]


def test_the_help_tells_each(cli: Aiauto) -> None:
    assert numbers(exits.EPILOG.removeprefix("Exit codes: ")) == sorted(CODES)
    assert exits.EPILOG in " ".join(cli("--help").split())


def test_the_pages_tell_each() -> None:
    english = told("README.md", "Exit codes")
    assert f"Exit codes: {english}." == exits.EPILOG
    assert numbers(told("README.ko.md", "종료 코드")) == sorted(CODES)


def test_a_server_ends_with_the_same() -> None:
    assert (lifecycle.EXIT_USAGE, lifecycle.EXIT_INTERRUPTED) == (exits.USAGE, exits.INTERRUPTED)
    assert f"{lifecycle.EXIT_ALREADY_RUNNING} another server uses the folder" in exits.EPILOG


def test_what_single_commands_tell() -> None:
    for name, command in ALL.items():
        text = " ".join((command.help or "").split())
        for sentence in re.findall(r"[Ee]xit codes?:? ([^.]*)", text):
            known = {int(one) for one in re.findall(r"\b\d+\b", sentence)}
            assert known, name
            assert known <= CODES, name


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.NotFoundError("a"), 4),
        (errors.UnauthenticatedError("a"), 5),
        (errors.PermissionDeniedError("a"), 5),
        (errors.ArgumentValueError("a", argument="b"), 2),
        (errors.ArgumentFileNotFoundError("a", argument="b"), 2),
        (errors.UnavailableError("a"), 1),
        (errors.AlreadyExistsError("a"), 1),
        (errors.TrialBatchFailedError("a", trialbatch_name="b"), 1),
    ],
)
def test_the_code_of_an_error(error: errors.AIAutoError, code: int) -> None:
    assert exits.code_of(error) == code


def test_every_command_has_json_and_says_of_what_shape() -> None:
    for name, command in ALL.items():
        options = {word for one in command.params for word in one.opts}
        # A server prints where it is to whoever starts it, and runs on.
        assert ("--json" in options) == (name != "aiauto serve"), name
        assert ("JSON" in command.help) or name == "aiauto serve", name
