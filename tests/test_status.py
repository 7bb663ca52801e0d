"""What the server answers becomes what a user reads."""

from __future__ import annotations

import copy
import json
import math
import pickle
import pprint
from typing import Any

from aiauto_gen.aiauto import v1

from aiauto.status import study_status, trial_value


def batch(name: str, **changed: Any) -> v1.TrialBatchStatus:
    return v1.TrialBatchStatus(trialbatch_name=name, phase="Running", **changed)


def degraded(time: str, message: str = "") -> v1.Condition:
    return v1.Condition(
        type="TRIAL_BATCH_CONDITION_DEGRADED",
        status="True",
        message=message,
        last_transition_time=time,
    )


def answer(*batches: v1.TrialBatchStatus) -> v1.GetStatusResponse:
    return v1.GetStatusResponse(
        study_name="s",
        trialbatches={one.trialbatch_name: one for one in batches},
        dashboard_url="http://here/dashboard",
        updated_at="2025-09-01T11:31:49.375Z",
    )


def test_counts_are_sums_over_the_batches() -> None:
    first = batch(
        "a",
        count_active=1,
        count_succeeded=2,
        count_pruned=3,
        count_failed=4,
        count_total=10,
        count_completed=9,
    )
    second = batch("b", count_succeeded=5, count_total=5, count_completed=5)
    status = study_status(answer(first, second))
    assert {**status, "trialbatches": None} == {
        "study_name": "s",
        "count_active": 1,
        "count_succeeded": 7,
        "count_pruned": 3,
        "count_failed": 4,
        "count_total": 15,
        "count_completed": 14,
        "dashboard_url": "http://here/dashboard",
        "last_error": "",
        "updated_at": "2025-09-01T11:31:49.375Z",
        "trialbatches": None,
    }
    assert list(status["trialbatches"]) == ["a", "b"]
    assert status["trialbatches"]["a"]["count_total"] == 10
    assert status["trialbatches"]["a"]["stop_reason"] == ""


def test_it_is_an_ordinary_dict() -> None:
    status = study_status(answer(batch("a", count_total=1, stop_reason="Timeout")))
    assert list(status)[:10] == [
        "study_name",
        "count_active",
        "count_succeeded",
        "count_pruned",
        "count_failed",
        "count_total",
        "count_completed",
        "dashboard_url",
        "last_error",
        "updated_at",
    ]
    plain = dict(status)
    assert isinstance(status, dict)
    assert status == plain
    assert repr(status) == repr(plain)
    assert json.loads(json.dumps(status)) == plain
    assert pickle.loads(pickle.dumps(status)) == copy.deepcopy(status) == plain
    assert pprint.pformat(status) == pprint.pformat(plain)
    assert status["trialbatches"]["a"]["stop_reason"] == "Timeout"


def test_the_newest_error_counts() -> None:
    old = batch("a", last_error="old", conditions=[degraded("2025-01-01T00:00:00.000Z")])
    new = batch("b", last_error="new", conditions=[degraded("2025-01-02T00:00:00.000Z")])
    fine = batch("c")
    assert study_status(answer(old, new, fine))["last_error"] == "new"
    assert study_status(answer(new, old, fine))["last_error"] == "new"
    assert study_status(answer(fine))["last_error"] == ""


def test_without_times_the_newest_batch_counts() -> None:
    status = study_status(answer(batch("a", last_error="one"), batch("b", last_error="two")))
    assert status["last_error"] == "two"


def test_a_server_of_the_hosted_schema_tells_errors_by_a_condition() -> None:
    only = batch("a", conditions=[degraded("2025-01-01T00:00:00.000Z", "no such image")])
    status = study_status(answer(only))
    assert status["last_error"] == status["trialbatches"]["a"]["last_error"] == "no such image"
    assert status["trialbatches"]["a"]["conditions"] == [
        {
            "type": "TRIAL_BATCH_CONDITION_DEGRADED",
            "status": "True",
            "reason": "",
            "message": "no such image",
            "last_transition_time": "2025-01-01T00:00:00.000Z",
        }
    ]


def test_trials_are_listed_where_they_were_asked_for() -> None:
    trials = {
        "w-0": v1.TrialInfo(trial_number=0, state="COMPLETE", pod_name="w", value=0.5),
        "w-1": v1.TrialInfo(
            trial_number=1, state="FAIL", pod_name="w", error="boom", reason="Error"
        ),
        "w-2": v1.TrialInfo(trial_number=2, state="COMPLETE", value=1.0, values=[1.0, 2.0]),
    }
    only = batch("a", completed_trials=trials)
    assert "completed_trials" not in study_status(answer(only))["trialbatches"]["a"]
    listed = study_status(answer(only), include_trials=True)["trialbatches"]["a"]
    told = listed["completed_trials"]
    assert told["w-0"] == {
        "trialNumber": 0,
        "state": "COMPLETE",
        "podName": "w",
        "value": 0.5,
        "values": [0.5],
        "userAttrs": {},
        "artifactRemoved": False,
        "startTime": "",
        "endTime": "",
        "valueSpecial": "",
        "error": "",
        "reason": "",
    }
    assert (told["w-1"]["value"], told["w-1"]["values"]) == (None, [])
    assert (told["w-1"]["error"], told["w-1"]["reason"]) == ("boom", "Error")
    assert told["w-2"]["values"] == [1.0, 2.0]


def test_special_values() -> None:
    assert trial_value(v1.TrialInfo(state="COMPLETE", value_special="-inf")) == -math.inf
    assert math.isnan(trial_value(v1.TrialInfo(state="COMPLETE", value_special="nan")) or 0)
