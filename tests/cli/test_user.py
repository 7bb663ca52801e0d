"""`aiauto user`, and what two users of one server see of each other: nothing."""

from __future__ import annotations

import json
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

import aiauto
from aiauto.testing import embedded_server
from tests.issuer import issuing_beside

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from aiauto.testing import EmbeddedServer
    from tests.cli.conftest import Aiauto

pytestmark = pytest.mark.once


@pytest.fixture
def shared(
    cli: Aiauto, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[EmbeddedServer]:
    """A server whose users trust each other; the command calls it as its admin."""
    monkeypatch.setenv("AIAUTO_TRUST_USERS", "1")
    with embedded_server(tmp_path / "data") as server:
        monkeypatch.setenv("AIAUTO_BASE_URL", server.url)
        monkeypatch.setenv("AIAUTO_TOKEN", server.token)
        yield server


def test_users(cli: Aiauto, shared: EmbeddedServer) -> None:
    assert [one["name"] for one in cli.json("user", "list")] == ["local"]
    ada = cli.json("user", "add", "ada", "--admin")
    assert ada.keys() == {"id", "name", "admin", "token"}
    bob = cli("user", "add", "bob").strip()
    listed = {one["name"]: one for one in cli.json("user", "list")}
    assert list(listed) == ["local", "ada", "bob"]
    keys = {"id", "name", "admin", "disabled", "created_at", "tokens", "openid"}
    assert listed["bob"].keys() == keys
    assert listed["bob"]["openid"] == []
    assert [one["admin"] for one in listed.values()] == [True, True, False]
    as_bob = ("--base-url", shared.url, "--token", bob)
    me = cli.json(*as_bob, "whoami")
    assert (me["user"], me["admin"]) == ("bob", False)
    assert "Only admins" in cli(*as_bob, "user", "list", code=5)
    assert "already" in cli("user", "add", "bob", code=1)
    assert "lowercase" in cli("user", "add", "Bob", code=1)

    again = cli("user", "token", "bob", "--revoke").strip()
    cli(*as_bob, "study", "list", code=5)
    as_bob = ("--base-url", shared.url, "--token", again)
    cli(*as_bob, "study", "list")
    assert cli.json("user", "disable", "bob", "--yes") == {"disabled": "bob"}
    cli(*as_bob, "study", "list", code=5)
    assert cli.json("user", "enable", "bob") == {"enabled": "bob"}
    cli(*as_bob, "study", "list")
    assert "pass --yes" in cli("user", "remove", "bob", code=2)
    assert cli.json("user", "remove", "bob", "--yes") == {"removed": "bob"}
    cli(*as_bob, "study", "list", code=5)
    assert "aiauto user list" in cli("user", "remove", "bob", "--yes", code=4)
    assert "this is you" in cli("user", "remove", "local", "--yes", code=1)


def test_users_of_an_issuer(
    cli: Aiauto, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with issuing_beside() as issuer:
        for name, value in issuer.environment().items():
            monkeypatch.setenv(name, value)
        request.getfixturevalue("shared")
        cli("user", "add", "ada")
        assert cli.json("user", "link", "ada", "f3b1-ada") == {"linked": "ada"}
        (known,) = {one["name"]: one for one in cli.json("user", "list")}["ada"]["openid"]
        assert known == {
            "issuer": issuer.url,
            "subject": "f3b1-ada",
            "email": "",
            "last_login_at": "",
            "linked": True,
        }
        assert "f3b1-ada" in cli("user", "list")
        assert "aiauto user unlink" in cli("user", "link", "local", "f3b1-ada", code=1)
        assert "printable ASCII" in cli("user", "link", "ada", "아다", code=1)
        assert "no user 'bob'" in cli("user", "link", "bob", "other", code=4)
        assert "pass --yes" in cli("user", "unlink", "f3b1-ada", code=2)
        assert cli.json("user", "unlink", "f3b1-ada", "--yes") == {"unlinked": "f3b1-ada"}
        assert "aiauto user list" in cli("user", "unlink", "f3b1-ada", "--yes", code=4)


def test_a_server_without_an_issuer(cli: Aiauto, shared: EmbeddedServer) -> None:
    assert "AIAUTO_OIDC_ISSUER" in cli("user", "link", "local", "f3b1-ada", code=1)


def test_a_server_that_was_not_told_to_trust_its_users(
    cli: Aiauto,
    shared: EmbeddedServer,
    monkeypatch: pytest.MonkeyPatch,
    started: Callable[..., subprocess.Popen[str]],
) -> None:
    serve = ("serve", "--port", "0", "--data-dir", shared.data_dir)
    shared.stop()
    monkeypatch.delenv("AIAUTO_TRUST_USERS")
    shared.start()
    monkeypatch.setenv("AIAUTO_BASE_URL", shared.url)
    assert "--trust-users" in cli("user", "add", "ada", code=1)

    shared.stop()
    trusting = started(*serve, "--trust-users")
    assert trusting.stdout
    url = trusting.stdout.readline().split()[4].rstrip(".")
    cli("--base-url", url, "--token", shared.token, "user", "add", "ada")
    trusting.terminate()
    trusting.communicate()
    assert trusting.returncode == 0

    # Both ways to start it, with what to do in the answer.
    refused = started(*serve)
    _, error = refused.communicate()
    assert (refused.returncode, "2 users" in error) == (2, True)
    assert "AIAUTO_TRUST_USERS=1" in error
    assert "Traceback" not in error
    with pytest.raises(aiauto.ServerStartError, match="--trust-users"):
        shared.start()


def leaves_a_file(trial: Any) -> float:
    x: float = trial.suggest_float("x", 0, 1)
    file = aiauto.tmp_cache_dir() / "model.txt"
    file.write_text((aiauto.shared_cache_dir() / "data.txt").read_text(), encoding="utf-8")
    aiauto.AIAutoController().upload_artifact(trial, file)
    return x


def test_two_users_see_nothing_of_each_other(
    cli: Aiauto, shared: EmbeddedServer, tmp_path: Path
) -> None:
    tokens = {name: cli("user", "add", name).strip() for name in ("ada", "bob")}
    ada, bob = (aiauto.AIAutoController(token, shared.url) for token in tokens.values())
    (tmp_path / "data.txt").write_text("of ada", encoding="utf-8")
    ada.upload_to_shared_cache(tmp_path / "data.txt")
    study = ada.create_study("same-name", direction="minimize")
    batch = study.optimize(leaves_a_file, n_trials=2, parallelism=1, wait_option="WAIT_ALL_TRIALS")
    artifact = study.best_trial.user_attrs["artifact_id"]
    ada.download_artifact(artifact, tmp_path / "model.txt")

    def command(name: str, *arguments: object, code: int = 0) -> str:
        return cli("--base-url", shared.url, "--token", tokens[name], *arguments, code=code)

    command("ada", "artifact", "list", "same-name")
    command("bob", "artifact", "list", "same-name", code=4)
    for arguments in (("study", "list"), ("batch", "list"), ("cache", "list")):
        listed = {name: json.loads(command(name, *arguments, "--json")) for name in tokens}
        assert listed["ada"], arguments
        assert not listed["bob"], arguments
    assert len(json.loads(command("bob", "token", "list", "--json"))) == 1
    command("bob", "batch", "show", batch, code=4)
    command("bob", "batch", "logs", batch, code=4)
    command("bob", "batch", "cancel", batch, code=4)
    with pytest.raises(aiauto.NotFoundError):
        bob.download_artifact(artifact, tmp_path / "theirs.txt")
    with pytest.raises(aiauto.NotFoundError):
        bob.download_from_shared_cache("data.txt", tmp_path / "theirs.txt")
    assert shown(shared.url, tokens["ada"]) == ["same-name"]
    assert shown(shared.url, tokens["bob"]) == []

    # Names are everybody's own, and what one does to theirs is nothing to the other.
    theirs = bob.create_study("same-name", direction="maximize")
    assert theirs.get_study().trials == []
    (tmp_path / "data.txt").write_text("of bob", encoding="utf-8")
    bob.upload_to_shared_cache(tmp_path / "data.txt")
    bob.delete_from_shared_cache("data.txt")
    theirs.delete()
    assert [one["name"] for one in ada.list_shared_cache()["files"]] == ["data.txt"]
    assert study.get_status()["count_succeeded"] == 2
    cli("user", "remove", "bob", "--yes")
    assert len(study.get_study().trials) == 2
    ada.download_artifact(artifact, tmp_path / "model.txt", overwrite=True)
    assert (tmp_path / "model.txt").read_text() == "of ada"


def shown(url: str, token: str) -> list[str]:
    """The studies in somebody's dashboard."""
    headers = {"Authorization": f"Bearer {token}"}
    request = urllib.request.Request(f"{url}/api/studies", headers=headers)  # noqa: S310
    with urllib.request.urlopen(request) as answer:  # noqa: S310 - the server of the test
        return [one["study_name"] for one in json.load(answer)["study_summaries"]]
