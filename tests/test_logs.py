"""What workers print, on the user's screen: live, whole, and by trial."""

from __future__ import annotations

import logging
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

import aiauto

if TYPE_CHECKING:
    from pathlib import Path

    import optuna

    from aiauto.testing import EmbeddedServer
    from tests.proxy import CuttingProxy

ALL = aiauto.WaitOption.WAIT_ALL_TRIALS


def talking(trial: optuna.Trial) -> float:
    print("out", trial.number)
    print("err", trial.number, file=sys.stderr)
    logging.getLogger("of.the.user").warning("warned %d", trial.number)
    if trial.number == 1:
        message = "told to the last line"
        raise ArithmeticError(message)
    return 1.0


@pytest.fixture
def study(controller: aiauto.AIAutoController, study_name: str) -> aiauto.StudyWrapper:
    return controller.create_study(study_name)


def test_a_line_prints_as_its_text() -> None:
    line = aiauto.LogLine(
        text="epoch 1", trial=3, worker="w", stream="stdout", time="now", trialbatch_name="b"
    )
    assert str(line) == f"{line}" == "epoch 1"
    assert "trial=3" in repr(line)


def test_what_was_printed(study: aiauto.StudyWrapper) -> None:
    assert list(study.logs(follow=True)) == []
    first = study.optimize(talking, 2, 1, wait_option="WAIT_NO")
    # To the last line of the last trial.
    lines = list(study.logs(follow=True))
    assert [(one.stream, one.text) for one in lines if one.trial == 0] == [
        ("stdout", "out 0"),
        ("stderr", "err 0"),
        ("stderr", "warned 0"),
    ]
    texts = [line.text for line in lines if line.trial == 1]
    assert texts[:2] == ["out 1", "err 1"]
    assert "Traceback (most recent call last):" in texts
    assert texts[-1] == "ArithmeticError: told to the last line"
    assert {line.trialbatch_name for line in lines} == {first}
    assert {line.worker for line in lines} == {study.trials[0].user_attrs["pod_name"]}
    assert all(line.time for line in lines)

    second = study.optimize(talking, 1, 1, wait_option=ALL)
    last = list(study.logs(2, follow=True))
    assert [line.text for line in last] == ["out 2", "err 2", "warned 2"]
    assert list(study.logs(trial=2, trialbatch_name=first)) == []
    assert list(study.logs(trialbatch_name=first)) == lines
    assert [line for line in study.logs() if line.trial is not None] == [*lines, *last]
    assert list(study.logs(trial=2, trialbatch_name=second)) == last


def test_bad_input_is_refused_at_once(study: aiauto.StudyWrapper) -> None:
    for trial, kind in (("1", TypeError), (-1, ValueError), (True, TypeError)):
        with pytest.raises(kind, match="trial") as caught:
            study.logs(trial)  # type: ignore[arg-type]
        assert isinstance(caught.value, aiauto.ArgumentError)
    with pytest.raises(aiauto.ArgumentTypeError, match="follow"):
        study.logs(follow="yes")  # type: ignore[arg-type]
    with pytest.raises(aiauto.NotFoundError, match="nowhere"):
        list(study.logs(trialbatch_name="nowhere"))


def test_lines_come_as_they_are_printed(study: aiauto.StudyWrapper, tmp_path: Path) -> None:
    go_on = str(tmp_path / "go-on")

    def objective(trial: optuna.Trial) -> float:
        from pathlib import Path

        print("begun", trial.number)
        while not Path(go_on).exists():
            time.sleep(0.05)
        print("ended", trial.number)
        return 1.0

    study.optimize(objective, 3, 1, wait_option="WAIT_NO")
    lines = study.logs(trial=0, follow=True)
    assert str(next(lines)) == "begun 0"
    # It waits for us, so that nothing but a live line can have come.
    assert study.get_status()["count_completed"] == 0
    (tmp_path / "go-on").touch()
    # One trial is followed to its own end.
    assert [line.text for line in lines] == ["ended 0"]
    assert study.wait(timeout=60)
    left = study.logs(follow=True)
    assert str(next(left)) == "begun 0"
    left.close()  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue]


def test_batches_are_followed_side_by_side(study: aiauto.StudyWrapper, tmp_path: Path) -> None:
    def start(name: str) -> str:
        gate = str(tmp_path / name)

        def objective(_trial: optuna.Trial) -> float:
            from pathlib import Path

            print(name, "begun")
            while not Path(gate).exists():
                time.sleep(0.05)
            print(name, "ended")
            return 1.0

        return study.optimize(objective, 1, 1, wait_option="WAIT_NO")

    batches = {name: start(name) for name in ("first", "second")}
    lines = study.logs(follow=True)
    assert {str(next(lines)), str(next(lines))} == {"first begun", "second begun"}
    # One that begins meanwhile is followed too, and the newest may end first.
    batches["third"] = start("third")
    assert str(next(lines)) == "third begun"
    for name in ("third", "first", "second"):
        (tmp_path / name).touch()
        line = next(lines)
        assert (str(line), line.trialbatch_name) == (f"{name} ended", batches[name])
    assert list(lines) == []

    kept = list(study.logs())
    assert [one.time for one in kept] == sorted(one.time for one in kept)
    assert [str(one) for one in kept[-3:]] == ["third ended", "first ended", "second ended"]
    third = list(study.logs(trialbatch_name=batches["third"]))
    assert [str(one) for one in third] == ["third begun", "third ended"]
    assert third == [one for one in kept if one.trialbatch_name == batches["third"]]


def test_broken_streams_go_on_where_they_were(
    server: EmbeddedServer, proxy: CuttingProxy, study_name: str
) -> None:
    def objective(trial: optuna.Trial) -> float:
        for step in range(40):
            print(trial.number, step)
            time.sleep(0.05)
        return 1.0

    study = aiauto.AIAutoController(server.token, proxy.url).create_study(study_name)
    batches = [study.optimize(objective, 1, 1, wait_option="WAIT_NO") for _ in range(2)]
    done = threading.Event()

    def cut() -> None:
        while not done.wait(0.4):
            proxy.cut()

    cutter = threading.Thread(target=cut)
    cutter.start()
    before = proxy.connections
    try:
        lines = list(study.logs(follow=True))
    finally:
        done.set()
        cutter.join()
    assert proxy.connections > before + 2
    texts = [[one.text for one in lines if one.trialbatch_name == name] for name in batches]
    assert sorted(texts) == [[f"{trial} {step}" for step in range(40)] for trial in range(2)]
