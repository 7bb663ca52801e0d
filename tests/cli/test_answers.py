"""What the command asks at a terminal, and what becomes of the answers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from aiauto import config, login

if TYPE_CHECKING:
    import aiauto
    from aiauto.testing import EmbeddedServer
    from tests.cli.conftest import Aiauto

pytestmark = pytest.mark.once

CTRL_C, CTRL_D = "\x03", "\x04"


def test_a_study_is_deleted_after_a_yes(
    cli: Aiauto, controller: aiauto.AIAutoController, study_name: str
) -> None:
    controller.create_study(study_name)
    question = f"Delete study '{study_name}' with 0 trials for good? [y/N]:"

    def deleting(answer: str, code: int) -> str:
        return cli.at_a_terminal(
            "study", "delete", study_name, answers=[(question, answer)], code=code
        )

    for answer, code, said in (
        ("n\n", 1, "Nothing was done.\n"),
        ("\n", 1, "Nothing was done.\n"),  # no answer is no yes
        (CTRL_C, 130, "\n"),
        (CTRL_D, 130, "\n"),
    ):
        shown = deleting(answer, code)
        assert shown.endswith(said), repr(shown)
        assert "Abort" not in shown
        assert "Traceback" not in shown
    assert study_name in cli("study", "list")
    assert deleting("y\n", 0).endswith(f"Study '{study_name}' is deleted.\n")
    assert study_name not in cli("study", "list")


def test_a_login_is_asked_for_its_token(cli: Aiauto, server: EmbeddedServer) -> None:
    question = f"Token for {server.url}: "
    shown = cli.at_a_terminal(
        "login", server.url, answers=[(question, f"{server.token}\n")], columns=300
    )
    assert f"Logged in to {server.url}. The token is kept in {login.path()}." in shown
    assert server.token not in shown  # neither while it is typed nor after
    assert "AIAUTO_TOKEN is set and counts before it." in shown
    stored = login.stored()
    assert stored is not None
    assert (stored.base_url, stored.token) == (server.url, server.token)
    cli("logout")
    for answer in (CTRL_C, CTRL_D):
        shown = cli.at_a_terminal("login", server.url, answers=[(question, answer)], code=130)
        assert "Traceback" not in shown
        assert login.stored() is None


def test_which_server_is_logged_in_to(
    cli: Aiauto, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An argument, else the option, else the variable, else the hosted service."""
    elsewhere = "http://127.0.0.1:1"
    option = ("--base-url", elsewhere)

    def told(*arguments: str) -> str:
        url: str = json.loads(cli(*arguments, "--json", given=f"{server.token}\n"))["base_url"]
        return url

    monkeypatch.setenv("AIAUTO_BASE_URL", elsewhere)
    assert told(*option, "login", server.url) == server.url
    assert told("--base-url", server.url, "login") == server.url
    monkeypatch.setenv("AIAUTO_BASE_URL", server.url)
    assert told("login") == server.url
    monkeypatch.delenv("AIAUTO_BASE_URL")
    # Which is elsewhere: that its address is the one that is asked is all that can be seen here.
    assert config.HOSTED_URL.startswith("https://")
    monkeypatch.setattr(config, "HOSTED_URL", server.url)
    assert told("login") == server.url
    cli("logout")
