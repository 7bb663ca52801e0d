"""`aiauto serve` as somebody at a terminal meets it."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import aiauto
from aiauto.cli.serve import DEFAULT_PORT, LOOPBACK, _ports
from aiauto.server.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

AIAUTO = [sys.executable, "-m", "aiauto.cli"]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts `aiauto serve` on a folder of the test."""
    started: list[subprocess.Popen[str]] = []

    def start(*options: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*AIAUTO, "serve", "--data-dir", str(tmp_path / "data"), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def introduction(process: subprocess.Popen[str]) -> str:
    """What a server says when it is up."""
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if line.strip().startswith("Data:"):
            return "".join(lines)
    pytest.fail("".join(lines) + process.communicate()[1])


def seen_by(url: str, link: str) -> list[str]:
    """The studies of whoever follows a link, as a browser does it."""
    place, _, _ = link.partition("?")
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
    with contextlib.closing(connection):
        connection.request("GET", link)
        redirect = connection.getresponse()
        redirect.read()
        # The key does not stay in the address.
        assert (redirect.status, redirect.headers["Location"]) == (303, place)
        cookie = redirect.headers["Set-Cookie"].partition(";")[0]
        connection.request("GET", place, headers={"Cookie": cookie})
        page = connection.getresponse()
        text = page.read().decode()
        assert page.status == 200
        assert "<html" in text
        assert "password" not in text  # as the page has it that asks who somebody is
        path = "/aiauto.v1.AIAutoService/ListStudies"
        headers = {"Cookie": cookie, "Content-Type": "application/json", "Origin": url}
        connection.request("POST", path, body="{}", headers=headers)
        answer = connection.getresponse()
        told = json.loads(answer.read())
        assert answer.status == 200, told
    return [study["studyName"] for study in told["studies"]]


def test_what_it_prints_works(serve: Callable[..., subprocess.Popen[str]]) -> None:
    process = serve("--port", "0")
    text = introduction(process)
    url = re.findall(r"running on (http://127\.0\.0\.1:\d+)\.", text)[0]
    token = re.findall(r'AIAutoController\("(aiauto_[\w-]+)"', text)[0]
    assert f"export AIAUTO_BASE_URL={url}" in text
    study = aiauto.AIAutoController(token, url).create_study("from_a_script", "maximize")
    links = re.findall(rf"{re.escape(url)}(/\S*\?key=\S+)", text)
    assert [link.partition("?")[0] for link in links] == ["/", "/dashboard"]
    for link in links:
        assert seen_by(url, link) == ["from_a_script"]
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2, wait_option="WAIT_NO")
    assert study.wait(timeout=60)
    assert study.get_status()["count_succeeded"] == 2

    process.send_signal(signal.SIGINT)
    _, log = process.communicate(timeout=90)
    assert process.returncode == 0
    assert token not in log


def test_a_token_that_was_chosen_is_the_one(
    serve: Callable[..., subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    token = "aiauto_" + "0123456789abcdef" * 2
    monkeypatch.setenv("AIAUTO_ADMIN_TOKEN", token)
    url = re.findall(r"running on (\S+)\.", introduction(serve("--port", "0")))[0]
    assert (tmp_path / "data" / "token").read_text(encoding="utf-8").strip() == token
    assert aiauto.AIAutoController(token, url).create_study("by_that_token").study_name


def test_one_server_a_folder(serve: Callable[..., subprocess.Popen[str]]) -> None:
    first = introduction(serve("--port", "0"))
    url = re.findall(r"running on (\S+)\.", first)[0]
    second = serve("--port", "0")
    _, error = second.communicate(timeout=90)
    assert second.returncode == 3
    assert "already runs" in error
    assert url in error


def test_a_port_that_is_taken(serve: Callable[..., subprocess.Popen[str]]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        process = serve("--port", port)
        _, error = process.communicate(timeout=90)
    assert process.returncode == 2
    assert port in error
    assert "Traceback" not in error


@pytest.mark.once
def test_without_a_port_another_is_taken(
    serve: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    with contextlib.ExitStack() as stack:
        # Whoever else has it on this machine does as well.
        with contextlib.suppress(OSError):
            stack.enter_context(socket.create_server((LOOPBACK, DEFAULT_PORT)))
        url = re.findall(r"running on (\S+)\.", introduction(serve()))[0]
        assert url != f"http://{LOOPBACK}:{DEFAULT_PORT}"
        token = (tmp_path / "data" / "token").read_text(encoding="utf-8").strip()
        assert aiauto.AIAutoController(token, url).create_study("there").study_name
    assert _ports(Settings(data_dir=tmp_path / "none"), None) == [DEFAULT_PORT, 0]


@pytest.mark.once
def test_a_configuration_of_kubernetes_that_is_wrong(
    serve: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    file = tmp_path / "aiauto.yaml"
    file.write_text("namespaces: a", encoding="utf-8")
    process = serve("--port", "0", "--executor", "kubernetes", "--kubernetes-config", str(file))
    _, error = process.communicate(timeout=90)
    assert process.returncode == 2
    assert f"{file}, can't be used: 'namespaces' is not known; there are namespace" in error
    assert "Traceback" not in error


@pytest.mark.once
def test_proxies_that_are_none(serve: Callable[..., subprocess.Popen[str]]) -> None:
    process = serve("--port", "0", "--trusted-proxies", "10.0.0.0/8,proxy.example")
    _, error = process.communicate(timeout=90)
    assert process.returncode == 2
    assert error.startswith("--trusted-proxies names 'proxy.example', which is neither")
    assert "Traceback" not in error


def newer(file: Path) -> None:
    """Make a database of an aiauto that is not out yet."""
    with contextlib.closing(sqlite3.connect(file)) as database, database:
        database.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        database.execute("INSERT INTO alembic_version VALUES ('9999')")


def foreign(file: Path) -> None:
    file.write_bytes(b"this is no database" * 1000)


@pytest.mark.once
@pytest.mark.parametrize(
    ("url", "make", "told"),
    [
        # An @ in a password splits the address elsewhere.
        ("postgresql+psycopg://me:s3cret@pass@host:port/x", None, "is no address of a database"),
        ("", foreign, "file is not a database"),
        ("", newer, "by a newer aiauto"),
    ],
)
def test_a_database_that_can_not_be_used(
    serve: Callable[..., subprocess.Popen[str]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    url: str,
    make: Callable[[Path], None] | None,
    told: str,
) -> None:
    monkeypatch.setenv("AIAUTO_DATABASE_URL", url)
    if make is not None:
        (tmp_path / "data").mkdir(mode=0o700)
        make(tmp_path / "data" / "aiauto.sqlite3")
    process = serve("--port", "0")
    _, error = process.communicate(timeout=90)
    assert process.returncode == 2
    said = error.splitlines()[-1]
    assert told in said
    # Which setting it is, and neither what made the error nor what nobody may read.
    assert "AIAUTO_DATABASE_URL" in said
    assert "Traceback" not in error
    assert "s3cret" not in error


def test_other_machines_are_let_in_only_where_asked(
    serve: Callable[..., subprocess.Popen[str]],
) -> None:
    everywhere = "0.0.0.0"  # noqa: S104 - the case in question
    refused = serve("--port", "0", "--host", everywhere)
    _, error = refused.communicate(timeout=90)
    assert refused.returncode == 2
    assert "--plain-http" in error
    process = serve("--port", "0", "--host", everywhere, "--plain-http", "--log-format", "json")
    introduction(process)
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=90)
    assert "which other machines can reach" in log
    told = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    assert [one["message"] for one in told][-1] == "stopped"


def test_version() -> None:
    done = subprocess.run([*AIAUTO, "version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"aiauto {aiauto.__version__}\n"
