"""What an objective finds in its worker, and what ends one: forked or not."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil
import pytest

import aiauto
from aiauto.server.executors.forks import CAN_FORK
from aiauto.testing import embedded_server
from tests.runner.test_environment import wheel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import optuna

    from aiauto.testing import EmbeddedServer

ALL = aiauto.WaitOption.WAIT_ALL_TRIALS
only_where_forks = pytest.mark.skipif(not CAN_FORK, reason="workers are not forked here")


@pytest.fixture(
    scope="module", params=["0", pytest.param("1", marks=only_where_forks)], ids=["own", "forked"]
)
def server(request: pytest.FixtureRequest) -> Iterator[EmbeddedServer]:
    with contextlib.ExitStack() as stack:
        # While it starts only: it lives as long as others that do not mean this one's setting.
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AIAUTO_FORK_WORKERS", request.param)
            running = stack.enter_context(embedded_server())
        yield running


@pytest.fixture
def study(server: EmbeddedServer, study_name: str) -> aiauto.StudyWrapper:
    return aiauto.AIAutoController(server.token, server.url).create_study(study_name)


def meeting(folder: Path, size: int) -> Callable[[], None]:
    """Waits until as many trials run at the same time."""
    folder.mkdir()

    def meet() -> None:
        (folder / str(os.getpid())).touch()
        while len(list(folder.iterdir())) < size:
            time.sleep(0.01)

    return meet


def test_every_worker_is_a_process_of_its_own(study: aiauto.StudyWrapper, tmp_path: Path) -> None:
    meet = meeting(tmp_path / "meeting", 2)

    def objective(trial: optuna.Trial) -> float:
        import ctypes
        import threading

        meet()
        getenv = ctypes.CDLL(None).getenv
        getenv.restype = ctypes.c_char_p
        trial.set_user_attr("drawn", [random.random(), float(np.random.random())])
        trial.set_user_attr("ids", [os.getpid(), os.getpgrp(), os.getsid(0)])
        stdin, stdout, stderr = (str(Path(f"/proc/self/fd/{fd}").readlink()) for fd in range(3))
        found = {
            "cwd": Path.cwd() == Path(os.environ["AIAUTO_TMP_CACHE_DIR"]).parent,
            "path": sys.path[0] == str(Path.cwd()),
            "argv": [Path(one).name for one in sys.argv],
            "main": sys.modules["__main__"].__spec__,
            "getenv": getenv(b"AIAUTO_TOKEN") == os.environ["AIAUTO_TOKEN"].encode(),
            "unbuffered": os.environ["PYTHONUNBUFFERED"],
            "fork setting": "AIAUTO_FORK_WORKERS" in os.environ,
            "stdin": [sys.stdin.read(), stdin],
            "log": stdout == stderr == f"{Path.cwd()}.log",
            "child signal": signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL,
            "hang up": signal.getsignal(signal.SIGHUP) == signal.SIG_DFL,
            "wakeup": signal.set_wakeup_fd(-1),
            "main thread": threading.current_thread() is threading.main_thread(),
            "calculates": float((np.ones((300, 300)) @ np.ones((300, 300))).sum()),
        }
        trial.set_user_attr("found", found)
        return trial.suggest_float("x", 0, 1)

    study.optimize(objective, 2, 2, wait_option=ALL, wait_timeout=100)
    trials = study.get_study().trials
    for trial in trials:
        assert trial.user_attrs["found"] == {
            "cwd": True,
            "path": True,
            "argv": ["__main__.py"],
            "main": None,  # as of a script, and not of a program that is started by its name
            "getenv": True,
            "unbuffered": "1",
            "fork setting": False,
            "stdin": ["", "/dev/null"],
            "log": True,
            "child signal": True,
            "hang up": True,
            "wakeup": -1,
            "main thread": True,
            "calculates": 300.0**3,
        }
        assert len(set(trial.user_attrs["ids"])) == 1
    one, other = (trial.user_attrs for trial in trials)
    assert one["ids"] != other["ids"]
    assert not set(one["drawn"]) & set(other["drawn"])
    assert len({trial.params["x"] for trial in trials}) == 2


def test_processes_of_the_objective(study: aiauto.StudyWrapper) -> None:
    """They know nothing of how the worker was started."""

    def objective(trial: optuna.Trial) -> float:
        import multiprocessing
        import subprocess

        code = "import os; print(os.environ['AIAUTO_WORKER'])"
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == trial.user_attrs["pod_name"]
        for method in ("fork", "spawn"):
            with multiprocessing.get_context(method).Pool(1) as pool:
                assert pool.map(abs, [-1, -2]) == [1, 2]
        return 1.0

    study.optimize(objective, 1, 1, wait_option=ALL, wait_timeout=100)
    assert study.get_status()["count_succeeded"] == 1


def dies(trial: optuna.Trial) -> float:
    import ctypes
    import subprocess

    if trial.number < 2:
        left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        print("left", left.pid, flush=True)
    match trial.number:
        case 0:
            os._exit(7)
        case 1:
            os.kill(os.getpid(), signal.SIGKILL)
        case 2:
            ctypes.string_at(0)
        case _:
            pass
    return 1.0


def test_how_a_worker_died_is_told(study: aiauto.StudyWrapper) -> None:
    batch = study.optimize(dies, 4, 1, wait_option=ALL, wait_timeout=100)
    status = study.get_status(include_trials=True)
    assert (status["count_failed"], status["count_succeeded"]) == (3, 1)
    trials = status["trialbatches"][batch].get("completed_trials", {}).values()
    told = {trial["trialNumber"]: trial["error"] for trial in trials}
    assert "ended with exit code 7" in told[0]
    assert "SIGKILL" in told[1]
    assert "SIGSEGV" in told[2]
    assert "in dies" in told[2]
    # With a worker ends what it has started, before another one comes.
    for text in (told[0], told[1]):
        (pid,) = [int(line.split()[1]) for line in text.splitlines() if line.startswith("left ")]
        assert not psutil.pid_exists(pid) or not lives(psutil.Process(pid))


def test_requirements(study: aiauto.StudyWrapper, tmp_path: Path) -> None:
    def objective(_trial: optuna.Trial) -> float:
        import of_the_forks  # type: ignore[import-not-found] # pyright: ignore[reportMissingImports]

        assert sys.prefix != sys.base_prefix
        return float(of_the_forks.ONE)  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]

    study.optimize(
        objective,
        2,
        1,
        requirements_list=[wheel(tmp_path, "of_the_forks", "ONE = 1")],
        wait_option=ALL,
        wait_timeout=100,
    )
    assert [trial.value for trial in study.get_study().trials] == [1.0, 1.0]


def gated(gate: Path) -> Callable[[optuna.Trial], float]:
    def objective(trial: optuna.Trial) -> float:
        while not gate.exists():
            time.sleep(0.01)
        time.sleep(0.05)
        trial.set_user_attr("pid", os.getpid())
        return trial.suggest_float("x", 0, 1)

    return objective


def active(study: aiauto.StudyWrapper, count: int) -> None:
    while study.get_status()["count_active"] < count:
        time.sleep(0.05)


def lives(process: psutil.Process) -> bool:
    """Whether it runs. Those without a parent may stay as zombies, where nobody is to bury them."""
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


@only_where_forks
def test_the_fork_server_may_die(
    own_server: EmbeddedServer, tmp_path: Path, study_name: str
) -> None:
    study = aiauto.AIAutoController().create_study(study_name)
    gate = tmp_path / "gate"
    study.optimize(gated(gate), 12, 2, wait_option="WAIT_NO")
    active(study, 2)
    (fork_server,) = psutil.Process(own_server.pid).children()
    workers = {one.pid for one in fork_server.children()}
    fork_server.kill()
    gate.touch()
    assert study.wait(timeout=100)
    status = study.get_status()
    assert (status["count_succeeded"], status["count_total"]) == (12, 12)
    assert {trial.user_attrs["pid"] for trial in study.get_study().trials} == workers
    study.optimize(gated(gate), 4, 2, wait_option=ALL, wait_timeout=100)
    assert study.get_status()["count_succeeded"] == 16
    assert fork_server not in psutil.Process(own_server.pid).children()


@only_where_forks
def test_a_server_that_is_killed_leaves_workers_and_finds_them_again(
    own_server: EmbeddedServer, tmp_path: Path, study_name: str
) -> None:
    study = aiauto.AIAutoController().create_study(study_name)
    gate = tmp_path / "gate"
    study.optimize(gated(gate), 12, 2, wait_option="WAIT_NO")
    active(study, 2)
    (fork_server,) = psutil.Process(own_server.pid).children()
    workers = fork_server.children()
    own_server.kill()
    while lives(fork_server):
        time.sleep(0.01)
    assert all(map(lives, workers))
    own_server.start()
    # One is gone by the time that it is taken over; the other one works on.
    workers[0].kill()
    gate.touch()
    assert study.wait(timeout=100)
    status = study.get_status()
    assert status["count_completed"] == status["count_total"] == 12
    assert status["count_succeeded"] == 11
    assert workers[1].pid in {
        trial.user_attrs["pid"] for trial in study.get_study().trials if trial.value is not None
    }
    own_server.stop()
    assert not lives(workers[1])
