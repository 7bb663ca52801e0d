"""A server whose log has everything in it, but no secret, whatever people and programs did."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import urllib.parse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

import aiauto

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.once

AIAUTO = [sys.executable, "-m", "aiauto.cli"]
FORM = {"content-type": "application/x-www-form-urlencoded", "sec-fetch-site": "same-origin"}


@dataclass
class Serving:
    """A server in a process of its own, which logs all that it can."""

    process: subprocess.Popen[str]
    log: Path
    data_dir: Path
    url: str
    token: str
    key: str
    text: bytes = b""

    def __post_init__(self) -> None:
        address = urllib.parse.urlsplit(self.url).netloc
        self.connection = http.client.HTTPConnection(address, timeout=60)

    def ask(
        self, method: str, path: str, body: str = "", **headers: str
    ) -> http.client.HTTPResponse:
        """Make a request; gives the answer, and what is in it."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        # Of one who hangs up with the answer the log may know nothing.
        self.connection.request(method, path, body.encode(), named)
        answer = self.connection.getresponse()
        self.text = answer.read()
        return answer

    def say(self, *lines: str) -> bytes:
        """Send these very bytes; gives what comes back."""
        host, port = self.connection.host, self.connection.port
        with socket.create_connection((host, port), timeout=60) as connection:
            connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
            return connection.recv(65536)

    def stop(self) -> str:
        """End it; gives all that it has logged."""
        self.connection.close()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=90)
        return self.log.read_text(encoding="utf-8")


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[str], Serving]]:
    processes: list[subprocess.Popen[str]] = []

    def start(log_format: str) -> Serving:
        log, data_dir = tmp_path / "log", tmp_path / "data"
        options = ["--port", "0", "--data-dir", str(data_dir), "--verbose"]
        with log.open("wb") as file:
            process = subprocess.Popen(
                [*AIAUTO, "serve", *options, "--log-format", log_format],
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
            )
        processes.append(process)
        assert process.stdout is not None
        text = ""
        for line in process.stdout:
            text += line
            if line.strip().startswith("Data:"):
                break
        url = re.findall(r"running on (http://127\.0\.0\.1:\d+)\.", text)[0]
        token = re.findall(r'AIAutoController\("(aiauto_[\w-]+)"', text)[0]
        key = re.findall(r"\?key=(\S+)", text)[0]
        return Serving(process, log, data_dir, url, token, key)

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def tells_its_token(trial: Any) -> float:
    import os

    print(os.environ["AIAUTO_TOKEN"])
    if trial.number == 1:
        message = f"it fails with {os.environ['AIAUTO_TOKEN']}"
        raise RuntimeError(message)
    return 1.0


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_whole_journey(serve: Callable[[str], Serving], log_format: str) -> None:
    server = serve(log_format)
    secrets = {"token": server.token, "key": server.key}
    secrets["signing"] = (server.data_dir / "secret").read_text(encoding="ascii").strip()

    # A script, its workers, and new tokens in place of old ones.
    study = aiauto.AIAutoController(server.token, server.url).create_study("journey")
    batch = study.optimize(
        tells_its_token, n_trials=3, parallelism=1, wait_option="WAIT_ALL_TRIALS"
    )
    secrets["worker"] = str(next(iter(study.logs(0)))).strip()
    assert secrets["worker"].startswith("aiauto_")
    json_type = {"content_type": "application/json"}
    as_user = {**json_type, "authorization": f"Bearer {server.token}"}
    for method in ("CreateToken", "RotateToken"):
        assert server.ask("POST", f"/aiauto.v1.AIAutoService/{method}", "{}", **as_user).status
        secrets[method] = json.loads(server.text)["token"]

    # People with browsers, who get in by a form and by a link, and out again.
    form = urllib.parse.urlencode({"token": server.token, "next": "/token"})
    for answer in (
        server.ask("POST", "/login", form, **FORM),
        server.ask("GET", f"/dashboard?key={server.key}"),
    ):
        cookie = (answer.getheader("set-cookie") or "").partition(";")[0]
        name, _, value = cookie.partition("=")
        assert value
        secrets[f"cookie {len(secrets)}"] = value
        assert server.ask("GET", "/api/studies", cookie=cookie).status == 200
        assert server.ask("GET", "/api/studies/77", cookie=cookie).status == 404
        call = "/aiauto.v1.AIAutoService/GetTrialBatch"
        told = json.dumps({"name": "nothing"})
        ours = {**json_type, "sec_fetch_site": "same-origin"}
        assert server.ask("POST", call, told, cookie=cookie, **ours).status == 404
        # Requests that can't be read, which are told with what could not be.
        assert server.say("GET / HTTP/1.1", "Host: x", f"Cookie: {cookie}\0").startswith(b"HTTP/1")
        assert server.say("GET / HTTP/1.1", "Host: x", f"{cookie}")
        assert server.say(f"GET /{name}={value} HTTP/9.9", "Host: x")
        assert server.ask("POST", "/logout", cookie=cookie, sec_fetch_site="same-origin").status

    # Whoever mistypes a token, or puts it where it does not belong.
    nearly = server.token[:-1] + ("A" if server.token[-1] != "A" else "B")
    secrets["nearly"] = nearly
    bearer = {"authorization": f"Bearer {nearly}"}
    assert server.ask("GET", "/metrics", **bearer).status == 401
    assert server.ask("GET", "/dashboard", **bearer).status == 401
    wrong = urllib.parse.urlencode({"token": nearly, "next": f"/?token={nearly}"})
    assert server.ask("POST", "/login", wrong, **FORM).status == 401
    assert server.ask("GET", f"/{server.token}?token={server.token}").status == 404
    assert server.ask("GET", f"/dashboard?key={server.key}x&next={server.key}").status == 401
    for line in (
        f"Authorization: Bearer {server.token}\0",
        f"Authorization : Bearer {server.token}",
        f"Content-Length: {server.token}",
    ):
        assert server.say("GET /healthz HTTP/1.1", "Host: localhost", line)
    call = "/aiauto.v1.AIAutoService/GetStatus"
    told = json.dumps({"studyName": server.token})
    assert server.ask("POST", call, told, **as_user).status == 404

    log = server.stop()
    # It does tell of all that, those that could not be read among them.
    assert log.count("it can't be read") == 2 * 3 + 3
    assert "Traceback" not in log
    assert batch in log
    for path in ("/login", "/dashboard", "/metrics", call, "/api/studies/77"):
        assert path in log, path
    for what, secret in secrets.items():
        assert secret not in log, what
    # Nor is what people have in a file, but where it belongs; of tokens there are hashes.
    kept = {server.data_dir / name for name in ("token", "secret")}
    files = {path for path in server.data_dir.rglob("*") if path.is_file()}
    assert kept < files
    for file in files - kept:
        content = file.read_bytes()
        for what in ("token", "key", "signing", "CreateToken", "RotateToken", "nearly"):
            assert secrets[what].encode() not in content, (what, file)


def test_the_password_of_a_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one of a database that is out of reach, which an error must tell of."""
    url = "postgresql+psycopg://aiauto:s3cret-passw0rd@127.0.0.1:1/aiauto"
    monkeypatch.setenv("AIAUTO_DATABASE_URL", url)
    done = subprocess.run(
        [*AIAUTO, "serve", "--port", "0", "--data-dir", str(tmp_path / "data"), "--verbose"],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 2
    told = done.stderr.splitlines()[-1]
    assert told.startswith("The database postgresql+psycopg://aiauto:***@127.0.0.1:1/aiauto can't")
    assert "AIAUTO_DATABASE_URL" in told
    assert "Traceback" not in done.stderr
    assert "s3cret-passw0rd" not in done.stdout + done.stderr
