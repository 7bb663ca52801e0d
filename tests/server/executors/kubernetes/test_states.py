"""What users are told of Pods."""

from __future__ import annotations

from typing import Any

import pytest

from aiauto.server.executors.kubernetes.states import gone, state_of


def pod(phase: str, **status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "study-1-0-abcde"}, "status": {"phase": phase, **status}}


def container(**state: Any) -> dict[str, Any]:
    return {"containerStatuses": [{"name": "worker", "state": state}]}


def terminated(code: int, reason: str, message: str = "") -> dict[str, Any]:
    return container(terminated={"exitCode": code, "reason": reason, "message": message})


DISRUPTED = {
    "conditions": [
        {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "PreemptionByScheduler",
            "message": "default-scheduler: preempting to accommodate a higher priority pod",
        }
    ]
}
UNSCHEDULABLE = {
    "conditions": [
        {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
        }
    ]
}


def test_one_that_runs_has_nothing_to_say() -> None:
    state = state_of(pod("Running", **container(running={"startedAt": "2026-01-01T00:00:00Z"})))
    assert (state.ended, state.reason, state.message) == (False, "", "")


@pytest.mark.parametrize("reason", ["ContainerCreating", "PodInitializing"])
def test_starting_is_no_trouble(reason: str) -> None:
    assert state_of(pod("Pending", **container(waiting={"reason": reason}))).reason == ""


def test_the_schedulers_words_are_kept() -> None:
    state = state_of(pod("Pending", **UNSCHEDULABLE))
    assert state.reason == "Unschedulable"
    assert "Insufficient nvidia.com/gpu" in state.message
    assert not state.hopeless


@pytest.mark.parametrize("reason", ["ErrImagePull", "ImagePullBackOff", "InvalidImageName"])
def test_an_image_that_cannot_be_had_is_hopeless(reason: str) -> None:
    waiting = {"reason": reason, "message": "manifest unknown"}
    state = state_of(pod("Pending", **container(waiting=waiting)))
    assert state.hopeless
    assert state.reason == reason
    assert "manifest unknown" in state.message
    assert "runtime_image" in state.message


def test_out_of_memory_says_what_to_raise() -> None:
    state = state_of(pod("Failed", **terminated(137, "OOMKilled")))
    assert (state.ended, state.exit_code, state.reason) == (True, 137, "OOMKilled")
    assert "resources_limits['memory']" in state.message


def test_an_error_brings_its_last_words() -> None:
    state = state_of(pod("Failed", **terminated(1, "Error", "No module named 'nothing'\n")))
    assert state.exit_code == 1
    assert state.message.endswith("No module named 'nothing'")


@pytest.mark.parametrize(
    "failed",
    [
        pod("Failed", reason="Evicted", message="The node was low on resource: memory."),
        pod("Failed", **DISRUPTED, **terminated(143, "Error")),
    ],
)
def test_what_the_cluster_took_away_is_no_fault_of_the_worker(failed: dict[str, Any]) -> None:
    state = state_of(failed)
    assert state.ended
    assert state.reason == "Evicted"
    assert state.disrupted
    assert "node was low" in state.message or "preempting" in state.message


def test_a_pod_that_never_ran_has_failed_all_the_same() -> None:
    state = state_of(pod("Failed", reason="UnexpectedAdmissionError", message="no GPU left"))
    assert (state.ended, state.exit_code) == (True, None)
    assert (state.reason, state.message) == ("UnexpectedAdmissionError", "no GPU left")


def test_success_is_told_as_what_it_is() -> None:
    state = state_of(pod("Succeeded", **terminated(0, "Completed")))
    assert (state.ended, state.exit_code, state.reason) == (True, 0, "Completed")


def test_what_becomes_of_one_that_was_removed() -> None:
    assert gone(pod("Running")).reason == "Deleted"
    evicted = gone(pod("Running", **DISRUPTED))
    assert evicted.reason == "Evicted"
    assert "preempting" in evicted.message
