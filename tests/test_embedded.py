"""The server of this machine: found, started once, and started again when it is gone."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import filelock
import psutil
import pytest

import aiauto
from aiauto import config, embedded
from aiauto.embedded_transport import EmbeddedTransport
from aiauto.testing import EmbeddedServer, embedded_server

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ATTACH = """
import aiauto
ac = aiauto.AIAutoController()
print(ac.base_url)
"""


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def run(script: str, environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", script],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def servers_of(data_dir: Path) -> list[psutil.Process]:
    def serves(process: psutil.Process) -> bool:
        try:
            return "aiauto.server" in (line := process.cmdline()) and str(data_dir) in line
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            return False

    return [process for process in psutil.process_iter() if serves(process)]


def test_nothing_is_found_where_nothing_runs(tmp_path: Path) -> None:
    assert embedded.find(tmp_path) is None
    assert embedded.find(tmp_path / "missing") is None


@pytest.mark.parametrize("record", ["", "{", "[]", "{}", '{"url": "x"}', '{"url":1,"pid":"x"}'])
def test_a_broken_record_is_no_server(tmp_path: Path, record: str) -> None:
    (tmp_path / "server.json").write_text(record, encoding="utf-8")
    (tmp_path / "token").write_text("t", encoding="utf-8")
    assert embedded.find(tmp_path) is None


def test_a_stale_record_is_no_server(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (tmp_path / "token").write_text("t", encoding="utf-8")
    # Its process is gone; a process is there, and nobody listens.
    for pid in (gone.pid, os.getpid()):
        record = {"url": f"http://127.0.0.1:{port}", "pid": pid, "version": "0"}
        (tmp_path / "server.json").write_text(json.dumps(record), encoding="utf-8")
        assert embedded.find(tmp_path) is None


def test_a_running_server_is_found(server: EmbeddedServer) -> None:
    found = embedded.find(server.data_dir)
    assert found is not None
    assert found == embedded.ensure(server.data_dir)
    assert found.version == aiauto.__version__
    assert found.is_alive()
    assert found.token
    assert found.token not in repr(found)
    assert (server.data_dir / "token").stat().st_mode & 0o077 == 0


def test_a_crowd_of_scripts_gets_one_server(
    embedded_environment: dict[str, str], own_server: EmbeddedServer
) -> None:
    scripts = [run(ATTACH, embedded_environment) for _ in range(5)]
    answers = [script.communicate(timeout=120) for script in scripts]
    assert [error for _, error in answers if error] == []
    assert {script.returncode for script in scripts} == {0}
    assert {output.strip() for output, _ in answers} == {own_server.url}
    assert [process.pid for process in servers_of(own_server.data_dir)] == [own_server.pid]


def test_a_crowd_of_threads_gets_one_server(own_server: EmbeddedServer) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(embedded.ensure, [own_server.data_dir] * 8))
    assert len(found) == 1
    assert len(servers_of(own_server.data_dir)) == 1


def test_it_survives_the_script(
    embedded_environment: dict[str, str], own_server: EmbeddedServer
) -> None:
    # A terminal that is closed takes the script's whole process group with it.
    leave = "import os, signal, sys; sys.stdout.flush(); os.killpg(0, signal.SIGKILL)"
    script = run(ATTACH + leave, embedded_environment)
    output, _ = script.communicate(timeout=60)
    assert script.returncode == -signal.SIGKILL
    assert output.strip() == own_server.url
    assert own_server.is_running()


def test_the_next_call_starts_it_again(own_server: EmbeddedServer) -> None:
    ac = aiauto.AIAutoController()
    study = ac.create_study("kept")
    first = own_server.pid
    for end in (own_server.stop, own_server.kill):
        end()
        assert not own_server.is_running()
        assert study.get_status()["study_name"] == "kept"
        assert own_server.is_running()
        assert own_server.pid != first
        assert ac.base_url == own_server.url
        assert ac.dashboard_url.startswith(own_server.url)


def test_it_is_found_again_at_another_address(own_server: EmbeddedServer) -> None:
    ac = aiauto.AIAutoController()
    study = ac.create_study("kept")
    before = own_server.url
    own_server.stop()
    port = int(before.rpartition(":")[2])
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        assert study.get_status()["study_name"] == "kept"
        assert ac.base_url == own_server.url != before


def test_it_stops_when_nobody_uses_it(tmp_path: Path) -> None:
    with embedded_server(tmp_path, idle_timeout=1) as idle:
        process = psutil.Process(idle.pid)
        until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)
        assert not idle.is_running()


def test_the_idle_timeout_comes_from_the_environment(
    own_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIAUTO_IDLE_TIMEOUT", "1")
    started = embedded.ensure(own_server.data_dir)
    until(lambda: not started.is_alive())


def test_it_does_not_stay_as_a_zombie(own_server: EmbeddedServer) -> None:
    started = embedded.ensure(own_server.data_dir)
    os.kill(started.pid, signal.SIGKILL)
    until(lambda: not psutil.pid_exists(started.pid))


def test_a_server_of_another_version_is_told(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("aiauto.embedded_transport.__version__", "99.0")
    transport = EmbeddedTransport(server.data_dir, headers={})
    for _ in range(2):
        assert transport.server().pid == server.pid
    (told,) = caplog.messages
    assert f"runs aiauto {aiauto.__version__}, and this is aiauto 99.0" in told
    assert str(server.pid) in told


def test_what_goes_wrong_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIAUTO_DATABASE_URL", "sqlite:////nowhere/at/all.sqlite3")
    with pytest.raises(aiauto.ServerStartError) as caught:
        embedded.ensure(tmp_path)
    told, _, rest = str(caught.value).partition("\n")
    assert told.startswith("The embedded server did not start: The database sqlite")
    assert "unable to open database file" in told
    assert "AIAUTO_DATABASE_URL" in told
    # All there is to say, and where there is more.
    assert rest.strip() == f"Its log is {tmp_path / 'server.log'}."


def test_a_server_that_falls_over_is_shown_with_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONHOME", str(tmp_path))
    with pytest.raises(aiauto.ServerStartError, match="exit code 1") as caught:
        embedded.ensure(tmp_path)
    assert str(tmp_path / "server.log") in str(caught.value)
    assert "encodings" in str(caught.value)


def test_a_data_folder_that_can_not_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(aiauto.ServerStartError, match="AIAUTO_DATA_DIR"):
        embedded.ensure(tmp_path / "file" / "data")


def test_a_server_that_does_not_answer(
    own_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_server.data_dir.mkdir()
    monkeypatch.setattr(config, "SERVER_PROBE_TIMEOUT", 0.2)
    own_server.start()
    process = psutil.Process(own_server.pid)
    process.suspend()
    try:
        with pytest.raises(aiauto.ServerStartError, match="did not answer in time"):
            embedded.ensure(own_server.data_dir, timeout=2)
    finally:
        process.resume()
    until(own_server.is_running)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_process_can_use_it(own_server: EmbeddedServer) -> None:
    study = aiauto.AIAutoController().create_study("forked")
    own_server.stop()
    with ThreadPoolExecutor(1) as pool:
        with filelock.FileLock(own_server.data_dir / "start.lock"):
            # A thread that is about to start the server has whatever locks it needs when the
            # process is forked, and is not in the child to give them back.
            waiting = pool.submit(study.get_status)
            time.sleep(0.5)
            pid = os.fork()
            if pid == 0:
                try:
                    signal.alarm(60)
                    os._exit(0 if study.get_status()["study_name"] == "forked" else 1)
                except BaseException:  # noqa: BLE001 - nothing may return into pytest
                    os._exit(2)
        assert os.waitpid(pid, 0)[1] == 0
        assert waiting.result(60)["study_name"] == "forked"
    assert len(servers_of(own_server.data_dir)) == 1
