"""What has been found: studies, batches, and their way elsewhere."""

from __future__ import annotations

import csv
import datetime
import io
import json
import os
from typing import TYPE_CHECKING, Any

import optuna
import pytest

from aiauto.cli import records
from aiauto.cli.output import jsonable
from tests.small_disk import small_disk

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    import aiauto
    from tests.cli.conftest import Aiauto

COUNTS = {
    f"count_{one}" for one in ("total", "active", "succeeded", "pruned", "failed", "completed")
}


def by_state(**counts: int) -> dict[str, int]:
    """How many trials there are in each state."""
    return dict.fromkeys(("waiting", "running", "complete", "pruned", "fail"), 0) | counts


def test_the_shapes_of_studies(cli: Aiauto, done: aiauto.StudyWrapper) -> None:
    listed = {one["study_name"]: one for one in cli.json("study", "list")}[done.study_name]
    assert listed.keys() == {"study_name", "directions", "phase", "created_at", "trials"} | COUNTS
    assert listed["directions"] == ["minimize"]
    assert listed["count_succeeded"] == listed["count_total"] == 3
    shown = cli.json("study", "show", done.study_name)
    assert shown["count_succeeded"] == 3
    assert shown.keys() == done.get_status().keys() | {"trials"}
    assert shown["trials"] == listed["trials"] == by_state(complete=3)
    trials = cli.json("study", "trials", done.study_name)
    assert [tuple(one) for one in trials] == 3 * [records.TRIAL_COLUMNS]
    assert trials[0]["values"] == done.trials[0].values
    assert trials[-1:] == cli.json("study", "trials", done.study_name, "--last", 1)
    assert cli.json("study", "trials", done.study_name, "--state", "fail") == []
    best = cli.json("study", "best", done.study_name)
    assert [one["values"] for one in best] == [[done.best_value]]


def test_the_best_of_several_objectives(
    cli: Aiauto, controller: aiauto.AIAutoController, study_name: str
) -> None:
    study = controller.create_study(study_name, directions=["minimize", "maximize"]).get_study()
    error = cli("study", "best", study_name, code=4)
    assert error == f"No trial of study {study_name!r} has returned a value yet.\n"
    for values in ([0.0, 1.0], [2.0, 0.5], [1.0, 2.0]):
        study.add_trial(optuna.trial.create_trial(values=values))
    study.add_trial(optuna.trial.create_trial(state=optuna.trial.TrialState.FAIL))
    best = cli.json("study", "best", study_name)
    assert {one["number"]: one["values"] for one in best} == {0: [0.0, 1.0], 2: [1.0, 2.0]}
    assert [tuple(one) for one in best] == 2 * [records.TRIAL_COLUMNS]
    header, *rows = [line.split("\t") for line in cli("study", "best", study_name).splitlines()]
    assert header == ["number", "values", "params"]
    assert sorted(rows) == [["0", "0.0, 1.0", ""], ["2", "1.0, 2.0", ""]]

    # Which trials, by their states.
    def numbers(*states: str) -> list[int]:
        options = [word for state in states for word in ("--state", state)]
        return [one["number"] for one in cli.json("study", "trials", study_name, *options)]

    assert numbers("complete") == [0, 1, 2]
    assert numbers("FAIL", "pruned") == [3]
    assert numbers("complete", "fail") == [0, 1, 2, 3]
    error = cli("study", "trials", study_name, "--state", "done", code=2)
    assert "done: use complete, pruned, fail, running, waiting." in " ".join(error.split())


def test_of_equal_trials_the_first_is_best(
    cli: Aiauto, controller: aiauto.AIAutoController, study_name: str
) -> None:
    study = controller.create_study(study_name, direction="maximize").get_study()
    study.add_trials([optuna.trial.create_trial(value=value) for value in (1.0, 2.0, 2.0)])
    assert [one["number"] for one in cli.json("study", "best", study_name)] == [1]


@pytest.mark.once
def test_trials_count_whoever_ran_them(
    cli: Aiauto, controller: aiauto.AIAutoController, study_name: str
) -> None:
    """Those that were copied, those of a batch, and those that a program asks for and tells."""

    def told() -> tuple[str, str, dict[str, int]]:
        (listed,) = (one for one in cli.json("study", "list") if one["study_name"] == study_name)
        assert cli.json("study", "show", study_name)["trials"] == listed["trials"]
        lines = [line.split("\t") for line in cli("study", "show", study_name).splitlines()]
        facts = {line[0]: line[1] for line in lines}
        assert facts["trials"] == str(sum(listed["trials"].values()))
        row = next(
            cells
            for line in cli("study", "list").splitlines()
            if (cells := line.split("\t"))[0] == study_name
        )
        assert row[3:5] == [facts["trials"], facts["in batches"]]
        return listed["phase"], facts["in batches"], listed["trials"]

    in_memory = optuna.storages.InMemoryStorage()
    here = optuna.create_study(study_name=study_name, storage=in_memory)
    here.add_trials([optuna.trial.create_trial(value=1.0) for _ in range(2)])
    here.add_trial(optuna.trial.create_trial(state=optuna.trial.TrialState.FAIL))
    optuna.copy_study(
        from_study_name=study_name,
        from_storage=in_memory,
        to_storage=controller.get_storage(),
    )
    study = controller.create_study(study_name)
    assert told() == ("Succeeded", "", by_state(complete=2, fail=1))

    study.optimize(
        lambda trial: trial.suggest_float("x", 0, 1), n_trials=2, wait_option="WAIT_ALL_TRIALS"
    )
    assert told() == ("Succeeded", "2 of 2", by_state(complete=4, fail=1))

    of_optuna = study.get_study()
    of_optuna.tell(of_optuna.ask(), 0.5)
    of_optuna.tell(of_optuna.ask(), state=optuna.trial.TrialState.PRUNED)
    of_optuna.enqueue_trial({})
    mine = by_state(complete=5, pruned=1, fail=1)
    assert told() == ("Succeeded", "2 of 2", mine | {"waiting": 1})
    running = of_optuna.ask()
    assert told() == ("Running", "2 of 2", mine | {"running": 1})
    of_optuna.tell(running, 0.5)

    (batch,) = cli.json("batch", "list", "--study", study_name)
    cli("batch", "delete", batch["trialbatch_name"], "--yes")
    assert told() == ("Succeeded", "", mine | {"complete": 6})
    cli("study", "delete", study_name, "--yes")


def test_a_study_that_was_made_in_the_storage(
    cli: Aiauto, controller: aiauto.AIAutoController, study_name: str, tmp_path: Path
) -> None:
    storage = controller.get_storage()
    for name in (study_name, f"{study_name}-2", f"{study_name}-3"):
        study = optuna.create_study(study_name=name, storage=storage, direction="maximize")
        study.add_trial(optuna.trial.create_trial(value=1.0))
    shown = cli.json("study", "show", study_name)
    assert (shown["count_total"], shown["trials"]) == (0, by_state(complete=1))
    told = cli.json("study", "export", f"{study_name}-2", tmp_path / "trials.csv")
    assert told["trials"] == 1
    listed = {one["study_name"]: one for one in cli.json("study", "list")}
    assert listed[f"{study_name}-3"]["directions"] == ["maximize"]
    for name in (study_name, f"{study_name}-2", f"{study_name}-3"):
        cli("study", "delete", name, "--yes")
    assert not any(name.startswith(study_name) for name in optuna.get_all_study_names(storage))


def test_what_people_read(cli: Aiauto, done: aiauto.StudyWrapper) -> None:
    """Of a study, of a batch and of who they are: a fact a line."""

    def facts(*command: str) -> dict[str, str]:
        lines = [line.partition("\t") for line in cli(*command).splitlines()]
        assert all(tab for _, tab, _ in lines)
        return {name: value for name, _, value in lines}

    (batch,) = cli.json("batch", "list", "--study", done.study_name)
    name = batch["trialbatch_name"]
    study = facts("study", "show", done.study_name)
    assert list(study) == [
        "study",
        "trials",
        "in batches",
        "running",
        "succeeded",
        "pruned",
        "failed",
        "batches",
        "dashboard",
    ]
    assert (study["trials"], study["succeeded"], study["failed"]) == ("3", "3", "0")
    assert study["in batches"] == "3 of 3"
    assert study["batches"] == f"{name} (Succeeded)"
    shown = facts("batch", "show", name)
    assert list(shown) == [*records.BATCH_COLUMNS, "parallelism", "waits_for", "workers"]
    assert (shown["phase"], shown["count_succeeded"], shown["parallelism"]) == (
        "Succeeded",
        "3",
        "1",
    )
    worker = cli.json("batch", "show", name)["workers"][0]
    assert shown["workers"].startswith(f"{worker['name']} ({worker['phase']}, restarts: 0)")
    me, told = facts("whoami"), cli.json("whoami")
    assert list(me) == [
        *(key for key in told if key != "token"),
        *(f"token {key}" for key in told["token"]),
    ]
    assert (me["user"], me["admin"], me["base_url"]) == ("local", "yes", told["base_url"])
    assert me["token hint"] == told["token"]["hint"]


def test_the_shapes_of_batches(cli: Aiauto, done: aiauto.StudyWrapper) -> None:
    (batch,) = cli.json("batch", "list", "--study", done.study_name)
    assert tuple(batch) == records.BATCH_COLUMNS
    name = batch["trialbatch_name"]
    assert batch in cli.json("batch", "list")
    assert cli.json("batch", "show", name).items() >= batch.items()
    assert cli.json("batch", "wait", name) == batch
    assert "trial 1 tries" in cli("batch", "logs", name)
    line = json.loads(cli("batch", "logs", name, "--trial", 1, "--json"))
    assert line.keys() == {"text", "trial", "worker", "stream", "time", "trialbatch_name"}
    assert line["trial"] == 1


def test_lines_of_a_study(cli: Aiauto, done: aiauto.StudyWrapper) -> None:
    (batch,) = cli.json("batch", "list", "--study", done.study_name)
    printed = cli("study", "logs", done.study_name, "--follow")
    assert printed == cli("batch", "logs", batch["trialbatch_name"])
    assert [f"trial {number} tries" in printed for number in range(4)] == [True] * 3 + [False]
    line = json.loads(cli("study", "logs", done.study_name, "--trial", 1, "--json"))
    assert (line["trial"], line["trialbatch_name"]) == (1, batch["trialbatch_name"])
    assert "There is no study" in cli("study", "logs", "nowhere", code=4)
    cli("study", "logs", done.study_name, "--trial", -1, code=2)


def test_a_pipe_gets_plain_lines(
    started: Callable[..., subprocess.Popen[str]], done: aiauto.StudyWrapper
) -> None:
    process = started("study", "trials", done.study_name)
    out, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (0, "")
    header, *rows = [line.split("\t") for line in out.splitlines()]
    assert header == ["number", "state", "values", "params", "duration"]
    assert [row[0] for row in rows] == ["0", "1", "2"]
    assert [float(row[2]) for row in rows] == [one.value for one in done.trials]
    assert "\x1b" not in out


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_who_reads_the_pipe_has_seen_enough(
    cli: Aiauto, done: aiauto.StudyWrapper, options: tuple[str, ...]
) -> None:
    """As in `| head`, at the latest moment that it may be told of."""
    ours, theirs = os.pipe()
    os.close(ours)
    try:
        process = cli.start("study", "trials", done.study_name, *options, stdout=theirs)
    finally:
        os.close(theirs)
    _, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (1, "")


def test_files_of_trials(cli: Aiauto, done: aiauto.StudyWrapper, tmp_path: Path) -> None:
    rows = list(
        csv.DictReader(io.StringIO(cli("study", "export", done.study_name, "-", "--format", "csv")))
    )
    assert [float(row["params_x"]) for row in rows] == [one.params["x"] for one in done.trials]
    assert [float(row["value_0"]) for row in rows] == [one.value for one in done.trials]
    assert {row["state"] for row in rows} == {"COMPLETE"}
    assert [row["user_attrs_artifact_id"] != "" for row in rows] == [False, False, True]
    file = tmp_path / "trials.json"
    told = cli.json("study", "export", done.study_name, file)
    assert told == {"study_name": done.study_name, "trials": 3, "to": str(file)}
    assert json.loads(file.read_text()) == cli.json("study", "trials", done.study_name)
    assert "exists already" in cli("study", "export", done.study_name, file, code=1)
    file.write_text("changed", encoding="utf-8")
    cli("study", "export", done.study_name, file, "--overwrite")
    assert json.loads(file.read_text()) == cli.json("study", "trials", done.study_name)
    assert "--format" in cli("study", "export", done.study_name, tmp_path / "trials", code=2)


def test_a_full_disk_says_where_and_leaves_what_was_there(
    cli: Aiauto, done: aiauto.StudyWrapper, tmp_path: Path
) -> None:
    sent = tmp_path / "sent"
    sent.write_bytes(os.urandom(1 << 20))
    cli("cache", "upload", sent, "--to", "full")
    with small_disk(tmp_path / "disk", 1) as disk:
        trials, back = disk / "trials.csv", disk / "back"
        trials.write_text("old", encoding="utf-8")
        (disk / "ballast").write_bytes(bytes((1 << 20) - os.statvfs(disk).f_bsize))
        said = cli("study", "export", done.study_name, trials, "--overwrite", code=1)
        assert said == f"{trials}: No space left on device.\n"
        assert trials.read_text(encoding="utf-8") == "old"
        said = cli("cache", "download", "full/sent", back, code=1)
        assert said == f"{back}: No space left on device.\n"
        assert {one.name for one in disk.iterdir()} == {"trials.csv", "ballast"}
    # Other tests list what the server keeps.
    cli("cache", "delete", "full", "--yes")


def test_a_link_stays_one(cli: Aiauto, done: aiauto.StudyWrapper, tmp_path: Path) -> None:
    file, link = tmp_path / "trials.csv", tmp_path / "newest.csv"
    file.touch()
    link.symlink_to(file)
    cli("study", "export", done.study_name, link, "--overwrite")
    assert link.is_symlink()
    assert file.read_text(encoding="utf-8").startswith("number,")


def test_what_is_no_text_is_spelled(
    cli: Aiauto, controller: aiauto.AIAutoController, study_name: str, tmp_path: Path
) -> None:
    """Python lets halves of surrogate pairs stand in text, which no encoding has."""
    study = controller.create_study(study_name).get_study()
    trial = study.ask()
    trial.set_user_attr("file", "caf\udce9 한")
    study.tell(trial, 1.0)

    def printed(*arguments: object) -> str:
        process = cli.start(*arguments, PYTHONIOENCODING="ascii")
        output, error = process.communicate(timeout=60)
        assert (process.returncode, error) == (0, "")
        assert output.isascii()
        return output

    for text in (
        cli("study", "export", study_name, "-", "--format", "json"),
        printed("study", "export", study_name, "-", "--format", "json"),
        printed("study", "trials", study_name, "--json"),
    ):
        assert json.loads(text)[0]["user_attrs"]["file"] == "caf\udce9 한"
    assert "caf\\udce9 \\ud55c" in printed("study", "export", study_name, "-", "--format", "csv")
    for name in ("trials.json", "trials.csv"):
        cli("study", "export", study_name, tmp_path / name)
        assert "caf\\udce9" in (tmp_path / name).read_text(encoding="utf-8")


def test_the_columns_of_a_file(
    cli: Aiauto, controller: aiauto.AIAutoController, study_name: str
) -> None:
    """One for each value, parameter and attribute that any trial has, empty where one has none."""
    study = controller.create_study(study_name, directions=["minimize", "maximize"]).get_study()
    start = datetime.datetime(2026, 1, 2, 3, 4, 5)  # noqa: DTZ001 - as Optuna has them
    units = optuna.distributions.IntDistribution(1, 512)
    names = optuna.distributions.CategoricalDistribution(("adam", "sgd, with a comma"))

    def add(**given: Any) -> None:
        trial = optuna.trial.create_trial(**given)
        trial.datetime_start = start
        trial.datetime_complete = start + datetime.timedelta(seconds=1.5)
        study.add_trial(trial)

    add(
        values=[0.5, 102.5],
        params={"units": 16},
        distributions={"units": units},
        user_attrs={"note": "the first"},
    )
    add(
        values=[1.5, 1e-9],
        params={"name": "sgd, with a comma"},
        distributions={"name": names},
        user_attrs={"epochs": 3, "note": 'says "so"\nand so'},
    )
    add(state=optuna.trial.TrialState.FAIL, params={"units": 2}, distributions={"units": units})

    text = cli("study", "export", study_name, "-", "--format", "csv")
    header, *rows = list(csv.reader(io.StringIO(text)))
    time, ended = "2026-01-02T03:04:05", "2026-01-02T03:04:06.500000"
    expected = {
        "number": ["0", "1", "2"],
        "state": ["COMPLETE", "COMPLETE", "FAIL"],
        "value_0": ["0.5", "1.5", ""],
        "value_1": ["102.5", "1e-09", ""],
        "params_units": ["16", "", "2"],
        "params_name": ["", "sgd, with a comma", ""],
        "datetime_start": [time, time, time],
        "datetime_complete": [ended, ended, ended],
        "duration": ["1.5", "1.5", "1.5"],
        "user_attrs_note": ["the first", 'says "so"\nand so', ""],
        "user_attrs_epochs": ["", "3", ""],
    }
    assert header[:6] == list(expected)[:6]
    assert {name: [row[at] for row in rows] for at, name in enumerate(header)} == expected


def test_another_optuna_storage(cli: Aiauto, done: aiauto.StudyWrapper, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'copy.db'}"
    cli("study", "export", done.study_name, url, "--to-study", "copied")
    storage = optuna.storages.RDBStorage(url)
    copied = optuna.load_study(study_name="copied", storage=storage)
    assert [one.params for one in copied.trials] == [one.params for one in done.trials]
    assert copied.best_value == done.best_value
    storage.remove_session()
    storage.engine.dispose()
    assert "--to-study" in cli(
        "study", "export", done.study_name, url, "--to-study", "copied", code=1
    )


def test_deleting_asks_first(
    cli: Aiauto, controller: aiauto.AIAutoController, study_name: str
) -> None:
    controller.create_study(study_name)
    assert "--yes" in cli("study", "delete", study_name, code=2)
    assert study_name in cli("study", "list")
    assert cli.json("study", "delete", study_name, "--yes") == {"deleted": study_name}
    assert "There is no study" in cli("study", "show", study_name, code=4)


def test_files(cli: Aiauto, done: aiauto.StudyWrapper, tmp_path: Path) -> None:
    (kept,) = cli.json("artifact", "list", done.study_name)
    assert kept.keys() == {"artifact_id", "trial_number", "filename", "size", "modified"}
    assert (kept["trial_number"], kept["filename"], kept["size"]) == (2, "note.txt", 4)
    target = tmp_path / "note.txt"
    assert cli.json("artifact", "download", kept["artifact_id"], target) == {"file": str(target)}
    assert target.read_text() == "kept"
    target.write_text("changed", encoding="utf-8")
    assert "overwrite" in cli("artifact", "download", kept["artifact_id"], target, code=2)
    assert target.read_text() == "changed"
    cli("artifact", "download", kept["artifact_id"], target, "--overwrite")
    assert target.read_text() == "kept"
    cli("artifact", "download", "nothing", tmp_path / "nothing", code=4)

    assert cli.json("cache", "upload", target, "--to", "cli") == {"uploaded_files": ["note.txt"]}
    names = [one["name"] for one in cli.json("cache", "list")]
    assert "cli/note.txt" in names
    cli("cache", "download", "cli/note.txt", tmp_path / "back.txt")
    back = tmp_path / "back.txt"
    assert back.read_text() == "kept"
    back.write_text("changed", encoding="utf-8")
    assert "overwrite" in cli("cache", "download", "cli/note.txt", back, code=2)
    assert back.read_text() == "changed"
    cli("cache", "download", "cli/note.txt", back, "--overwrite")
    assert back.read_text() == "kept"
    assert cli.json("cache", "delete", "cli", "--yes") == {"deleted": "cli"}
    cli("cache", "delete", "cli", "--yes", code=4)


def test_what_json_does_not_have() -> None:
    given = {"a": [float("inf"), float("nan"), 1.5, None], 2: ("x", True)}
    assert jsonable(given) == {"a": ["inf", "nan", 1.5, None], "2": ["x", True]}
