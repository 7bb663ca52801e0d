"""Artifacts: of trials that were asked for, of objectives on real workers, and which are kept."""

from __future__ import annotations

import io
import os
import pickle
import time
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from aiauto_gen.aiauto import v1
from optuna.artifacts import download_artifact, get_all_artifact_meta, upload_artifact
from optuna.artifacts.exceptions import ArtifactNotFound

import aiauto

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def study(controller: aiauto.AIAutoController, study_name: str) -> aiauto.StudyWrapper:
    return controller.create_study(study_name)


@pytest.fixture
def store(controller: aiauto.AIAutoController) -> aiauto.ArtifactStore:
    return controller.get_artifact_store()


def trials_by_artifact(study: aiauto.StudyWrapper) -> dict[int, bool]:
    """Which trials have ended, and whether their artifacts are gone, as the status tells it."""
    batches = study.get_status(include_trials=True)["trialbatches"].values()
    return {
        trial["trialNumber"]: trial["artifactRemoved"]
        for batch in batches
        for trial in batch.get("completed_trials", {}).values()
    }


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_with_a_trial_that_was_asked_for(
    controller: aiauto.AIAutoController, study: aiauto.StudyWrapper, tmp_path: Path
) -> None:
    local = study.get_study()
    trial = local.ask()
    content = os.urandom(100_000)
    (tmp_path / "model.png").write_bytes(content)
    first = controller.upload_artifact(trial, str(tmp_path / "model.png"))
    (tmp_path / "notes.tar.gz").write_bytes(b"notes")
    second = controller.upload_artifact(trial, tmp_path / "notes.tar.gz")
    local.tell(trial, 1.0)
    assert local.trials[0].user_attrs["artifact_id"] == second
    # What Optuna knows of them.
    metas = get_all_artifact_meta(local.trials[0], storage=controller.get_storage())
    assert [(one.artifact_id, one.filename, one.mimetype, one.encoding) for one in metas] == [
        (first, "model.png", "image/png", None),
        (second, "notes.tar.gz", "application/x-tar", "gzip"),
    ]
    back = tmp_path / "by-optuna"
    store = controller.get_artifact_store()
    download_artifact(artifact_store=store, artifact_id=first, file_path=str(back))
    assert back.read_bytes() == content
    assert controller.download_artifact(first, tmp_path / "back") == tmp_path / "back"
    assert (tmp_path / "back").read_bytes() == content
    with pytest.raises(FileExistsError) as exists:
        controller.download_artifact(second, tmp_path / "back")
    assert isinstance(exists.value, aiauto.ArgumentError)
    controller.download_artifact(second, tmp_path / "back", overwrite=True)
    assert (tmp_path / "back").read_bytes() == b"notes"
    with pytest.raises(aiauto.NotFoundError, match="no file"):
        controller.download_artifact("gone", tmp_path / "new")
    with pytest.raises(aiauto.ArgumentFileNotFoundError, match="no folder"):
        controller.download_artifact(first, tmp_path / "gone" / "new")
    assert not (tmp_path / "new").exists()


def test_with_frozen_trials(
    controller: aiauto.AIAutoController, study: aiauto.StudyWrapper, tmp_path: Path
) -> None:
    local = study.get_study()
    trial = local.ask()
    (tmp_path / "file").write_text("x")
    running = local.get_trials()[0]
    artifact_id = controller.upload_artifact(running, tmp_path / "file")
    assert running.user_attrs["artifact_id"] == artifact_id
    assert local.trials[0].user_attrs["artifact_id"] == artifact_id
    local.tell(trial, 1.0)
    for ended in (local.trials[0], trial):
        with pytest.raises(aiauto.ArgumentValueError, match="trial 0 has ended"):
            controller.upload_artifact(ended, tmp_path / "file")


def test_what_can_not_be_uploaded(
    controller: aiauto.AIAutoController, study: aiauto.StudyWrapper, tmp_path: Path
) -> None:
    trial = study.get_study().ask()
    wrong: list[tuple[Any, Any, type[Exception]]] = [
        (trial, tmp_path / "gone", FileNotFoundError),
        (trial, str(tmp_path), ValueError),
        (trial, "a\0b", ValueError),
        (trial, b"bytes", TypeError),
        (5, str(tmp_path), TypeError),
    ]
    for given, path, error in wrong:
        with pytest.raises(error) as refused:
            controller.upload_artifact(given, path)
        assert isinstance(refused.value, aiauto.ArgumentError)


def test_the_store_is_one_of_optuna(
    store: aiauto.ArtifactStore, study: aiauto.StudyWrapper, tmp_path: Path
) -> None:
    local = study.get_study()
    (tmp_path / "of-study.txt").write_text("of the study")
    artifact_id = upload_artifact(
        artifact_store=store, file_path=str(tmp_path / "of-study.txt"), study_or_trial=local
    )
    assert [one.artifact_id for one in get_all_artifact_meta(local)] == [artifact_id]
    copied = pickle.loads(pickle.dumps(store))
    with copied.open_reader(artifact_id) as file:
        assert file.read(3) == b"of "
        file.seek(0)
        assert file.read() == b"of the study"
    store.remove(artifact_id)
    with pytest.raises(ArtifactNotFound):
        store.remove(artifact_id)
    with pytest.raises(ArtifactNotFound, match=artifact_id):
        store.open_reader(artifact_id)
    with pytest.raises(ValueError, match="path"):
        store.write("../x", io.BytesIO(b"x"))
    with pytest.raises(ValueError, match="its id"):
        store.write("a/b", io.BytesIO(b"x"))


def test_content_that_can_be_read_once(store: aiauto.ArtifactStore) -> None:
    read, write = os.pipe()
    with os.fdopen(read, "rb") as source, os.fdopen(write, "wb") as target:
        target.write(b"through a pipe")
        target.close()
        store.write("piped", source)
    from_here = io.BytesIO(b"not this, this")
    from_here.seek(10)
    store.write("from-here", from_here)
    with store.open_reader("piped") as file:
        assert file.read() == b"through a pipe"
    with store.open_reader("from-here") as file:
        assert file.read() == b"this"
    for artifact_id in ("piped", "from-here"):
        store.remove(artifact_id)


def test_the_best_of_a_batch_keep_theirs(
    controller: aiauto.AIAutoController,
    study: aiauto.StudyWrapper,
    store: aiauto.ArtifactStore,
) -> None:
    def objective(trial: optuna.Trial) -> float:
        from pathlib import Path

        value = trial.suggest_float("x", 0, 10)
        # As the released client's scripts do it, with whatever token.
        inside = aiauto.AIAutoController("<your-token-here>")
        path = Path(inside.get_artifact_tmp_dir()) / f"{trial.number}.txt"
        path.write_text(f"inside {value}")
        inside.upload_artifact(trial, str(path))
        # And with the controller that the function closes over.
        path.write_text(f"closed over {value}")
        artifact_id = controller.upload_artifact(trial, path)
        with store.open_reader(artifact_id) as file:
            assert file.read() == path.read_bytes()
        with pytest.raises(aiauto.PermissionDeniedError):
            store.remove(artifact_id)
        with pytest.raises(aiauto.AlreadyExistsError):
            store.write(artifact_id, io.BytesIO(b"another"))
        if trial.number == 0:
            raise optuna.TrialPruned
        return value

    for x in (0.0, 3.0, 1.0, 2.0):
        study.get_study().enqueue_trial({"x": x})
    study.optimize(
        objective, n_trials=4, parallelism=2, top_n_artifacts=2, wait_option="WAIT_ALL_TRIALS"
    )
    assert study.get_status()["last_error"] == ""
    local = study.get_study()
    best = sorted((trial for trial in local.trials if trial.value), key=lambda one: one.value or 0)
    kept = {trial.number for trial in best[:2]}
    wait_for(lambda: sum(trials_by_artifact(study).values()) == 2)
    assert {n for n, removed in trials_by_artifact(study).items() if not removed} == kept
    for trial in local.trials:
        metas = get_all_artifact_meta(trial, storage=controller.get_storage())
        assert len(metas) == 2
        for meta in metas:
            if trial.number in kept:
                with store.open_reader(meta.artifact_id) as file:
                    assert str(trial.params["x"]) in file.read().decode()
            else:
                with pytest.raises(ArtifactNotFound):
                    store.open_reader(meta.artifact_id)


def test_the_front_of_several_objectives_keeps_theirs(
    controller: aiauto.AIAutoController, study_name: str
) -> None:
    study = controller.create_study(study_name, directions=["minimize", "maximize"])

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        x, y = trial.suggest_int("x", 0, 9), trial.suggest_int("y", 0, 9)
        path = aiauto.tmp_cache_dir() / "artifact"
        path.write_text(f"{x} {y}")
        controller.upload_artifact(trial, path)
        return x, y

    for x, y in ((1, 1), (5, 5), (5, 4), (2, 1), (9, 9)):
        study.get_study().enqueue_trial({"x": x, "y": y})
    study.optimize(
        objective, n_trials=5, parallelism=1, top_n_artifacts=3, wait_option="WAIT_ALL_TRIALS"
    )
    wait_for(lambda: sum(trials_by_artifact(study).values()) == 2)
    assert [n for n, removed in trials_by_artifact(study).items() if not removed] == [0, 1, 4]


def test_a_failed_trial_keeps_its_own_only_where_there_is_room(
    controller: aiauto.AIAutoController, study: aiauto.StudyWrapper
) -> None:
    def objective(trial: optuna.Trial) -> float:
        path = aiauto.tmp_cache_dir() / "artifact"
        path.write_text("x")
        controller.upload_artifact(trial, path)
        if trial.number == 0:
            raise RuntimeError("it had to be")
        return 1.0

    study.optimize(
        objective, n_trials=2, parallelism=1, top_n_artifacts=1, wait_option="WAIT_ALL_TRIALS"
    )
    wait_for(lambda: trials_by_artifact(study) == {0: True, 1: False})


def test_a_deleted_study_takes_its_artifacts_along(
    controller: aiauto.AIAutoController,
    study: aiauto.StudyWrapper,
    store: aiauto.ArtifactStore,
    study_name: str,
    tmp_path: Path,
) -> None:
    local = study.get_study()
    ids: list[str] = []
    for number in range(2):
        trial = local.ask()
        (tmp_path / "file").write_text(str(number))
        ids.append(controller.upload_artifact(trial, tmp_path / "file"))
        local.tell(trial, 1.0)
    of_study = upload_artifact(
        artifact_store=store, file_path=str(tmp_path / "file"), study_or_trial=local
    )
    # A copy of a study has the artifacts of its original.
    copy = optuna.create_study(study_name=f"{study_name}-copy", storage=controller.get_storage())
    copy.add_trial(local.trials[0])
    service = controller._connection.service
    service.delete_study(v1.DeleteStudyRequest(name=study_name))
    for gone in (ids[1], of_study):
        with pytest.raises(ArtifactNotFound):
            store.open_reader(gone)
    with store.open_reader(ids[0]) as file:
        assert file.read() == b"0"
    service.delete_study(v1.DeleteStudyRequest(name=f"{study_name}-copy"))
    with pytest.raises(ArtifactNotFound):
        store.open_reader(ids[0])
