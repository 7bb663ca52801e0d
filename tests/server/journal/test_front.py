"""The front of a study with several objectives, against its definition."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from optuna.study import StudyDirection

from aiauto.server.journal import front
from aiauto.server.journal.front import Front

MINIMIZE, MAXIMIZE = StudyDirection.MINIMIZE, StudyDirection.MAXIMIZE
# Few values, so that trials are often equal in one of them.
VALUE = st.sampled_from([-1.0, 0.0, 1.0, 2.0, float("inf"), float("-inf")])


@given(
    directions=st.lists(st.sampled_from([MINIMIZE, MAXIMIZE]), min_size=2, max_size=3),
    data=st.data(),
)
def test_what_is_new(directions: list[StudyDirection], data: st.DataObject) -> None:
    width = len(directions)
    trials = data.draw(st.lists(st.lists(VALUE, min_size=width, max_size=width), max_size=20))

    def at_least_as_good(one: list[float], other: list[float]) -> bool:
        return all(
            mine >= yours if direction is MAXIMIZE else mine <= yours
            for mine, yours, direction in zip(one, other, directions, strict=True)
        )

    found = Front(directions)
    for count, trial in enumerate(trials):
        expected = not any(at_least_as_good(before, trial) for before in trials[:count])
        assert found.add(trial) is expected


def test_it_does_not_grow_without_end() -> None:
    found = Front([MINIMIZE, MAXIMIZE])
    for number in range(front.MAX_POINTS + 5):
        assert found.add([number, number])
    assert not found.add([front.MAX_POINTS + 1, front.MAX_POINTS])
    # The oldest are forgotten.
    assert found.add([0, 0])
