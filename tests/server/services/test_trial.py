"""Trials, a page at a time, as the pages of the server ask for them; run by real workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import optuna
import pytest
from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1 import connect as stubs

import aiauto
from aiauto import connect, errors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiauto.testing import EmbeddedServer

ALL = aiauto.WaitOption.WAIT_ALL_TRIALS


class Asker:
    """Asks the shared server for lists."""

    def __init__(self, transport: connect.SyncTransport) -> None:
        self.service = stubs.AIAutoServiceClientSync(transport)
        self._trials = stubs.TrialServiceClientSync(transport)

    def page(self, **given: Any) -> v1.ListTrialsResponse:
        return self._trials.list_trials(v1.ListTrialsRequest(**given))

    def trials(self, **given: Any) -> list[v1.TrialDetail]:
        return self.page(**given).trials

    def study(self, name: str, *, best: bool = True) -> v1.StudyInfo:
        request = v1.ListStudiesRequest(study_name=name, include_best=best)
        (found,) = self.service.list_studies(request).studies
        return found


@pytest.fixture
def asker(server: EmbeddedServer) -> Iterator[Asker]:
    with connect.SyncTransport(server.url, token=server.token) as transport:
        yield Asker(transport)


def told(detail: v1.TrialDetail) -> tuple[int, str]:
    assert detail.trial
    return detail.trial.trial_number, detail.trial.state


def mixed(trial: optuna.Trial) -> float:
    x = trial.suggest_float("x", 0, 1)
    kind = trial.suggest_categorical("kind", ["one", "two"])
    trial.set_user_attr("long", "x" * 3000)
    trial.set_user_attr("kind", kind)
    if trial.number == 1:
        trial.report(x, 0)
        raise optuna.TrialPruned
    if trial.number == 2:
        message = "not this one"
        raise ValueError(message)
    return float(trial.number)


def test_of_a_study_and_of_a_batch(
    controller: aiauto.AIAutoController, asker: Asker, study_name: str
) -> None:
    study = controller.create_study(study_name, direction="maximize")
    batch = study.optimize(mixed, n_trials=4, parallelism=1, wait_option=ALL)
    by_hand = study.get_study().ask()

    ended = [(3, "COMPLETE"), (2, "FAIL"), (1, "PRUNED"), (0, "COMPLETE")]
    answer = asker.page(study_name=study_name)
    assert [told(one) for one in answer.trials] == [(4, "RUNNING"), *ended]
    assert answer.study_id == study.get_study()._study_id
    assert [told(one) for one in asker.trials(trialbatch_name=batch)] == ended
    assert answer.trials[1:] == asker.trials(trialbatch_name=batch)

    asked, _, failed, pruned, first = answer.trials
    assert (asked.trialbatch_name, asked.attempt) == ("", 0)
    assert asked.trial_id == by_hand._trial_id
    assert (failed.trialbatch_name, failed.attempt, failed.retried) == (batch, 1, False)
    assert failed.trial
    assert "ValueError: not this one" in failed.trial.error
    assert failed.trial.reason == "Error"
    assert failed.trial.pod_name.startswith(batch)
    assert pruned.trial
    assert len(pruned.trial.values) == 1
    assert first.trial
    assert first.trial.end_time > first.trial.start_time
    params = study.get_study().trials[0].params
    assert first.params == {"x": repr(params["x"]), "kind": f'"{params["kind"]}"'}
    # What is for programs is left out.
    assert "kind" in first.trial.user_attrs
    assert "long" not in first.trial.user_attrs


def test_page_by_page_and_by_state(
    controller: aiauto.AIAutoController, asker: Asker, study_name: str
) -> None:
    study = controller.create_study(study_name)
    batch = study.optimize(mixed, n_trials=5, parallelism=1, wait_option=ALL)
    for of in ({"study_name": study_name}, {"trialbatch_name": batch}):
        numbers: list[int] = []
        token = ""
        while True:
            answer = asker.page(**of, page_size=2, page_token=token)
            numbers.append(-1)
            numbers += [told(one)[0] for one in answer.trials]
            token = answer.next_page_token
            if not token:
                break
        assert numbers == [-1, 4, 3, -1, 2, 1, -1, 0]
        complete = asker.page(**of, states=["COMPLETE"], page_size=2)
        assert [told(one)[0] for one in complete.trials] == [4, 3]
        rest = asker.page(
            **of, states=["COMPLETE"], page_size=2, page_token=complete.next_page_token
        )
        assert [told(one)[0] for one in rest.trials] == [0]
        assert rest.next_page_token == ""
        others = asker.trials(**of, states=["PRUNED", "FAIL"])
        assert [told(one)[0] for one in others] == [2, 1]
        assert asker.trials(**of, states=["WAITING"]) == []


def flaky(trial: optuna.Trial) -> float:
    x = trial.suggest_float("x", 0, 1)
    if trial.number == 0:
        message = "once"
        raise OSError(message)
    return x


def test_a_trial_that_was_run_again(
    controller: aiauto.AIAutoController, asker: Asker, study_name: str
) -> None:
    study = controller.create_study(study_name)
    batch = study.optimize(flaky, n_trials=1, parallelism=1, max_retries=1, wait_option=ALL)
    for of in ({"study_name": study_name}, {"trialbatch_name": batch}):
        second, first = asker.trials(**of)
        assert (told(second), second.attempt, second.retried) == ((1, "COMPLETE"), 2, False)
        assert (told(first), first.attempt, first.retried) == ((0, "FAIL"), 1, True)
        assert [told(one)[0] for one in asker.trials(**of, states=["FAIL"])] == [0]


def test_artifacts(controller: aiauto.AIAutoController, asker: Asker, study_name: str) -> None:
    study = controller.create_study(study_name)

    def leaving(trial: optuna.Trial) -> float:
        path = aiauto.tmp_cache_dir() / "model.txt"
        path.write_text("weights" * 100)
        controller.upload_artifact(trial, path)
        return trial.suggest_float("x", 0, 1)

    study.optimize(leaving, n_trials=1, parallelism=1, wait_option=ALL)
    (detail,) = asker.trials(study_name=study_name)
    (artifact,) = detail.artifacts
    assert (artifact.filename, artifact.size, artifact.removed) == ("model.txt", 700, False)
    assert artifact.mimetype == "text/plain"
    assert detail.trial
    assert not detail.trial.artifact_removed
    controller._connection.files.delete_file(
        v1.DeleteFileRequest(place=v1.FilePlace.ARTIFACTS, path=artifact.artifact_id)
    )
    (detail,) = asker.trials(study_name=study_name)
    assert (detail.artifacts[0].removed, detail.artifacts[0].size) == (True, 0)
    assert detail.trial
    assert detail.trial.artifact_removed


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({}, "study_name, trialbatch_name"),
        ({"study_name": "a", "trialbatch_name": "b"}, "study_name, trialbatch_name"),
        ({"study_name": "a", "page_size": 501}, "page_size"),
        ({"study_name": "a", "page_size": -1}, "page_size"),
        ({"study_name": "a", "states": ["DONE"]}, "states"),
        ({"study_name": "a", "page_token": "-1"}, "page_token"),
        ({"study_name": "a", "page_token": "9" * 19}, "page_token"),
    ],
)
def test_what_can_not_be_asked(asker: Asker, given: dict[str, Any], match: str) -> None:
    with pytest.raises(errors.InvalidArgumentError, match=match):
        asker.page(**given)


def test_what_is_not_there(controller: aiauto.AIAutoController, asker: Asker) -> None:
    for of in ({"study_name": "nothing"}, {"trialbatch_name": "nothing"}):
        with pytest.raises(errors.NotFoundError):
            asker.page(**of)
    assert asker.service.list_studies(v1.ListStudiesRequest(study_name="nothing")).studies == []


def test_a_study_tells_how_far_it_is(
    controller: aiauto.AIAutoController, asker: Asker, study_name: str
) -> None:
    study = controller.create_study(study_name, direction="maximize")
    assert asker.study(study_name).best_trial is None
    study.optimize(mixed, n_trials=4, parallelism=1, wait_option=ALL)
    found = asker.study(study_name)
    assert (found.count_succeeded, found.count_pruned, found.count_failed) == (2, 1, 1)
    assert (found.count_active, found.count_total) == (0, 4)
    assert found.best_trial
    assert (found.best_trial.trial_number, found.best_trial.value) == (3, 3.0)
    best = study.best_params
    assert found.best_params == {"x": repr(best["x"]), "kind": f'"{best["kind"]}"'}
    assert asker.study(study_name, best=False).best_trial is None


def test_a_study_tells_the_best_of_each_objective(
    controller: aiauto.AIAutoController, asker: Asker, study_name: str
) -> None:
    study = controller.create_study(study_name, directions=["minimize", "maximize"])
    local = study.get_study()
    for values in ((1.0, 2.0), (3.0, 4.0)):
        local.tell(local.ask(), values)
    found = asker.study(study_name)
    assert found.best_trial is None
    assert found.best_values == [1.0, 4.0]


def test_a_workspace_tells_what_it_holds(controller: aiauto.AIAutoController, asker: Asker) -> None:
    (found,) = asker.service.list_workspaces(v1.ListWorkspacesRequest()).workspaces
    assert found.artifact_store_limit == 2 * 1024**3
    assert found.shared_cache_limit == 500 * 1024**2
    assert found.shared_cache_dir == "/mnt/shared-cache"
    before = found.journal_length
    controller.create_study("one-entry-more")
    (found,) = asker.service.list_workspaces(v1.ListWorkspacesRequest()).workspaces
    assert found.journal_length == before + 1
