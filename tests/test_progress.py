"""Following a batch: the stream, its breaks, the progress bar and the errors."""

from __future__ import annotations

import contextlib
import json
import logging
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from aiauto_gen.aiauto import v1

import aiauto
from aiauto import config, progress
from aiauto.calls import BlockingCalls, iterate
from aiauto.connection import connect_to

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    import optuna

    from aiauto.testing import EmbeddedServer
    from tests.proxy import CuttingProxy


def slow(trial: optuna.Trial) -> float:
    time.sleep(0.1)
    return trial.suggest_float("x", 0, 1)


def never_ending(trial: optuna.Trial) -> float:
    time.sleep(600)
    return trial.suggest_float("x", 0, 1)


@pytest.fixture
def calls(server: EmbeddedServer) -> BlockingCalls:
    return BlockingCalls(connect_to(config.resolve(server.token, server.url)))


def watch(
    calls: BlockingCalls, trialbatch_name: str, timeout: float | None
) -> Generator[v1.WatchTrialBatchResponse, None, None]:
    return iterate(progress.watch(calls, trialbatch_name, timeout))


def counts(responses: list[v1.WatchTrialBatchResponse]) -> list[int]:
    return [one.status.count_completed for one in responses if one.status]


def test_the_stream_tells_every_stage(
    controller: aiauto.AIAutoController, calls: BlockingCalls, study_name: str
) -> None:
    study = controller.create_study(study_name)
    name = study.optimize(slow, n_trials=6, parallelism=2, wait_option="WAIT_NO")
    seen = list(watch(calls, name, 60))
    assert counts(seen) == sorted(counts(seen))
    assert len(set(counts(seen))) > 2
    assert seen[-1].status
    assert seen[-1].status.phase == "Succeeded"
    assert seen[-1].best_trial
    assert seen[-1].best_trial.value == study.best_value


def test_a_finished_batch_is_told_at_once(
    controller: aiauto.AIAutoController, calls: BlockingCalls, study_name: str
) -> None:
    study = controller.create_study(study_name)
    name = study.optimize(slow, n_trials=1, parallelism=1, wait_option="WAIT_ALL_TRIALS")
    (seen,) = watch(calls, name, None)
    assert seen.status
    assert seen.status.phase == "Succeeded"


def small_enough(trial: optuna.Trial) -> float:
    x = trial.suggest_float("x", 0, 1)
    trial.set_constraint("size", 0.5 - x)
    return x


def small_enough_of_two(trial: optuna.Trial) -> tuple[float, float]:
    x = small_enough(trial)
    return x, x


def test_the_best_is_one_that_breaks_no_constraint(
    controller: aiauto.AIAutoController, calls: BlockingCalls, study_name: str
) -> None:
    study = controller.create_study(study_name)
    two = controller.create_study(f"{study_name}-two", direction=["minimize", "maximize"])
    for one, objective in ((study, small_enough), (two, small_enough_of_two)):
        for x in (0.75, 0.25, 0.875):
            one.enqueue_trial({"x": x})
        name = one.optimize(objective, n_trials=3, parallelism=1, wait_option="WAIT_ALL_TRIALS")
        (seen,) = watch(calls, name, None)
        if one is study:
            assert seen.best_trial
            assert seen.best_trial.value == study.best_value == 0.75
        else:
            assert seen.best_values == [0.75, 0.875]


def test_the_time_limit_holds(
    server: EmbeddedServer, controller: aiauto.AIAutoController, study_name: str
) -> None:
    study = controller.create_study(study_name)
    name = study.optimize(never_ending, n_trials=1, parallelism=1, wait_option="WAIT_NO")
    begin = time.monotonic()
    assert study.wait(timeout=1) is False
    assert 0.9 < time.monotonic() - begin < 5
    with pytest.raises(aiauto.WaitTimeoutError, match=r"after 0\.5 s .* runs on") as caught:
        study.optimize(never_ending, 1, 1, wait_timeout=0.5)
    assert caught.value.trialbatch_name in str(caught.value)
    service = connect_to(config.resolve(server.token, server.url)).service
    for batch in (name, caught.value.trialbatch_name):
        service.delete_trial_batch(v1.DeleteTrialBatchRequest(name=batch))


def test_an_unknown_batch(calls: BlockingCalls) -> None:
    with pytest.raises(aiauto.NotFoundError, match="nowhere"):
        list(watch(calls, "nowhere", 10))


def test_streams_are_renewed(
    controller: aiauto.AIAutoController, study_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "WATCH_RENEWAL", 0.2)
    study = controller.create_study(study_name)
    study.optimize(slow, n_trials=12, parallelism=1, wait_option="WAIT_NO")
    assert study.wait(timeout=60)
    assert study.get_status()["count_succeeded"] == 12


def test_broken_streams_are_mended(
    server: EmbeddedServer, proxy: CuttingProxy, study_name: str
) -> None:
    ac = aiauto.AIAutoController(server.token, proxy.url)
    calls = BlockingCalls(connect_to(config.resolve(server.token, proxy.url)))
    study = ac.create_study(study_name)
    name = study.optimize(slow, n_trials=20, parallelism=1, wait_option="WAIT_NO")
    done = threading.Event()

    def cut() -> None:
        while not done.wait(0.3):
            proxy.cut()

    cutter = threading.Thread(target=cut)
    cutter.start()
    before = proxy.connections
    try:
        seen = list(watch(calls, name, 60))
    finally:
        done.set()
        cutter.join()
    assert proxy.connections > before + 2
    assert counts(seen)[-1] == 20


def test_patience_ends(
    server: EmbeddedServer,
    proxy: CuttingProxy,
    study_name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(config, "WATCH_PATIENCE", 1.0)
    ac = aiauto.AIAutoController(server.token, proxy.url)
    calls = BlockingCalls(connect_to(config.resolve(server.token, proxy.url)))
    study = ac.create_study(study_name)
    name = study.optimize(slow, n_trials=20, parallelism=1)
    proxy.cut(refuse=True)
    with pytest.raises(aiauto.UnavailableError):
        list(watch(calls, name, 30))
    proxy.cut()
    assert study.wait(timeout=60)


# ------------------------------------------------------------------------------- progress bar


def stage(
    completed: int,
    best: float | None = None,
    best_values: Sequence[float] = (),
    **changed: Any,
) -> v1.WatchTrialBatchResponse:
    status: dict[str, Any] = {
        "count_completed": completed,
        "count_succeeded": completed,
        "count_total": 10,
        **changed,
    }
    return v1.WatchTrialBatchResponse(
        status=v1.TrialBatchStatus(trialbatch_name="b", phase="Running", **status),
        best_trial=None if best is None else v1.TrialInfo(value=best),
        best_values=list(best_values),
    )


def test_the_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.Bar("a-study", shown=True) as bar:
        bar.update(stage(0, count_active=2))
        bar.update(stage(4, 0.123456789, count_active=2, count_failed=1))
        with bar.aside():
            print("in between", file=sys.stderr)
        bar.update(stage(10, 1e-9))
    lines = [line.strip() for line in capsys.readouterr().err.split("\r")]
    assert any("a-study:   0%" in line and "running=2, failed=0" in line for line in lines)
    assert any("4/10" in line and "best=0.123457, running=2, failed=1" in line for line in lines)
    assert any(line.startswith("in between") for line in lines)
    assert "100%" in lines[-1]
    assert "10/10" in lines[-1]
    assert "best=1e-09, running=0, failed=0" in lines[-1]


def test_the_bar_of_several_objectives(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.Bar("a-study", shown=True) as bar:
        bar.update(stage(0))
        bar.update(stage(4, best_values=[0.25, 1 / 3]))
    assert "best=(0.25, 0.333333), running=0, failed=0" in capsys.readouterr().err


def test_the_bar_of_a_batch_that_ends_early(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.Bar("a-study", shown=True) as bar:
        bar.update(stage(4, 1.0))
        bar.update(stage(5, 1.0, count_total=5, stop_reason="NoImprovement"))
    last = capsys.readouterr().err.strip().split("\r")[-1]
    assert "100%" in last
    assert "5/5" in last
    assert "ended=NoImprovement" in last


def test_no_bar_where_none_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.Bar("a-study", shown=False) as bar:
        bar.update(stage(4))
        with bar.aside():
            pass
    assert capsys.readouterr().err == ""


def test_who_wants_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal:
        def __init__(self, *, answer: bool) -> None:
            self.answer = answer

        def isatty(self) -> bool:
            return self.answer

    assert progress.bar_wanted(True) is True  # noqa: FBT003 - the user's own argument
    assert progress.bar_wanted(False) is False  # noqa: FBT003
    monkeypatch.setattr(sys, "stderr", Terminal(answer=True))
    assert progress.bar_wanted(None) is True
    monkeypatch.setattr(sys, "stderr", Terminal(answer=False))
    assert progress.bar_wanted(None) is False
    shell = SimpleNamespace()
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    assert progress.bar_wanted(None) is False
    shell.kernel = "a notebook's"
    assert progress.bar_wanted(None) is True
    monkeypatch.delitem(sys.modules, "IPython")
    monkeypatch.setattr(sys, "stderr", None)
    assert progress.bar_wanted(None) is False


# --------------------------------------------------------------------------------------- errors


def test_errors_are_told_once_and_not_without_end() -> None:
    errors = progress.Errors("the-batch")
    given = ["", "boom 0", "boom 0", *(f"boom {n}" for n in range(100))]
    told = [text for text in map(errors.news, given) if text is not None]
    assert told[:2] == [f"A trial of batch the-batch failed:\nboom {n}" for n in range(2)]
    assert len(told) == progress.MAX_ERRORS_TOLD + 1
    assert "further errors" in told[-1]


def test_the_watch_can_be_left(
    controller: aiauto.AIAutoController, calls: BlockingCalls, study_name: str
) -> None:
    study = controller.create_study(study_name)
    name = study.optimize(slow, n_trials=4, parallelism=1, wait_option="WAIT_NO")
    with contextlib.closing(watch(calls, name, 60)) as seen:
        assert next(seen).status
    assert study.wait(timeout=60)


# ----------------------------------------------------------------------------------------- GPUs


def test_a_batch_that_waits_for_gpus_says_so(
    gpus: Callable[..., None], own_server: EmbeddedServer, tmp_path: Path, study_name: str
) -> None:
    gpus("NVIDIA H100 80GB HBM3")
    own_server.data_dir.mkdir()
    own_server.start()
    gate = str(tmp_path / "gate")

    def gated(_trial: optuna.Trial) -> float:
        import os
        from pathlib import Path

        print("on", os.environ["CUDA_VISIBLE_DEVICES"])
        while not Path(gate).exists():
            time.sleep(0.05)
        return 1.0

    study = aiauto.AIAutoController().create_study(study_name)
    study.optimize(gated, 1, 1, use_gpu=True, wait_option="WAIT_NO")
    lines = study.logs(follow=True)
    assert str(next(lines)) == "on 0"
    second = study.optimize(gated, 1, 2, use_gpu=True, wait_option="WAIT_NO")

    told: queue.SimpleQueue[str] = queue.SimpleQueue()
    handler = logging.Handler()
    handler.emit = lambda record: told.put(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("aiauto").addHandler(handler)
    waiting = threading.Thread(target=study.wait, kwargs={"trialbatch_name": second, "timeout": 60})
    try:
        waiting.start()
        words = (
            "Waits for GPUs: each of its workers needs 1 GPU, and 1 of the 1 of this server are "
            "taken. More workers start as they get free."
        )
        assert told.get(timeout=60) == f"Batch {second}: {words}"
        command = [sys.executable, "-m", "aiauto", "batch", "show", second, "--json"]
        shown = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
        assert (shown["waits_for"], shown["workers"]) == (words, [])
        Path(gate).touch()
        waiting.join()
    finally:
        logging.getLogger("aiauto").removeHandler(handler)
    # The one GPU went from hand to hand.
    assert [line.trialbatch_name for line in lines if str(line) == "on 0"] == [second]
    assert study.get_status()["count_succeeded"] == 2
    assert told.empty()
