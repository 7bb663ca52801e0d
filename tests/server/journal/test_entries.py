"""What Optuna writes passes; what would stop anybody's replay does not."""

from __future__ import annotations

import json
import sys
from functools import partial
from typing import Any

import optuna
import pytest
from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    distribution_to_json,
)
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend

from aiauto.errors import InvalidArgumentError
from aiauto.server.journal import entries, state
from aiauto.server.journal.entries import MAX_ENTRY_BYTES, check, external_value
from aiauto.server.journal.ledger import Ledger


class Recorder(BaseJournalBackend):
    """A journal in memory, as text."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def read_logs(self, log_number_from: int) -> list[dict[str, Any]]:
        return [json.loads(text) for text in self.texts[log_number_from:]]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        self.texts += [json.dumps(log) for log in logs]


def everything() -> tuple[Recorder, JournalStorage]:
    """A journal with every operation in it, made by Optuna."""
    recorder = Recorder()
    storage = JournalStorage(recorder)

    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", -1, 1)
        trial.suggest_int("n", 1, 9, log=True)
        trial.suggest_categorical("c", ["a", None, 3, 1.5, True])
        trial.report(x, 0)
        trial.report(float("nan"), 1)
        trial.set_user_attr("text", "ü\n")
        if trial.number == 3:
            raise optuna.TrialPruned
        if trial.number == 4:
            message = "on purpose"
            raise ValueError(message)
        return x

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(storage=storage, study_name="one")
    study.set_user_attr("who", {"deep": [1, 2, {"er": None}]})
    study.enqueue_trial({"x": 0.5})
    study.optimize(objective, n_trials=8, catch=(ValueError,))
    study.add_trial(optuna.trial.create_trial(value=float("inf")))
    running = study.ask()
    storage.set_trial_system_attr(running._trial_id, "key", [1, "two"])
    storage.set_study_system_attr(study._study_id, "key", {"a": 1})
    other = optuna.create_study(
        storage=storage, study_name="two", directions=["minimize", "maximize"]
    )
    other.optimize(lambda trial: (trial.suggest_float("x", 0, 1), 1.0), n_trials=2)
    optuna.create_study(storage=storage, study_name="three")
    optuna.delete_study(study_name="three", storage=storage)
    optuna.create_study(storage=storage, study_name="four", direction="maximize").optimize(
        lambda trial: trial.suggest_float("x", 0, 1), n_trials=5
    )
    return recorder, storage


def test_what_optuna_writes_passes() -> None:
    recorder, _ = everything()
    codes = {check(text)["op_code"] for text in recorder.texts}
    assert codes == set(range(10))


def test_the_ledger_agrees_with_optuna() -> None:
    recorder, storage = everything()
    ledger = Ledger()
    for text in recorder.texts:
        ledger.apply(check(text))
    assert ledger.length == len(recorder.texts)
    studies = {study._study_id: study for study in storage.get_all_studies()}
    assert ledger.studies.keys() == studies.keys()
    for study_id, record in ledger.studies.items():
        assert record.name == studies[study_id].study_name
        assert record.directions == studies[study_id].directions
        trials = storage.get_all_trials(study_id)
        assert record.trial_ids == [trial._trial_id for trial in trials]
        assert [ledger.trials[one].state for one in record.trial_ids] == [t.state for t in trials]
        if len(record.directions) == 1:
            assert record.best_trial_id == storage.get_best_trial(study_id)._trial_id


FLOAT = distribution_to_json(FloatDistribution(0.0, 1.0))
CHOICE = distribution_to_json(CategoricalDistribution(["a", "b"]))
# Deeper than somebody can read who has much of the stack in use.
DEEP = f"{'[' * 200}{']' * 200}"
TIME = "2026-01-01T00:00:00+00:00"
ID = {"worker_id": "w"}


@pytest.mark.parametrize(
    "entry",
    [
        "not json",
        "[]",
        "1",
        '{"op_code": 4}\n',
        "[" * 100_000,
        {},
        {"op_code": "4", **ID},
        {"op_code": True, **ID},
        {"op_code": 99, **ID},
        {"op_code": 1, "study_id": 0},
        {"op_code": 0, "study_name": 5, "directions": [1], **ID},
        {"op_code": 0, "study_name": "x", "directions": [], **ID},
        {"op_code": 0, "study_name": "x", "directions": [7], **ID},
        {"op_code": 0, "study_name": "x" * 2000, "directions": [1], **ID},
        {"op_code": 2, "study_id": -1, "user_attr": {"a": 1}, **ID},
        {"op_code": 2, "study_id": 0, "user_attr": {}, **ID},
        {"op_code": 2, "study_id": 0, "user_attr": {"a": 1, "b": 2}, **ID},
        {"op_code": 3, "study_id": 0, "system_attr": [], **ID},
        {"op_code": 4, "study_id": 0, **ID},
        {"op_code": 4, "study_id": 0, "datetime_start": "yesterday", **ID},
        {"op_code": 4, "study_id": 0, "datetime_start": 12, **ID},
        # What some systems and versions of Python read, and others do not.
        {"op_code": 4, "study_id": 0, "datetime_start": "2026-11-29T12:00:00Z", **ID},
        {"op_code": 4, "study_id": 0, "datetime_start": "20261129T120000", **ID},
        {"op_code": 4, "study_id": 0, "datetime_start": "2026-11-29T25:00:00", **ID},
        {"op_code": 4, "study_id": 0, "datetime_start": "2026-11-29T24:00:00", **ID},
        {"op_code": 4, "study_id": 0, "datetime_start": "1969-12-31T12:00:00", **ID},
        {"op_code": 4, "study_id": 0, "datetime_start": "1970-01-01T00:00:00+09:00", **ID},
        {"op_code": 4, "study_id": 0, "datetime_start": "9999-12-31T23:59:59", **ID},
        {"op_code": 4, "study_id": 0, "datetime_start": None, "state": 17, **ID},
        {"op_code": 4, "study_id": 0, "datetime_start": None, "value": 1, "values": [1], **ID},
        {"op_code": 4, "study_id": 0, "datetime_start": None, "datetime_complete": None, **ID},
        {"op_code": 4, "study_id": 0, "datetime_start": None, "params": {"x": 1}, **ID},
        {"op_code": 4, "study_id": 0, "datetime_start": None, "distributions": {"x": "{}"}, **ID},
        {
            "op_code": 4,
            "study_id": 0,
            "datetime_start": None,
            "intermediate_values": {"a": 1},
            **ID,
        },
        {
            "op_code": 4,
            "study_id": 0,
            "datetime_start": None,
            "intermediate_values": {"1" * 5000: 1},
            **ID,
        },
        {"op_code": 4, "study_id": 0, "datetime_start": None, "user_attrs": 5, **ID},
        {"op_code": 4, "study_id": 0, "datetime_start": None, "values": "12", **ID},
        {
            "op_code": 5,
            "trial_id": 0,
            "param_name": "x",
            "param_value_internal": "a",
            "distribution": FLOAT,
            **ID,
        },
        {
            "op_code": 5,
            "trial_id": 0,
            "param_name": "x",
            "param_value_internal": 2.0,
            "distribution": CHOICE,
            **ID,
        },
        {
            "op_code": 5,
            "trial_id": 0,
            "param_name": "x",
            "param_value_internal": float("nan"),
            "distribution": CHOICE,
            **ID,
        },
        {
            "op_code": 5,
            "trial_id": 0,
            "param_name": "x",
            "param_value_internal": 0.5,
            "distribution": "{}",
            **ID,
        },
        {"op_code": 6, "trial_id": 0, "state": 1, "values": [1.0], **ID},
        {"op_code": 6, "trial_id": 0, "state": 1, "values": ["a"], "datetime_complete": TIME, **ID},
        {"op_code": 6, "trial_id": 0, "state": 0, "values": None, **ID},
        {"op_code": 6, "trial_id": 0, "state": 3, "datetime_complete": TIME, **ID},
        {"op_code": 6, "trial_id": 0, "state": 4, **ID},
        f'{{"op_code": 8, "trial_id": 0, "worker_id": "w", "user_attr": {{"a": {DEEP}, "a": 1}}}}',
        {
            "op_code": 5,
            "trial_id": 0,
            "param_name": "x",
            "param_value_internal": 0,
            "distribution": f'{{"type": "categorical", "choices": [{DEEP}]}}',
            **ID,
        },
        {
            "op_code": 6,
            "trial_id": 0.0,
            "state": 1,
            "values": [1.0],
            "datetime_complete": TIME,
            **ID,
        },
        {"op_code": 7, "trial_id": 0, "step": "1", "intermediate_value": 1.0, **ID},
        {"op_code": 7, "trial_id": 0, "step": 1, "intermediate_value": None, **ID},
        {"op_code": 8, "trial_id": 0, "user_attr": {"a": "x" * MAX_ENTRY_BYTES}, **ID},
        {"op_code": 9, "trial_id": 10**30, "system_attr": {"a": 1}, **ID},
    ],
)
def test_what_can_not_be_replayed_is_refused(entry: object) -> None:
    text = entry if isinstance(entry, str) else json.dumps(entry)
    with pytest.raises(InvalidArgumentError, match="can't be replayed"):
        check(text)


@pytest.mark.once
def test_a_number_that_only_this_python_reads(request: pytest.FixtureRequest) -> None:
    request.addfinalizer(partial(sys.set_int_max_str_digits, sys.get_int_max_str_digits()))
    sys.set_int_max_str_digits(0)
    entry: dict[str, Any] = {"op_code": 8, "trial_id": 0, **ID}
    parameter = {"op_code": 5, "trial_id": 0, "param_name": "x", "param_value_internal": 0, **ID}
    for value in (10**4299, "9" * 4301):
        assert check(json.dumps({**entry, "user_attr": {"a": value}}))
    choices = f'{{"type": "categorical", "choices": [{10**4300}]}}'
    for wrong in (
        {**entry, "user_attr": {"a": [10**4300]}},
        {**entry, "user_attr": {"a": -(10**4300)}},
        {**parameter, "distribution": choices},
    ):
        with pytest.raises(InvalidArgumentError, match="can't be replayed"):
            check(json.dumps(wrong))


@pytest.mark.once
def test_long_distributions_are_read_and_not_kept() -> None:
    kept = entries._kept_distribution.cache_info, state._compared_once.cache_info
    before = [one().currsize for one in kept]
    folded = state.State()
    entry = {"op_code": 0, "study_name": "x", "directions": [1], **ID}
    folded.apply([check(json.dumps(entry))])
    for trial_id, last in enumerate(["a", "b", "a"]):
        entry = {"op_code": 4, "study_id": 0, "datetime_start": None, **ID}
        folded.apply([check(json.dumps(entry))])
        choices = [*map(str, range(entries.MAX_KEPT_CHARACTERS)), last]
        entry = {
            "op_code": 5,
            "trial_id": trial_id,
            "param_name": "x",
            "param_value_internal": len(choices) - 1,
            "distribution": distribution_to_json(CategoricalDistribution(choices)),
            **ID,
        }
        folded.apply([check(json.dumps(entry))])
        assert external_value(entry) == last
    trials = list(map(json.loads, folded.entries()))[1:]
    assert ["x" in trial["params"] for trial in trials] == [True, False, True]
    assert [one().currsize for one in kept] == before
