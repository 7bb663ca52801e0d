"""Errors that come of where an objective runs say what to do about them; others say no more."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

import pytest

import aiauto
from aiauto.folders import SHARED_CACHE_DIR_VARIABLE
from aiauto.runner import advice

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import optuna


def error_of(call: Callable[[], object]) -> BaseException:
    with pytest.raises(FileNotFoundError) as caught:
        call()
    return caught.value


def test_folders_that_only_a_cluster_mounts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount, own = tmp_path / "mnt" / "shared-cache", tmp_path / "own"
    own.mkdir()
    monkeypatch.setattr(
        advice, "MOUNTS", {mount: (SHARED_CACHE_DIR_VARIABLE, "aiauto.shared_cache_dir()")}
    )
    missing = error_of((mount / "datasets" / "train.csv").read_text)
    assert advice.advice(missing) == ""  # nor is this a worker
    monkeypatch.setenv(SHARED_CACHE_DIR_VARIABLE, str(own))
    told = advice.advice(missing)
    assert str(mount) in told
    assert "aiauto.shared_cache_dir()" in told
    assert "AIAUTO_LINK_MOUNTS=1" in told
    assert advice.advice(error_of((tmp_path / "train.csv").read_text)) == ""
    # Another folder of that name has other files.
    mount.mkdir(parents=True)
    assert advice.advice(error_of((mount / "train.csv").read_text)) == told
    mount.rmdir()
    mount.symlink_to(own)
    assert advice.advice(error_of((mount / "train.csv").read_text)) == ""


def test_what_a_user_reads(controller: aiauto.AIAutoController, study_name: str) -> None:
    def objective(trial: optuna.Trial) -> float:
        if trial.number == 0:
            importlib.import_module("no_such_package.part")
        importlib.import_module("optuna.no_such_part")
        return 1.0

    study = controller.create_study(study_name)
    with pytest.raises(aiauto.TrialBatchFailedError):
        study.optimize(objective, 2, 1, wait_option="WAIT_ALL_TRIALS")
    (batch,) = study.get_status(include_trials=True)["trialbatches"].values()
    ended = sorted(batch["completed_trials"].values(), key=lambda one: one["trialNumber"])
    first, second = (one["error"] for one in ended)
    assert "No module named 'no_such_package'\n\nThis worker does not have" in first
    assert "add the package to requirements_list" in first
    assert second.endswith("No module named 'optuna.no_such_part'")
