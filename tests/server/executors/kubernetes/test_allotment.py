"""How workers are shared out over GPU models."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aiauto.server.executors.kubernetes.allotment import allot


def test_in_proportion_to_trials() -> None:
    assert allot(4, {"": 10}) == {"": 4}
    assert allot(4, {"a": 30, "b": 10}) == {"a": 3, "b": 1}
    assert allot(8, {"a": 2, "b": 3}) == {"a": 2, "b": 3}
    assert allot(1, {"a": 1, "b": 5}) == {"b": 1}
    assert allot(0, {"a": 1}) == {}
    assert allot(4, {"a": 0}) == {}


@given(
    st.integers(min_value=-1, max_value=40),
    st.dictionaries(st.sampled_from("abcdef"), st.integers(min_value=0, max_value=50)),
)
def test_all_are_given_and_none_is_idle(workers: int, remaining: dict[str, int]) -> None:
    given_out = allot(workers, remaining)
    assert all(1 <= count <= remaining[share] for share, count in given_out.items())
    assert sum(given_out.values()) == min(max(workers, 0), sum(remaining.values()))
