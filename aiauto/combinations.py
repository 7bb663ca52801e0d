"""The combinations of categorical parameters: which are known, taken, tried, and free.

An objective shows its parameters one after another, and which one comes next may depend on the
values before it. What is known of that is a tree: a node for what was chosen so far, a branch for
each choice of the parameter that comes next. A branch where nobody has been is free for one trial,
whatever lies below it; that trial shows what does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping

__all__ = ["MAX_LOSSES", "Choice", "Combinations", "Path"]

MAX_LOSSES = 3
"""So many trials may be lost with a combination before it counts as tried."""


class Choice(NamedTuple):
    """A value of a parameter.

    Attributes:
        name: The parameter.
        place: Place of the value among its choices.
        total: How many choices there are.
    """

    name: str
    place: int
    total: int


Path: TypeAlias = tuple[Choice, ...]
"""Choices in the order in which the objective asks for them."""


class Combinations:
    """What is known of a search space, and who is where in it."""

    def __init__(self) -> None:
        self._root = _Node()
        self._holders: list[_Node] = []
        self._counted = False

    @property
    def is_unknown(self) -> bool:
        """Whether no trial has shown anything yet."""
        return not self._root.name and not self._root.is_tried

    @property
    def free(self) -> int:
        """For how many further trials there surely are combinations, different from all others."""
        self._count()
        return self._root.free

    @property
    def undecided(self) -> int:
        """How many trials hold no combination of their own yet, and will take a free one."""
        # Of several who reach for the same, all but one give way.
        decided = {id(one) for one in self._holders if not one.name and not one.is_tried}
        return len(self._holders) - len(decided)

    def hold(self, path: Path) -> None:
        """Note that a trial runs, or will, and has taken these choices."""
        node = self._walk(path)
        self._holders.append(node)
        # Where nothing is known yet nobody stands in another's way.
        node.is_held = node.is_held or bool(path)

    def finish(self, path: Path) -> None:
        """Note that a trial has ended with these choices and no others."""
        self._walk(path).is_tried = True

    def lose(self, path: Path) -> None:
        """Note that a trial with these choices was lost before it had ended."""
        node = self._walk(path)
        node.losses += 1
        # Perhaps it is the combination that ends its workers.
        node.is_tried = node.is_tried or node.losses >= MAX_LOSSES

    def reveal(self, path: Path, name: str, count: int) -> None:
        """Note which parameter comes after some choices, and how many choices it has."""
        node = self._walk(path)
        if not node.name:
            node.name, node.count = name, count

    def known(self, values: Mapping[str, int]) -> Path:
        """As much of a path as follows from the values of some parameters.

        Args:
            values: Place of the choice by parameter.
        """
        node = self._root
        path: Path = ()
        while node.name in values and 0 <= values[node.name] < node.count:
            choice = Choice(node.name, values[node.name], node.count)
            path += (choice,)
            node = node.branches.get(choice.place, _Node())
        return path

    def is_free(self, path: Path) -> bool:
        """Whether nobody else has been at this path, is there, or is below it."""
        node = self._root
        for choice in path:
            if node.name != choice.name:
                # Unknown so far, or asked for in another order: then nobody is there.
                return not node.name and not node.is_held and not node.is_tried
            if choice.place not in node.branches:
                return True
            node = node.branches[choice.place]
        return not node.name and not node.is_held and not node.is_tried

    def choose(self, path: Path, fixed: Mapping[str, int], generator: random.Random) -> Path | None:
        """Go on from a path to a free one.

        Args:
            path: What was chosen already.
            fixed: Values that are given, by parameter.
            generator: Decides between free ones.

        Returns:
            The free path, as far as is known; None where there is none.
        """
        node = self._walk(path)
        self._count()
        while node.name:
            free = {
                place: node.branches[place].free if place in node.branches else 1
                for place in range(node.count)
                if fixed.get(node.name, place) == place
            }
            if not any(free.values()):
                return None
            (place,) = generator.choices(list(free), list(free.values()))
            path += (Choice(node.name, place, node.count),)
            node = node.branches.get(place, _Node(free=1))
        return path if node.free else None

    def _walk(self, path: Path) -> _Node:
        """The node of a path, made where it was not known."""
        self._counted = False
        left = {choice.name: choice for choice in path}
        node = self._root
        while left:
            # In the order that is known: some storages do not keep the order of parameters.
            choice = left.pop(node.name) if node.name in left else None
            if choice is None:
                if node.name:
                    break  # the objective does not ask for the same every time
                choice = left.pop(next(iter(left)))
                node.name, node.count = choice.name, choice.total
            node = node.branches.setdefault(choice.place, _Node())
        return node

    def _count(self) -> None:
        if not self._counted:
            self._root.recount()
            self._counted = True


class _Node:
    """What was chosen so far.

    Attributes:
        name: The parameter that comes next; empty while none is known.
        count: How many choices it has.
        branches: What lies behind the choices where somebody has been.
        is_held: Whether a trial that runs has got here and not further.
        is_tried: Whether a trial has ended here.
        losses: How many trials were lost here.
        free: How many free combinations are known from here on.
    """

    __slots__ = ("branches", "count", "free", "is_held", "is_tried", "losses", "name")

    def __init__(self, *, free: int = 0) -> None:
        self.name = ""
        self.count = 0
        self.branches: dict[int, _Node] = {}
        self.is_held = False
        self.is_tried = False
        self.losses = 0
        self.free = free

    def recount(self) -> int:
        """Count what is free, here and below."""
        if self.name:
            untouched = self.count - len(self.branches)
            self.free = untouched + sum(node.recount() for node in self.branches.values())
        else:
            self.free = int(not self.is_held and not self.is_tried)
        return self.free
