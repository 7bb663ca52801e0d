"""What is known of a search space, and what is left of it."""

from __future__ import annotations

import random

import pytest

from aiauto.combinations import MAX_LOSSES, Choice, Combinations, Path


def path(*choices: str) -> Path:
    """Choices as ``a1/3``: the second of three choices of ``a``."""
    return tuple(Choice(text[0], int(text[1]), int(text[3])) for text in choices)


@pytest.fixture
def known() -> Combinations:
    """Four of six combinations were met: a0 b0, a0 b1, a1 c0, and a2, of which nothing is known."""
    known = Combinations()
    known.finish(path("a0/3", "b0/2"))
    known.hold(path("a0/3", "b1/2"))
    known.hold(path("a1/3", "c0/2"))
    return known


def test_nothing_is_known_at_first() -> None:
    known = Combinations()
    assert known.is_unknown
    assert known.choose((), {}, random.Random(0)) == ()
    known.hold(())
    assert (known.is_unknown, known.free) == (True, 1)
    known.finish(())
    assert (known.is_unknown, known.free) == (False, 0)


def test_what_is_free_is_counted_and_chosen(known: Combinations) -> None:
    free = {path("a1/3", "c1/2"), path("a2/3")}
    assert known.free == len(free)
    drawn = {known.choose((), {}, random.Random(seed)) for seed in range(20)}
    assert drawn == free
    assert all(known.is_free(one) for one in free)
    for taken in (path("a0/3", "b0/2"), path("a0/3", "b1/2"), path("a0/3"), path("a1/3"), ()):
        assert not known.is_free(taken)
    # From what is given, and from what was chosen already.
    assert known.choose((), {"a": 1}, random.Random(0)) == path("a1/3", "c1/2")
    assert known.choose((), {"a": 0}, random.Random(0)) is None
    assert known.choose(path("a2/3"), {}, random.Random(0)) == path("a2/3")


def test_a_branch_shows_what_lies_behind_it(known: Combinations) -> None:
    known.hold(path("a2/3"))
    assert known.free == 1
    known.reveal(path("a2/3"), "d", 5)
    assert known.free == 1 + 5
    # Whoever stopped there has yet to choose.
    assert known.undecided == 1


def test_who_has_yet_to_choose(known: Combinations) -> None:
    assert known.undecided == 0
    known.hold(())
    assert known.undecided == 1
    # Two reach for the same, and one for what has been tried meanwhile.
    known.hold(path("a1/3", "c0/2"))
    assert known.undecided == 2
    known.finish(path("a0/3", "b1/2"))
    assert known.undecided == 3


def test_what_was_lost_is_free_again_for_a_while(known: Combinations) -> None:
    lost = path("a2/3")
    for _ in range(MAX_LOSSES - 1):
        known.lose(lost)
        assert known.is_free(lost)
    known.lose(lost)
    assert not known.is_free(lost)


def test_the_order_of_parameters_does_not_matter(known: Combinations) -> None:
    known.finish(path("c1/2", "a1/3"))
    assert not known.is_free(path("a1/3", "c1/2"))
    assert known.known({"c": 0, "z": 9, "a": 1}) == path("a1/3", "c0/2")
    assert known.known({"a": 7}) == known.known({"c": 0}) == ()
