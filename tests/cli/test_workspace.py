"""`aiauto workspace`: what is kept, how much that is, and how all of it goes."""

from __future__ import annotations

import json
import urllib.request
from typing import TYPE_CHECKING

import pytest

import aiauto
from aiauto.cli.output import size
from aiauto.testing import embedded_server

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from aiauto.testing import EmbeddedServer
    from tests.cli.conftest import Aiauto

pytestmark = pytest.mark.once

KEYS = {
    "workspace_name",
    "phase",
    "created_at",
    "artifact_store_used",
    "artifact_store_limit",
    "shared_cache_used",
    "shared_cache_limit",
    "journal_length",
    "shared_cache_dir",
    "journal_url",
    "dashboard_url",
}


@pytest.fixture
def fresh(cli: Aiauto, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[EmbeddedServer]:
    """A server on which nothing was done yet, and which the command calls."""
    with embedded_server(tmp_path / "data") as server:
        for name, value in {"AIAUTO_BASE_URL": server.url, "AIAUTO_TOKEN": server.token}.items():
            monkeypatch.setenv(name, value)
            cli.environment[name] = value
        yield server


def test_from_none_to_none(
    cli: Aiauto,
    fresh: EmbeddedServer,
    tmp_path: Path,
    started: Callable[..., subprocess.Popen[str]],
) -> None:
    # To look makes none.
    assert cli.json("workspace", "list") == []
    assert "whatever needs one makes it" in cli("workspace", "show", code=4)
    assert "whatever needs one makes it" in cli("workspace", "delete", "--yes", code=4)

    file = tmp_path / "data.bin"
    file.write_bytes(bytes(64 * 1024))
    cli("cache", "upload", file)
    aiauto.AIAutoController(fresh.token, fresh.url).create_study("kept", direction="minimize")
    (listed,) = cli.json("workspace", "list")
    shown = cli.json("workspace", "show")
    assert listed == shown
    assert shown.keys() == KEYS
    assert shown["workspace_name"] == cli.json("whoami")["workspace"]
    assert (shown["shared_cache_used"], shown["artifact_store_used"]) == (64 * 1024, 0)
    assert shown["shared_cache_limit"] == 500 * 2**20
    assert shown["journal_length"] > 0
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    with browser.open(shown["dashboard_url"]) as page:
        assert b"Optuna Dashboard" in page.read()
    text = dict(line.split("\t") for line in cli("workspace", "show").splitlines())
    assert text["shared cache"] == "64.0 KiB of 500.0 MiB"
    assert text["dashboard"] == shown["dashboard_url"]
    header, row = (line.split("\t") for line in cli("workspace", "list").splitlines())
    told = dict(zip(header, row, strict=True))
    assert (told["workspace"], told["shared cache"]) == (shown["workspace_name"], "65536")

    assert "pass --yes" in cli("workspace", "delete", code=2)
    assert cli.json("workspace", "show")["journal_length"] == shown["journal_length"]
    name = shown["workspace_name"]
    question = f"Type {name} to confirm: "
    for typed, code, said in (("y\n", 1, "Nothing was done."), (f"{name}\n", 0, "is deleted.")):
        answers = [(question, typed)]
        assert said in cli.at_a_terminal("workspace", "delete", answers=answers, code=code)
        assert len(cli.json("workspace", "list")) == code
    # The next program finds a new one, with nothing in it.
    for command in (["study", "list"], ["cache", "list"]):
        process = started(*command, "--json")
        assert json.loads(process.communicate()[0]) == []
    (again,) = cli.json("workspace", "list")
    assert cli.json("workspace", "delete", "--yes") == {"deleted": again["workspace_name"]}
    assert cli.json("workspace", "list") == []


def test_sizes_as_people_read_them() -> None:
    told = [size(count) for count in (0, 1023, 1024, 1536, 500 * 2**20, 2**31, 5000 * 2**40)]
    assert told == ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "500.0 MiB", "2.0 GiB", "5000.0 TiB"]
