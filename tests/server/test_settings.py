"""How a server is to run, and what is refused before it does."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from aiauto.config import is_loopback
from aiauto.errors import ArgumentValueError
from aiauto.server.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


def test_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIAUTO_DATA_DIR", str(tmp_path))
    settings = Settings.from_environment(port=None)
    assert settings.data_dir == tmp_path
    assert settings.database == f"sqlite:///{tmp_path}/aiauto.sqlite3"
    assert settings.on_loopback
    assert settings.login_links
    assert (settings.lease_ttl, settings.heartbeat_interval) == (60, 5)


def test_the_environment_and_what_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIAUTO_DATABASE_URL", "postgresql://db/aiauto")
    monkeypatch.setenv("AIAUTO_PUBLIC_URL", "https://lab.example")
    monkeypatch.setenv("AIAUTO_ALLOWED_HOSTS", "a.example, b.example")
    settings = Settings.from_environment(data_dir=tmp_path)
    assert settings.database == "postgresql://db/aiauto"
    assert settings.allowed_hosts == ("a.example", "b.example")
    assert not settings.login_links
    given = Settings.from_environment(data_dir=tmp_path, public_url="http://other.example")
    assert given.public_url == "http://other.example"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("s3cret", "is no address of a database"),
        ("postgresql://me:s3cret@pass@host:port/x", "is no address of a database"),
        ("mysql+pymysql://me:s3cret@host/x", "names a database of the kind 'mysql'"),
        ("postgres://me:s3cret@host/x", "names a database of the kind 'postgres'"),
    ],
)
def test_an_address_of_no_database(tmp_path: Path, url: str, told: str) -> None:
    with pytest.raises(ArgumentValueError, match=f"^AIAUTO_DATABASE_URL {told}") as caught:
        Settings(data_dir=tmp_path, database_url=url)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("field", ["journal_rate", "journal_burst", "max_message_bytes"])
def test_numbers_from_the_environment(monkeypatch: pytest.MonkeyPatch, field: str) -> None:
    variable = f"AIAUTO_{field.upper()}"
    monkeypatch.setenv(variable, "12345")
    assert getattr(Settings.from_environment(), field) == 12345
    for wrong in ("0", "-1", "many", "1.5", "9" * 30):
        monkeypatch.setenv(variable, wrong)
        with pytest.raises(ArgumentValueError, match=f"{variable} is '{wrong}'"):
            Settings.from_environment()


def test_workers_are_forked_unless_somebody_says_no(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings.from_environment().fork_workers
    monkeypatch.setenv("AIAUTO_FORK_WORKERS", "0")
    assert not Settings.from_environment().fork_workers
    monkeypatch.setenv("AIAUTO_FORK_WORKERS", "no")
    with pytest.raises(ArgumentValueError, match="AIAUTO_FORK_WORKERS is 'no'"):
        Settings.from_environment()


def test_users_are_trusted_only_where_somebody_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not Settings.from_environment().trust_users
    monkeypatch.setenv("AIAUTO_TRUST_USERS", "1")
    assert Settings.from_environment().trust_users
    monkeypatch.setenv("AIAUTO_TRUST_USERS", "yes")
    with pytest.raises(ArgumentValueError, match="AIAUTO_TRUST_USERS is 'yes'"):
        Settings.from_environment()


@pytest.mark.parametrize(
    "field", ["lease_ttl", "lease_grace", "heartbeat_interval", "drain_timeout"]
)
def test_times_from_the_environment(monkeypatch: pytest.MonkeyPatch, field: str) -> None:
    variable = f"AIAUTO_{field.upper()}"
    monkeypatch.setenv(variable, "12.5")
    assert getattr(Settings.from_environment(), field) == 12.5
    monkeypatch.setenv(variable, "soon")
    with pytest.raises(ArgumentValueError, match=f"{variable} is 'soon'"):
        Settings.from_environment()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("port", -1),
        ("port", 65536),
        ("host", " "),
        ("lease_ttl", 0),
        ("lease_grace", 0),
        ("journal_rate", 0),
        ("journal_rate", float("nan")),
        ("journal_burst", 9999),
        ("idle_timeout", float("inf")),
        ("idle_timeout", float("nan")),
        ("heartbeat_interval", 60),
        ("public_url", "lab.example"),
        ("public_url", "ftp://lab.example"),
    ],
)
def test_what_can_not_work_is_refused(tmp_path: Path, field: str, value: Any) -> None:
    # These are set by options alone.
    set_by = "" if field in {"port", "host", "idle_timeout"} else f" (AIAUTO_{field.upper()})"
    with pytest.raises(ArgumentValueError, match=f"^{re.escape(field + set_by)} is ") as caught:
        Settings(data_dir=tmp_path, **{field: value})
    assert caught.value.argument == field


@pytest.mark.parametrize(
    ("host", "answer"),
    [
        ("localhost", True),
        ("LOCALHOST.", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("[::1]", True),
        ("", False),
        ("0.0.0.0", False),  # noqa: S104
        ("::", False),
        ("10.0.0.1", False),
        ("example.org", False),
        ("127.0.0.1.example", False),
    ],
)
def test_loopback(host: str, answer: bool) -> None:  # noqa: FBT001
    assert is_loopback(host) == answer


def test_files_may_be_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings.from_environment(data_dir=tmp_path).files == tmp_path / "files"
    monkeypatch.setenv("AIAUTO_FILES_DIR", str(tmp_path / "claim" / "files"))
    assert Settings.from_environment(data_dir=tmp_path).files == tmp_path / "claim" / "files"


@pytest.mark.parametrize(
    ("variable", "weak"),
    [
        ("AIAUTO_SESSION_SECRET", "a" * 31),
        ("AIAUTO_ADMIN_TOKEN", "hunter2" * 10),
        ("AIAUTO_ADMIN_TOKEN", "aiauto_" + "a" * 31),
        ("AIAUTO_ADMIN_TOKEN", "aiauto_" + "a" * 31 + "\n"),
        ("AIAUTO_ADMIN_TOKEN", "aiauto_" + "a" * 20 + " " + "a" * 20),
    ],
)
def test_what_could_be_guessed_is_refused_and_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, weak: str
) -> None:
    monkeypatch.setenv(variable, weak)
    with pytest.raises(ArgumentValueError, match=variable) as refused:
        Settings.from_environment(data_dir=tmp_path)
    assert weak.strip() not in str(refused.value)


def test_secrets_are_in_no_text_about_settings(tmp_path: Path) -> None:
    secret, token = "s" * 32, "aiauto_" + "t" * 32
    settings = Settings(data_dir=tmp_path, session_secret=secret, admin_token=token)
    assert secret not in repr(settings)
    assert token not in repr(settings)
