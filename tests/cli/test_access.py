"""Which server is meant, and as whom; and what the command is like as a program."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import aiauto
from aiauto import config, login

if TYPE_CHECKING:
    from aiauto.testing import EmbeddedServer
    from tests.cli.conftest import Aiauto


@pytest.fixture
def logged_in(
    cli: Aiauto, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> EmbeddedServer:
    """Nothing but a stored login names the server."""
    monkeypatch.delenv("AIAUTO_TOKEN")
    monkeypatch.delenv("AIAUTO_BASE_URL")
    cli("login", server.url, given=f"{server.token}\n")
    return server


def test_a_login_is_for_its_user_only(cli: Aiauto, logged_in: EmbeddedServer) -> None:
    assert login.path().stat().st_mode & 0o777 == 0o600
    assert [one.name for one in login.path().parent.iterdir()] == ["login.json"]
    assert logged_in.token not in repr(login.stored())
    me = cli.json("whoami")
    assert me.keys() == {
        "base_url",
        "source",
        "user_id",
        "user",
        "admin",
        "workspace",
        "server_version",
        "token",
    }
    assert (me["user"], me["admin"]) == ("local", True)
    assert me["token"].keys() == {"name", "hint", "created_at", "expires_at"}
    assert (me["base_url"], me["source"]) == (logged_in.url, "the stored login")
    assert aiauto.AIAutoController().base_url == logged_in.url
    assert cli.json("logout") == {"logged_out": True, "revoked": False}
    assert login.stored() is None
    assert isinstance(config.resolve(), config.Embedded)
    assert cli.json("logout") == {"logged_out": False, "revoked": False}


def test_a_token_that_is_revoked_with_its_login(cli: Aiauto, server: EmbeddedServer) -> None:
    token = cli("token", "issue", "to revoke").strip()
    told = cli.json("login", server.url, "--token", token)
    assert told == {"base_url": server.url, "file": str(login.path())}
    cli("logout")  # which leaves the token as it is
    cli("login", server.url, "--token", token)
    assert cli.json("logout", "--revoke") == {"logged_out": True, "revoked": True}
    assert login.stored() is None
    cli("--base-url", server.url, "--token", token, "study", "list", code=5)
    assert "to revoke" not in cli("token", "list")
    # One that is not valid any more is no reason to stay logged in.
    login.store(login.Login(server.url, token))
    assert cli.json("logout", "--revoke") == {"logged_out": True, "revoked": True}
    # Nor is it revoked where nobody answers: the login stays, to try again.
    login.store(login.Login("http://127.0.0.1:1", token))
    assert "can't be reached" in cli("logout", "--revoke", code=1)
    assert login.stored() is not None
    cli("logout")
    assert cli.json("logout", "--revoke") == {"logged_out": False, "revoked": False}


def test_what_names_a_server_first(
    logged_in: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, token = logged_in.url, logged_in.token
    assert config.resolve(base_url=url + "/") == config.Remote(url, token)
    assert config.resolve("other") == config.Remote(url, "other")
    with pytest.raises(aiauto.ArgumentError, match="aiauto login"):
        config.resolve(base_url="http://elsewhere")  # its token is for its own server
    monkeypatch.setenv("AIAUTO_BASE_URL", "http://elsewhere")
    monkeypatch.setenv("AIAUTO_TOKEN", "from-environment")
    assert config.resolve() == config.Remote("http://elsewhere", "from-environment")


def test_a_login_that_is_not_good(
    cli: Aiauto, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "token" in cli("login", server.url, given="wrong\n", code=5)
    assert "put your own token" in cli("login", server.url, "--token", " ", code=2)
    assert login.stored() is None
    login.path().parent.mkdir(parents=True)
    login.path().write_text("[]", encoding="utf-8")
    # Who needs none is not bothered.
    cli("study", "list")
    monkeypatch.delenv("AIAUTO_TOKEN")
    assert "run `aiauto login` again" in cli("study", "list", code=2)
    cli("logout")


def moment(text: str) -> datetime:
    """A time of the schema. Python 3.10 does not read the Z."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def test_tokens(cli: Aiauto, server: EmbeddedServer) -> None:
    token = cli("token", "issue", "from the cli", "--days", 2).strip()
    listed = {one["name"]: one for one in cli.json("token", "list")}["from the cli"]
    assert listed.keys() == {
        "id",
        "name",
        "hint",
        "created_at",
        "expires_at",
        "last_used_at",
        "current",
    }
    begin, end = (moment(listed[name]) for name in ("created_at", "expires_at"))
    assert abs(end - begin - timedelta(days=2)) < timedelta(minutes=1)
    assert "--days" in cli("token", "issue", "--days", 0, code=2)
    assert token.startswith(listed["hint"])
    shown = cli("token", "list") + cli("token", "list", "--json")
    assert token.removeprefix(listed["hint"]) not in shown
    cli("login", server.url, "--token", token)
    cli("--base-url", server.url, "--token", token, "study", "list")
    rotated = cli.json("--base-url", server.url, "--token", token, "token", "rotate", "--keep", "0")
    stored = login.stored()
    assert stored is not None
    assert stored.token == rotated["token"] != token
    cli("--base-url", server.url, "--token", token, "study", "list", code=5)
    current = {one["name"]: one for one in cli.json("token", "list")}["from the cli"]["id"]
    assert cli.json("token", "revoke", current, "--yes") == {"revoked": current}
    cli("token", "revoke", current, "--yes", code=4)


def test_usage_and_unreachable(cli: Aiauto) -> None:
    assert cli("nothing", code=2)
    assert "can't be reached" in cli(
        "--base-url", "http://127.0.0.1:1", "--token", "a", "study", "list", code=1
    )
    assert cli.json("version") == {"version": aiauto.__version__}


def test_help_is_light() -> None:
    heavy = ("optuna", "aiohttp", "sqlalchemy", "aiauto.server", "aiauto_gen.aiauto", "cloudpickle")
    program = f"""
import sys
from aiauto.cli import app
try:
    app(["--help"])
except SystemExit as end:
    assert end.code == 0
print([name for name in {heavy!r} if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stderr == "[]\n"
    for command in (
        "run",
        "study",
        "batch",
        "login",
        "token",
        "user",
        "cache",
        "artifact",
        "workspace",
        "doctor",
    ):
        assert command in done.stdout


# What a shell says of the words that stand there, by the shell, as its script says it.
WORDS = {
    "bash": {"COMP_WORDS": "aiauto study ex", "COMP_CWORD": "2"},
    "zsh": {"_TYPER_COMPLETE_ARGS": "aiauto study ex"},
    "fish": {"_TYPER_COMPLETE_ARGS": "aiauto study ex", "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
}


@pytest.mark.once
@pytest.mark.parametrize("shell", WORDS)
def test_completion_of_shells(shell: str) -> None:
    def asked(**variables: str) -> str:
        return subprocess.run(
            [sys.executable, "-m", "aiauto"],
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    script = asked(_AIAUTO_COMPLETE=f"source_{shell}")
    assert f"_AIAUTO_COMPLETE=complete_{shell}" in script
    assert all(variable in script for variable in WORDS[shell])
    answer = asked(_AIAUTO_COMPLETE=f"complete_{shell}", **WORDS[shell])
    assert "export" in answer
    assert "delete" not in answer
    if shell != "bash":  # which shows no words of explanation
        assert "Write the trials of a study to a file" in answer


@pytest.mark.once
def test_completion_that_was_installed_completes(tmp_path: Path) -> None:
    """In a bash that starts as one does at a terminal."""
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }

    def bash(*arguments: str) -> str:
        return subprocess.run(
            ["/bin/bash", *arguments], env=environment, capture_output=True, text=True, check=True
        ).stdout

    # As a command among others, so that the shell stays to be found.
    assert "bash completion installed" in bash("-c", "aiauto --install-completion; true")
    completing = """
    source ~/.bashrc
    COMP_WORDS=(aiauto study ex) COMP_CWORD=2
    $(complete -p aiauto | sed 's/.*-F \\([^ ]*\\).*/\\1/') aiauto
    echo "${COMPREPLY[@]}"
    """
    assert bash("-c", completing) == "export\n"
