"""`aiauto doctor` finds what usually goes wrong, and says what to do about it."""

from __future__ import annotations

import http.server
import json
import re
import shutil
import threading
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from importlib import metadata
from typing import TYPE_CHECKING

import pytest
import uv

from aiauto import login
from aiauto.cli import checks
from aiauto.testing import EmbeddedServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.conftest import Aiauto

Finding = dict[str, str]


class Doctor:
    """What it finds, and how it ends."""

    def __init__(self, cli: Aiauto) -> None:
        self._cli = cli

    def __call__(self, *arguments: str, code: int = 0) -> dict[str, Finding]:
        # The findings are on standard output, however it ends.
        found: list[Finding] = json.loads(
            self._cli.printed(*arguments, "doctor", "--json", code=code)
        )
        assert all(one.keys() == {"check", "state", "found", "advice"} for one in found)
        # Whatever is not well comes with something to do.
        assert all(one["advice"] for one in found if one["state"] != "ok")
        return {one["check"]: one for one in found}


@pytest.fixture
def doctor(cli: Aiauto, monkeypatch: pytest.MonkeyPatch) -> Doctor:
    for name in checks.PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return Doctor(cli)


@pytest.fixture
def here(doctor: Doctor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The data folder of the server of this machine, which nothing else names."""
    for name in ("AIAUTO_BASE_URL", "AIAUTO_TOKEN"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AIAUTO_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


def test_all_is_well(doctor: Doctor) -> None:
    found = doctor()
    assert {"python", "optuna", "uv", "proxy", "login", "server", "clock", "token"} <= found.keys()
    assert {one["state"] for one in found.values()} == {"ok"}


def test_what_people_read(cli: Aiauto, doctor: Doctor) -> None:
    lines = cli("doctor").splitlines()
    assert all(line.startswith("ok       ") for line in lines)
    assert lines[0].startswith("ok       python: 3.")
    told = cli.printed("--token", "wrong", "doctor", code=1)
    found = doctor("--token", "wrong", code=1)["token"]
    assert f"PROBLEM  token: {found['found']}\n         {found['advice']}\n" in told


def test_nothing_is_started(doctor: Doctor, here: Path) -> None:
    found = doctor()
    assert "starts on demand" in found["server"]["found"]
    assert "GiB free" in found["data folder"]["found"]
    assert "resources_limits['memory']" in found["memory"]["found"]
    assert not here.exists()


def test_a_token_that_is_wrong(doctor: Doctor) -> None:
    found = doctor("--token", "wrong", code=1)
    assert found["server"]["state"] == "ok"
    assert found["token"]["state"] == "problem"
    assert "aiauto login" in found["token"]["advice"]


def test_a_server_that_is_not_there(doctor: Doctor) -> None:
    found = doctor("--base-url", "http://127.0.0.1:1", "--token", "wrong", code=1)
    assert found["server"]["state"] == "problem"
    assert "http://127.0.0.1:1" in found["server"]["found"]
    assert "AIAUTO_CA_BUNDLE" in found["server"]["advice"]


def test_a_proxy(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://name:s3cret@proxy")
    found = doctor()
    assert found["proxy"]["state"] == "warning"
    assert "HTTPS_PROXY" in found["proxy"]["found"]
    assert "NO_PROXY" in found["proxy"]["advice"]
    assert "s3cret" not in str(found)


def test_a_login_that_others_can_read(doctor: Doctor) -> None:
    login.store(login.Login("http://elsewhere", "token"))
    login.path().chmod(0o644)
    found = doctor()
    assert found["login"]["advice"] == f"Run: chmod 600 {login.path()}"


def test_no_uv(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> str:
        raise FileNotFoundError

    monkeypatch.setattr(uv, "find_uv_bin", missing)
    assert "pip install uv" in doctor()["uv"]["advice"]


@pytest.mark.parametrize(
    ("version", "advice"), [(None, "pip install optuna"), ("3.6.1", "pip install -U optuna")]
)
def test_an_optuna_that_is_not_there_or_too_old(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch, version: str | None, advice: str
) -> None:
    known = metadata.version

    def told(name: str) -> str:
        if name != "optuna":
            return known(name)
        if version is None:
            raise metadata.PackageNotFoundError(name)
        return version

    monkeypatch.setattr(metadata, "version", told)
    found = doctor(code=1)
    assert found["optuna"]["state"] == "problem"
    assert advice in found["optuna"]["advice"]


def test_a_data_folder_that_can_not_be_written_to(
    doctor: Doctor, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.write_text("no folder", encoding="utf-8")
    found = doctor(code=1)
    assert found["data folder"]["state"] == "problem"
    assert "AIAUTO_DATA_DIR" in found["data folder"]["advice"]


def test_a_disk_that_is_nearly_full(
    doctor: Doctor, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "LOW_SPACE_BYTES", shutil.disk_usage(here.parent).total + 1)
    found = doctor()
    assert found["data folder"]["state"] == "warning"
    assert "Free some space" in found["data folder"]["advice"]


def test_a_server_that_was_killed(doctor: Doctor, here: Path) -> None:
    here.mkdir(mode=0o700)
    server = EmbeddedServer(here)
    server.start()
    try:
        assert {doctor()[one]["state"] for one in ("server", "clock", "token")} == {"ok"}
        server.kill()
        found = doctor()
        assert found["server"]["state"] == "warning"
        assert str(here / "server.log") in found["server"]["advice"]
    finally:
        server.stop()


class Late(http.server.BaseHTTPRequestHandler):
    """A server whose clock is an hour behind."""

    def date_time_string(self, timestamp: float | None = None) -> str:
        del timestamp
        return format_datetime(datetime.now(timezone.utc) - timedelta(hours=1), usegmt=True)

    def answer(self) -> None:
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST = answer  # noqa: N815 - as the base class wants it

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        del format, args


@pytest.fixture
def late() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Late) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_clocks_that_differ_and_a_server_of_another_kind(doctor: Doctor, late: str) -> None:
    found = doctor("--base-url", late, "--token", "any", code=1)
    assert found["server"]["state"] == "ok"
    # Servers tell the time in whole seconds, and an answer takes its time.
    ahead = re.fullmatch(r"this clock is (\d+) s ahead of the server", found["clock"]["found"])
    assert ahead is not None
    assert abs(int(ahead[1]) - 3600) <= 5
    assert "NTP" in found["clock"]["advice"]
    assert found["token"]["state"] == "problem"
