"""What docs/security.md tells in numbers is so."""

from __future__ import annotations

import os
import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

import aiauto
from aiauto.server import auth, connections, failed_logins, users
from aiauto.server.accounts import LOCAL_USER
from aiauto.server.limits import variable_of
from aiauto.server.openid import documents, flows, id_tokens, issuer
from aiauto.server.services import token
from aiauto.server.settings import MEBIBYTE, TOKEN_PREFIX, Settings
from aiauto.server.web import sessions
from aiauto.server.worker_logs import MAX_BATCH_BYTES

if TYPE_CHECKING:
    import optuna

    from aiauto.testing import EmbeddedServer

TEXT = " ".join(
    (Path(__file__).parents[2] / "docs/security.md").read_text(encoding="utf-8").split()
)


def test_numbers(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    limits = settings.limits
    days = sessions.SESSION_SECONDS // 86_400
    for told in (
        f"is `{TOKEN_PREFIX}` and {auth.TOKEN_BYTES} random bytes",
        f"for up to {auth.REMEMBERED_SECONDS:g} seconds",
        f"ends after {token.KEEP_SECONDS} seconds",
        f"It lasts {days} days",
        f"one that an issuer began lasts {sessions.IDENTITY_SESSION_SECONDS // 3600} hours",
        f"Such a session lasts {sessions.IDENTITY_SESSION_SECONDS // 3600} hours",
        f"are good for {flows.FLOW_SECONDS // 60} minutes",
        f"must be right, to {id_tokens.LEEWAY_SECONDS} seconds",
        f"waits {documents.ANSWER_SECONDS:g} seconds and",
        f"reads {documents.MAX_ANSWER_BYTES // 1024} KiB at most",
        f"the size of calls ({settings.max_message_bytes // MEBIBYTE} MiB)",
        f"({settings.journal_rate:g} a second for each token)",
        f"the log of a batch ({MAX_BATCH_BYTES // MEBIBYTE} MiB)",
        f"batches that are not over ({limits.max_batches} a user)",
        f"their workers ({limits.max_parallelism} each)",
        f"tokens ({limits.max_tokens} a user) and on users ({users.MAX_USERS:,})",
        f"A user holds at most {limits.max_connections} connections",
        f"and each of their workers {connections.MAX_OF_WORKER};",
        f"who does not read an answer for {settings.body_timeout:g} seconds",
        f"{limits.max_unread_mib} MiB of answers may wait for a user at once",
        f"after {settings.header_timeout:g} seconds in its head",
        f"and {settings.body_timeout:g} in its body",
        f"up to {failed_logins.LONGEST_PAUSE_SECONDS:g} seconds an answer",
        f"{failed_logins.MAX_WAITING} wait at most",
        f"The user `{LOCAL_USER}` is whoever runs the server",
    ):
        assert told in TEXT, told
    assert "a minute after its batch at the latest" in TEXT
    assert auth.LAST_WORDS.total_seconds() == 60
    assert auth.HINT_CHARACTERS - len(TOKEN_PREFIX) == 4
    assert issuer.KEPT_SECONDS == 3600  # "kept for an hour"
    assert settings.on_loopback
    assert not settings.trust_users


def test_the_data_folder(own_server: EmbeddedServer) -> None:
    aiauto.AIAutoController()
    modes = {one.name: one.stat().st_mode & 0o777 for one in own_server.data_dir.iterdir()}
    assert own_server.data_dir.stat().st_mode & 0o777 == 0o700
    assert {modes[name] for name in ("aiauto.sqlite3", "token", "secret")} == {0o600}
    assert modes["batches"] == 0o700


def test_what_local_workers_can_read(own_server: EmbeddedServer) -> None:
    """It is said plainly, and it is so. Whoever shuts workers in changes the page."""
    for told in (
        "Workers on the server's machine run users' code as the system user who runs the server.",
        "They can read everything that this user can read",
        "They are not in a container.",
        "`token`, with which it is the admin `local`, and `secret`, with which it can log in",
        "So the server is for one user, unless you say that its users trust each other",
    ):
        assert told in TEXT, told
    study = aiauto.AIAutoController().create_study("reader")
    data_dir = str(own_server.data_dir)

    def reads(trial: optuna.Trial) -> float:
        for name in ("token", "secret", "aiauto.sqlite3"):
            trial.set_user_attr(name, len(Path(data_dir, name).read_bytes()) > 0)
        trial.set_user_attr("user", os.geteuid())
        return 1.0

    study.optimize(reads, n_trials=1, parallelism=1, wait_option="WAIT_ALL_TRIALS")
    expected = {
        "token": True,
        "secret": True,
        "aiauto.sqlite3": True,
        "user": psutil.Process(own_server.pid).uids().effective,
    }
    assert study.best_trial.user_attrs.items() >= expected.items()


def test_limits_that_can_be_set(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs/server.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(AIAUTO_\w+)` \| .* \| (\d+) \|$", text, re.MULTILINE))
    settings = Settings(data_dir=tmp_path)
    expected = {
        variable_of(name): str(value) for name, value in asdict(settings.limits).items()
    } | {
        variable_of(name): f"{getattr(settings, name):g}"
        if isinstance(getattr(settings, name), float)
        else str(getattr(settings, name))
        for name in (
            "max_message_bytes",
            "max_page_body_bytes",
            "journal_rate",
            "journal_burst",
            "header_timeout",
            "body_timeout",
            "keepalive_timeout",
        )
    }
    assert rows == expected
    assert failed_logins.FREE_FAILURES == 5  # "from the sixth time on"
