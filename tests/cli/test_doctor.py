"""`aiauto doctor` finds what usually goes wrong, and says what to do about it."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import pwd
import re
import shutil
import socket
import sqlite3
import ssl
import threading
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from importlib import metadata
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import pytest
import trustme
import uv
from sqlalchemy import create_engine

from aiauto import login
from aiauto.cli import checks, server_checks
from aiauto.server.database.migrations import migrate
from aiauto.testing import EmbeddedServer

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from aiauto.cli import findings
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
    ("version", "found_as"),
    [(None, "not installed"), ("4.0.0", "4.0.0"), ("6.0.0", "6.0.0"), ("3.6.1", "3.6.1")],
)
def test_an_optuna_that_is_not_there_or_too_old(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch, version: str | None, found_as: str
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
    assert found["optuna"]["found"].startswith(found_as)
    needed = [
        one for one in metadata.requires("aiauto-client") or () if re.match("optuna[<>]", one)
    ]
    for bound in re.findall(r"[<>=]+[\d.]+", needed[0]):
        assert bound in found["optuna"]["advice"]


def test_a_data_folder_that_can_not_be_written_to(
    doctor: Doctor, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.write_text("no folder", encoding="utf-8")
    found = doctor(code=1)
    assert found["data folder"]["state"] == "problem"
    assert "AIAUTO_DATA_DIR" in found["data folder"]["advice"]


def test_a_data_folder_in_one_that_may_not_be_entered(
    doctor: Doctor, tmp_path: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del here
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    monkeypatch.setenv("AIAUTO_DATA_DIR", str(closed / "sub" / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", "/nowhere")
    root = os.geteuid() == 0
    if root:  # who may enter everything
        os.seteuid(pwd.getpwnam("nobody").pw_uid)
    try:
        found = doctor(code=1)
    finally:
        if root:
            os.seteuid(0)
    assert found["data folder"]["state"] == "problem"
    assert "Permission denied" in found["data folder"]["found"]
    assert found["server"]["state"] == "ok"


def test_a_check_that_breaks_keeps_no_other_from_looking(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> Iterator[findings.Finding]:
        message = "it broke"
        raise RuntimeError(message)

    monkeypatch.setattr(checks, "CHECKS", dict.fromkeys(checks.CHECKS, broken))
    found = doctor(code=1)
    assert found.keys() == checks.CHECKS.keys()
    assert {one["state"] for one in found.values()} == {"problem"}
    assert all("RuntimeError: it broke" in one["found"] for one in found.values())


def test_databases(doctor: Doctor, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here.mkdir(mode=0o700)
    file = here / "aiauto.sqlite3"

    def look(code: int = 0) -> str:
        found = doctor(code=code)["database"]
        assert found["state"] == ("problem" if code else "ok")
        return found["found"] + found["advice"]

    def execute(*statements: str) -> None:
        with contextlib.closing(sqlite3.connect(file)) as database, database:
            for one in statements:
                database.execute(one)

    assert "is not there yet" in look()
    assert not file.exists()
    execute("CREATE TABLE x (y INT)")
    assert "tables of another program" in look(code=1)
    file.unlink()
    engine = create_engine(f"sqlite:///{file}")
    migrate(engine, "0004")
    assert "brought up to date when the server starts" in look()
    migrate(engine)
    engine.dispose()
    before = file.read_bytes()
    assert "up to date" in look()
    assert file.read_bytes() == before
    execute("UPDATE alembic_version SET version_num = '9999'")
    assert "newer version" in look(code=1)
    file.write_bytes(b"this is none" * 1000)
    assert "file is not a database" in look(code=1)
    monkeypatch.setenv("AIAUTO_DATABASE_URL", "postgresql://me:s3cret@127.0.0.1:1/x")
    told = look(code=1)
    assert "refused" in told
    monkeypatch.setenv("AIAUTO_DATABASE_URL", "me:s3cret@")
    told += look(code=1)
    assert "is no address of a database" in told
    assert "s3cret" not in told


def test_a_disk_that_is_nearly_full(
    doctor: Doctor, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_checks, "LOW_SPACE_BYTES", shutil.disk_usage(here.parent).total + 1)
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


class Quiet(http.server.BaseHTTPRequestHandler):
    """A server that says what the test wants."""

    status = 404
    text = b""

    def answer(self) -> None:
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.text)))
        self.end_headers()
        self.wfile.write(self.text)

    do_GET = do_POST = answer  # noqa: N815 - as the base class wants it

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        del format, args


class Late(Quiet):
    """A server whose clock is an hour behind."""

    def date_time_string(self, timestamp: float | None = None) -> str:
        del timestamp
        return format_datetime(datetime.now(timezone.utc) - timedelta(hours=1), usegmt=True)


class Stopping(Quiet):
    """A server of ours that is being stopped."""

    text = b'{"status": "not ready", "reason": "the server is being stopped"}'

    def answer(self) -> None:
        self.status = 503 if self.path == "/readyz" else 200
        super().answer()

    do_GET = answer  # noqa: N815 - as above


class Gateway(Quiet):
    """A proxy behind which nothing runs."""

    status = 502


@contextlib.contextmanager
def running(kind: type[Quiet], certificate: trustme.LeafCert | None = None) -> Generator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind) as server:
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            cast("Any", certificate).configure_cert(context)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http{'s' if certificate else ''}://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_proxy_without_a_server(doctor: Doctor) -> None:
    with running(Gateway) as url:
        found = doctor("--base-url", url, "--token", "any", code=1)
    assert found["server"]["state"] == "problem"
    assert "says 502" in found["server"]["found"]


def test_a_server_that_can_not_work(doctor: Doctor) -> None:
    with running(Stopping) as url:
        found = doctor("--base-url", url, "--token", "any", code=1)
    assert found["server"]["state"] == "ok"
    assert found["readiness"]["found"] == "the server is not ready: the server is being stopped"


def test_something_that_does_not_speak_http(doctor: Doctor) -> None:
    def greet(connection: socket.socket) -> None:
        with connection:
            connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
            connection.recv(4096)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=lambda: greet(listener.accept()[0]))
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        found = doctor("--base-url", url, "--token", "any", code=1)
        thread.join()
    assert found["server"]["state"] == "problem"
    assert "does not speak HTTP: SSH-2.0-OpenSSH_9.2" in found["server"]["found"]


def write(certificate: trustme.LeafCert, folder: Path) -> tuple[str, str]:
    cert, key = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(b"".join(one.bytes() for one in certificate.cert_chain_pems))
    key.write_bytes(certificate.private_key_pem.bytes())
    return str(cert), str(key)


@pytest.mark.parametrize(
    ("days", "state", "told"),
    [(-1, "problem", "has expired"), (7, "warning", "days from now"), (90, "ok", "is valid until")],
)
def test_certificates(
    doctor: Doctor,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    days: int,
    state: str,
    told: str,
) -> None:
    authority = trustme.CA()
    bundle = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(bundle)
    monkeypatch.setenv("AIAUTO_CA_BUNDLE", str(bundle))
    until = datetime.now(timezone.utc) + timedelta(days=days)
    issued = authority.issue_cert("127.0.0.1", "lab.example", not_after=until)
    # That of a server elsewhere.
    with running(Quiet, issued) as url:
        found = doctor("--base-url", url, "--token", "any", code=1)["certificate"]
    assert (found["state"], told in found["found"]) == (state, True)
    assert urlsplit(url).netloc in found["found"]
    # That which this machine's own would show, by the name that people know it by.
    cert, key = write(issued, tmp_path)
    monkeypatch.setenv("AIAUTO_TLS_CERT", cert)
    monkeypatch.setenv("AIAUTO_TLS_KEY", key)
    monkeypatch.setenv("AIAUTO_PUBLIC_URL", "https://lab.example")
    found = doctor(code=state == "problem")["certificate"]
    assert (found["state"], told in found["found"]) == (state, True)
    assert cert in found["found"]


def test_a_certificate_for_another_name(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cert, key = write(trustme.CA().issue_cert("lab.example"), tmp_path)
    monkeypatch.setenv("AIAUTO_TLS_CERT", cert)
    monkeypatch.setenv("AIAUTO_TLS_KEY", key)
    monkeypatch.setenv("AIAUTO_PUBLIC_URL", "https://elsewhere.example")
    found = doctor(code=1)["certificate"]
    assert "elsewhere.example" in found["found"]
    assert "one issued for the name" in found["advice"]
    # Of a name that nobody has said there is nothing to find.
    monkeypatch.delenv("AIAUTO_PUBLIC_URL")
    assert doctor()["certificate"]["state"] == "ok"


def test_clocks_that_differ_and_a_server_of_another_kind(doctor: Doctor) -> None:
    with running(Late) as late:
        found = doctor("--base-url", late, "--token", "any", code=1)
    assert found["server"]["state"] == "ok"
    # Servers tell the time in whole seconds, and an answer takes its time.
    ahead = re.fullmatch(r"this clock is (\d+) s ahead of the server", found["clock"]["found"])
    assert ahead is not None
    assert abs(int(ahead[1]) - 3600) <= 5
    assert "NTP" in found["clock"]["advice"]
    assert found["token"]["state"] == "problem"
    assert "Check the address" in found["token"]["advice"]
