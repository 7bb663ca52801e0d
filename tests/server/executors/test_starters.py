"""Ways to start a worker's process: whatever the way, it is the same process."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from aiauto.server.executors.children import Interpreters, Start, Starter, base_environment
from aiauto.server.executors.forks import CAN_FORK, Forks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

only_where_forks = pytest.mark.skipif(not CAN_FORK, reason="workers are not forked here")
# Nobody listens there: a worker waits for its server, for as long as a test takes.
NOWHERE = {"AIAUTO_BASE_URL": "http://127.0.0.1:9", "AIAUTO_TOKEN": "token"}


@pytest.fixture(params=["interpreters", pytest.param("forks", marks=only_where_forks)])
async def starter(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Starter]:
    starter = Interpreters() if request.param == "interpreters" else Forks(tmp_path)
    yield starter
    await starter.close()


@pytest.fixture
async def forks(tmp_path: Path) -> AsyncIterator[Forks]:
    forks = Forks(tmp_path)
    yield forks
    await forks.close()


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., Start]:
    folder = tmp_path / "worker"
    folder.mkdir()

    def start(**environment: str) -> Start:
        return Start({**base_environment(), **environment}, folder, tmp_path / "worker.log")

    return start


def children() -> list[psutil.Process]:
    return [one for one in psutil.Process().children() if "fork_server" in str(one.cmdline())]


def channels(pid: int) -> set[str]:
    """The sockets and pipes that a process has open."""
    links = [str(one.readlink()) for one in Path(f"/proc/{pid}/fd").iterdir()]
    return {link for link in links if link.startswith(("socket:", "pipe:"))}


async def gone(process: psutil.Process) -> None:
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:  # noqa: ASYNC110
        await asyncio.sleep(0.01)


async def test_its_output_and_its_exit_code(starter: Starter, start: Callable[..., Start]) -> None:
    worker = await starter.start(start())
    assert await worker.ended == 2
    assert "is started by an aiauto server" in start().log.read_text()
    assert not psutil.pid_exists(worker.pid)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_a_signal_is_told(
    starter: Starter, start: Callable[..., Start], number: signal.Signals
) -> None:
    worker = await starter.start(start(**NOWHERE))
    assert os.getsid(worker.pid) == os.getpgid(worker.pid) == worker.pid
    assert psutil.Process(worker.pid).cwd() == str(start().folder)
    # Whether it has got as far as to heed it or not, it ends.
    os.kill(worker.pid, number)
    assert await worker.ended in ({-number, 3} if number == signal.SIGTERM else {-number})


async def test_what_can_not_be_started_is_told(
    starter: Starter, start: Callable[..., Start], tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError, match="missing"):
        await starter.start(Start(dict(os.environ), tmp_path / "missing", tmp_path / "log"))
    with pytest.raises(FileNotFoundError, match="missing"):
        await starter.start(Start(dict(os.environ), tmp_path, tmp_path / "missing" / "log"))
    assert await (await starter.start(start())).ended == 2


@only_where_forks
async def test_one_process_forks_them_all_and_leaves_them_nothing(
    forks: Forks, start: Callable[..., Start], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert children() == []
    workers = await asyncio.gather(*(forks.start(start(**NOWHERE)) for _ in range(3)))
    (server,) = children()
    assert server.num_threads() == 1
    assert {one.pid for one in server.children()} == {worker.pid for worker in workers}
    held = server.num_fds()
    for worker in workers:
        assert not channels(worker.pid) & channels(server.pid)
        os.kill(worker.pid, signal.SIGKILL)
    assert [await worker.ended for worker in workers] == [-signal.SIGKILL] * 3
    assert server.num_fds() == held


@only_where_forks
@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python does not warn before 3.12")
async def test_nothing_is_said_against_forking(
    forks: Forks,
    start: Callable[..., Start],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PYTHONWARNINGS", "always::DeprecationWarning")
    for _ in range(2):
        assert await (await forks.start(start())).ended == 2
    assert "multi-threaded" not in capfd.readouterr().err
    assert "multi-threaded" not in start().log.read_text()


@only_where_forks
async def test_workers_outlive_the_fork_server(forks: Forks, start: Callable[..., Start]) -> None:
    first = await forks.start(start(**NOWHERE))
    (server,) = children()
    server.kill()
    assert await first.ended is None
    process = psutil.Process(first.pid)
    assert process.is_running()
    second = await forks.start(start(**NOWHERE))
    (successor,) = children()
    assert successor.pid != server.pid
    await forks.close()
    assert await second.ended is None
    assert children() == []
    for worker in (process, psutil.Process(second.pid)):
        worker.kill()
        await gone(worker)


@only_where_forks
async def test_a_start_that_is_canceled_leaves_no_worker(
    forks: Forks, start: Callable[..., Start]
) -> None:
    assert await (await forks.start(start())).ended == 2
    (server,) = children()
    for turns in range(6):
        starting = asyncio.create_task(forks.start(start(**NOWHERE)))
        for _ in range(turns):
            await asyncio.sleep(0)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
    # Requests are answered in their order.
    last = await forks.start(start(**NOWHERE))
    while len(server.children()) > 1:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.01)
    os.kill(last.pid, signal.SIGKILL)
    assert await last.ended == -signal.SIGKILL


@only_where_forks
async def test_new_packages_want_a_new_process(
    forks: Forks, start: Callable[..., Start], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONUSERBASE", str(tmp_path / "user"))
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = tmp_path / "user" / "lib" / version / "site-packages"
    packages.mkdir(parents=True)
    first = await forks.start(start(**NOWHERE))
    (before,) = children()
    (packages / "new").mkdir()
    second = await forks.start(start(**NOWHERE))
    (after,) = [one for one in children() if one.pid != before.pid]
    assert after.pid == psutil.Process(second.pid).ppid()
    # The old one stays as long as somebody wants to know of its worker.
    os.kill(first.pid, signal.SIGKILL)
    assert await first.ended == -signal.SIGKILL
    await gone(before)
    os.kill(second.pid, signal.SIGKILL)
    assert await second.ended == -signal.SIGKILL


@only_where_forks
async def test_where_it_can_not_be_it_goes_as_ever(
    forks: Forks,
    start: Callable[..., Start],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trouble = tmp_path / "numpy.py"
    trouble.write_text("raise SystemExit(9)", encoding="utf-8")
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert await (await forks.start(start())).ended == 2
    assert caplog.text.count("can't be forked") == 1
    assert "exit code 9" in caplog.text
    assert children() == []
    # It is tried again in a while.
    trouble.unlink()
    forks._paused_until = 0.0
    assert await (await forks.start(start())).ended == 2
    assert len(children()) == 1


@only_where_forks
@pytest.mark.parametrize("taken", [False, True])
def test_output_of_forks_where_their_server_has_none(tmp_path: Path, *, taken: bool) -> None:
    """A program in the background may have been started without; other files get their numbers."""
    program = f"""
import asyncio, os, sys
from pathlib import Path
from aiauto.server.executors.children import Start, base_environment
from aiauto.server.executors.forks import Forks

folder = Path({str(tmp_path)!r})
for descriptor in (1, 2):
    os.close(descriptor)
    if {taken}:
        os.open(folder / f"taken-{{descriptor}}", os.O_CREAT | os.O_WRONLY)

async def main():
    forks = Forks(folder / "forks")
    (folder / "worker").mkdir()
    worker = await forks.start(Start(base_environment(), folder / "worker", folder / "log"))
    code = await worker.ended
    await forks.close()
    return code

os._exit(asyncio.run(main()))
"""
    done = subprocess.run([sys.executable, "-c", program], check=False, timeout=100)
    assert done.returncode == 2
    assert "is started by an aiauto server" in (tmp_path / "log").read_text()
    assert all(not one.read_text() for one in tmp_path.glob("taken-*"))
