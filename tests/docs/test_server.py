"""The files that docs/server.md shows do what they say: systemd's, Prometheus' and nginx' own."""

from __future__ import annotations

import configparser
import contextlib
import http.client
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

import aiauto
from tests.docs.code_blocks import check_command

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    import optuna

    from aiauto.testing import EmbeddedServer

pytestmark = pytest.mark.once

PAGE = (Path(__file__).parents[2] / "docs/server.md").read_text(encoding="utf-8")
(UNIT,) = re.findall(r"^```ini\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
(SCRAPING,) = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
(PROXY,) = re.findall(r"^```nginx\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
PROGRAM = "/opt/aiauto/bin/aiauto"
# What Prometheus does where its file says nothing.
DEFAULTS = {"scheme": "http", "metrics_path": "/metrics", "authorization": {"type": "Bearer"}}
SINCE = {"DelegateSubgroup": 254}


def test_the_unit_starts_a_server() -> None:
    unit = configparser.ConfigParser()
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(UNIT)
    service = unit["Service"]
    assert set(service) == {"ExecStart", "Delegate", "DelegateSubgroup"}
    program, *words = shlex.split(service["ExecStart"])
    assert program == PROGRAM
    check_command(words)


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("There is no systemd-analyze here")
    file = tmp_path / "aiauto.service"
    ours = Path(sys.executable).with_name("aiauto")
    file.write_text(UNIT.replace(PROGRAM, str(ours)), encoding="utf-8")
    done = subprocess.run(
        [analyze, "verify", "--man=no", file], capture_output=True, text=True, check=False
    )
    if done.returncode and file.name not in done.stderr:
        pytest.skip(f"systemd-analyze does not work here: {done.stderr}")
    told = subprocess.run([analyze, "--version"], capture_output=True, text=True, check=True)
    version = int(told.stdout.split()[1])
    too_new = [name for name, since in SINCE.items() if version < since]
    assert all(f"systemd {SINCE[name]} and newer" in PAGE.replace("\n", " ") for name in SINCE)
    complaints = [
        line
        for line in done.stderr.splitlines()
        if file.name in line and not any(f"'{name}'" in line for name in too_new)
    ]
    assert complaints == []
    assert done.returncode == 0, done.stderr


def test_prometheus_gets_the_metrics(server: EmbeddedServer) -> None:
    """As Prometheus goes by the file."""
    (scraping,) = yaml.safe_load(SCRAPING)["scrape_configs"]
    assert set(scraping) == {"job_name", "scheme", "authorization", "static_configs"}
    config: dict[str, Any] = {**DEFAULTS, **scraping}
    authorization: dict[str, str] = {"type": "Bearer", **config["authorization"]}
    assert set(authorization) == {"type", "credentials_file"}
    ((target,),) = [one["targets"] for one in config["static_configs"]]
    url = f"{config['scheme']}://{target}{config['metrics_path']}"
    here = url.replace("https://aiauto.example.org", server.url)
    assert here.startswith(server.url)
    token = (server.data_dir / "token").read_text(encoding="utf-8").strip()
    header = {"Authorization": f"{authorization['type']} {token}"}
    with urllib.request.urlopen(urllib.request.Request(here, headers=header)) as answer:  # noqa: S310
        assert b"aiauto_rpc_" in answer.read()


@contextlib.contextmanager
def nginx_before(url: str, tmp_path: Path) -> Generator[str]:
    """The address of nginx in front of a server, set up as the page shows it."""
    # For root alone it is on the path.
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("There is no nginx here")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    of_server = PROXY.replace("http://127.0.0.1:8787", url)
    assert url in of_server
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    folders = "".join(f"{kind}_temp_path {tmp_path}/{kind};" for kind in kinds)
    file = tmp_path / "nginx.conf"
    file.write_text(
        f"daemon off; pid {tmp_path}/pid; error_log {tmp_path}/error.log; events {{}}\n"
        f"http {{ access_log off; {folders}\n"
        f"server {{ listen 127.0.0.1:{port};\n{of_server} }} }}\n",
        encoding="utf-8",
    )
    checked = subprocess.run(
        [program, "-t", "-c", file], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
    running = subprocess.Popen([program, "-c", file], stderr=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        running.terminate()
        running.wait()


@pytest.fixture
def nginx(server: EmbeddedServer, tmp_path: Path) -> Iterator[str]:
    """The address of nginx in front of the server."""
    with nginx_before(server.url, tmp_path) as address:
        yield address


def test_nginx_tells_who_calls(tmp_path: Path) -> None:
    log = tmp_path / "log"
    data_dir = tmp_path / "data"
    options = ("--trusted-proxies", "127.0.0.1", "--log-format", "json", "--verbose")
    command = [sys.executable, "-m", "aiauto.cli", "serve", "--port", "0", *options]
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(log.open("w"))
        process = subprocess.Popen(
            [*command, "--data-dir", data_dir], stdout=subprocess.PIPE, stderr=file, text=True
        )
        stack.enter_context(process)
        stack.callback(process.terminate)
        assert process.stdout is not None
        url = re.findall(r"running on (\S+)\.", process.stdout.readline())[0]
        address = stack.enter_context(nginx_before(url, tmp_path))
        # Until it listens, the SDK waits.
        token = (data_dir / "token").read_text(encoding="utf-8").strip()
        aiauto.AIAutoController(token, address)
        caller = http.client.HTTPConnection(
            address.removeprefix("http://"), timeout=60, source_address=("127.0.0.2", 0)
        )
        stack.callback(caller.close)
        caller.request("GET", "/healthz", headers={"X-Forwarded-For": "203.0.113.66"})
        assert caller.getresponse().read()
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert [one["remote"] for one in lines if one.get("path") == "/healthz"] == ["127.0.0.2"]


def test_nginx_lets_everything_pass(
    nginx: str, server: EmbeddedServer, study_name: str, tmp_path: Path
) -> None:
    (tmp_path / "data.bin").write_bytes(os.urandom(5_000_000))
    gate = tmp_path / "gate"

    def waits(trial: optuna.Trial) -> float:
        print("waits", flush=True)
        while not gate.exists():
            time.sleep(0.05)
        return trial.suggest_float("x", 0, 1)

    # Until it listens, the SDK waits.
    controller = aiauto.AIAutoController(server.token, nginx)
    controller.upload_to_shared_cache(tmp_path / "data.bin", show_progress_bar=False)
    controller.delete_from_shared_cache("data.bin")
    study = controller.create_study(study_name)
    study.optimize(waits, n_trials=1, parallelism=1, wait_option="WAIT_NO")
    # The trial ends only once its line has come, alone, over a stream that goes on.
    for line in study.logs(follow=True):
        assert line.text == "waits"
        gate.touch()
    assert study.wait(timeout=60)
