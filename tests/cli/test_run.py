"""`aiauto run` and what follows a batch."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiauto_gen.aiauto import v1

from tests import terminal
from tests.cli.conftest import PROGRAM, SCRIPT

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    import aiauto
    from tests.cli.conftest import Aiauto


def test_a_file_is_run_and_the_study_gone_on_with(cli: Aiauto, study_name: str) -> None:
    place = f"{cli.script}:objective"
    first = cli.json("run", place, "--study", study_name, "-n", 2, "-d", "maximize")
    assert first.keys() == {"study_name", "trialbatch_name", "batch", "best"}
    assert first["study_name"] == study_name
    assert first["batch"]["count_succeeded"] == 2
    assert first["best"][0]["values"][0] >= 0
    again = json.loads(cli("run", place, "-s", study_name, "-n", 1, "-p", 1, "--json"))
    assert again["batch"]["count_total"] == 1
    assert [one["number"] for one in cli.json("study", "trials", study_name)] == [0, 1, 2]
    # A batch is deleted with its log, and its trials stay.
    batch = first["trialbatch_name"]
    assert "pass --yes" in cli("batch", "delete", batch, code=2)
    assert cli.json("batch", "delete", batch, "--yes") == {"deleted": batch}
    (left,) = cli.json("batch", "list", "--study", study_name)
    assert left["trialbatch_name"] == again["trialbatch_name"]
    assert [one["number"] for one in cli.json("study", "trials", study_name)] == [0, 1, 2]
    cli("batch", "delete", batch, "--yes", code=4)
    # It has a direction already.
    assert "maximize" in str(cli.json("study", "list"))
    assert cli("run", place, "-s", study_name, "-d", "minimize", code=1)


def test_a_batch_without_a_usable_trial_is_a_failure(cli: Aiauto, study_name: str) -> None:
    error = cli("run", f"{cli.script}:broken", "-s", study_name, "-n", 1, "-p", 1, code=1)
    assert "ended without one usable trial" in error
    assert "it is broken" in error or "ValueError" in error


def test_what_is_no_objective(cli: Aiauto) -> None:
    assert "no Python file" in cli("run", "nothing.py:objective", code=2)
    assert "has no 'nothing'" in cli("run", f"{cli.script}:nothing", code=2)
    assert "not a function" in cli("run", f"{cli.script}:threading", code=2)
    assert "--request" in cli("run", f"{cli.script}:objective", "--request", "cpu", code=2)
    cli.script.write_text("a = 1\nb = nothing\n", encoding="utf-8")
    error = cli("run", cli.script, code=1)
    assert "NameError: name 'nothing' is not defined (line 2)" in error


@pytest.mark.once
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("random.py", "the name of a module of Python, 'random'"),
        # Has no file of its own.
        ("sys.py", "the name of a module of Python, 'sys'"),
        ("typer.py", "the name of a module that aiauto uses, 'typer'"),
    ],
)
def test_a_file_that_would_be_taken_for_another_module(
    cli: Aiauto, tmp_path: Path, name: str, told: str
) -> None:
    before = sys.modules[Path(name).stem]
    file = tmp_path / name
    file.write_text(SCRIPT, encoding="utf-8")
    error = cli("run", f"{file}:objective", code=2)
    assert told in error
    assert error.rstrip().endswith("rename the file.")
    assert sys.modules[Path(name).stem] is before
    assert str(tmp_path) not in sys.path


def test_a_run_that_is_not_waited_for(
    cli: Aiauto, controller: aiauto.AIAutoController, study_name: str
) -> None:
    of_study = ("run", f"{cli.script}:objective", "--study", study_name, "--no-wait", "-p", 1)
    told = cli.json(*of_study, "-n", 2, "--timeout", 600, "--max-retries", 3)
    name = told["trialbatch_name"]
    assert told == {"study_name": study_name, "trialbatch_name": name}
    service = controller._connection.service
    batch = service.get_trial_batch(v1.GetTrialBatchRequest(name=name)).trial_batch
    assert batch
    assert batch.spec
    spec = batch.spec
    assert (spec.n_trials, spec.timeout_seconds, spec.max_retries) == (2, 600, 3)
    # Following ends with the batch.
    lines = cli("batch", "logs", "-f", name).splitlines()
    assert lines == ["trial 0 tries it", "trial 1 tries it"]
    assert cli.json("batch", "show", name)["phase"] == "Succeeded"
    # Without --json the name is all, for a script to take.
    (again,) = cli(*of_study, "-n", 1).splitlines()
    assert cli.json("batch", "wait", again)["count_succeeded"] == 1


def test_a_wait_that_is_too_short(cli: Aiauto, study_name: str) -> None:
    options = ("-s", study_name, "-n", 1, "-p", 1, "--wait-timeout", 0.1)
    error = cli("run", f"{cli.script}:for_ever", *options, code=1)
    (batch,) = cli.json("batch", "list", "--study", study_name)
    name = batch["trialbatch_name"]
    assert f"Batch {name} has not ended after 0.1 s. It runs on: `aiauto batch wait " in error
    assert batch["count_completed"] == 0
    cli("batch", "cancel", name)


def test_ctrl_c_under_the_bar(cli: Aiauto, study_name: str) -> None:
    """The terminal is left as it was found: what is said stands below the bar, and not in it."""
    shown = terminal.shown(
        [*PROGRAM, "run", f"{cli.script}:for_ever", "-s", study_name, "-n", "1", "-p", "1"],
        columns=100,
        lines=40,
        environment={**os.environ, **cli.environment},
        answers=[("| 0/1 [", "\x03")],
        code=130,
    )
    (batch,) = cli.json("batch", "list", "--study", study_name)
    cli("batch", "cancel", batch["trialbatch_name"])
    assert "Traceback" not in shown
    assert "KeyboardInterrupt" not in shown
    hidden, seen = (shown.rfind(f"\x1b[?25{sign}") for sign in "lh")
    assert hidden <= seen
    before, _, after = shown.partition(f"Batch {batch['trialbatch_name']} runs on.")
    assert before.endswith("\n")
    assert "0/1 [" in before
    assert "0/1 [" not in after
    assert shown.endswith("\n")


def test_ctrl_c_leaves_the_batch_running(
    cli: Aiauto, started: Callable[..., subprocess.Popen[str]], study_name: str
) -> None:
    place = f"{cli.script}:for_ever"
    run = started("run", place, "--study", study_name, "-n", 1, "-p", 1)
    assert run.stderr is not None
    assert "runs 1 trial." in run.stderr.readline()
    batch = cli.json("batch", "list", "--study", study_name)[0]["trialbatch_name"]
    logs = started("batch", "logs", "-f", batch)
    assert logs.stdout is not None
    assert logs.stdout.readline() == "it began\n"
    of_study = started("study", "logs", "-f", study_name)
    assert of_study.stdout is not None
    assert of_study.stdout.readline() == "it began\n"
    for process in (run, logs, of_study):
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
        assert process.returncode == 130, error
        assert "Traceback" not in error
        if process is of_study:
            assert f"What runs of study {study_name} runs on." in error
            assert f"aiauto study logs -f {study_name}" in error
        else:
            assert f"Batch {batch} runs on." in error
            assert f"aiauto batch cancel {batch}" in error
    assert cli.json("batch", "show", batch)["count_active"] == 1
    assert "has not ended after" in cli("batch", "wait", batch, "--timeout", 0.1, code=1)
    assert cli.json("batch", "cancel", batch) == {"cancelled": batch}
    ended = cli.json("batch", "show", batch)
    assert ended["stop_reason"] == "Cancelled"
    assert ended["workers"][0].keys() == {
        "name",
        "phase",
        "reason",
        "message",
        "restart_count",
        "node",
        "start_time",
    }
