"""Constraints as Optuna's samplers note them, in system attributes of trials."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["broken_constraints", "is_feasible"]


def is_feasible(system_attrs: Mapping[str, object]) -> bool:
    """Whether a trial with these system attributes breaks no constraint."""
    return not any(broken_constraints(system_attrs).values())


def broken_constraints(system_attrs: Mapping[str, object]) -> dict[str, bool]:
    """Those system attributes that are constraints, and which of them are broken.

    Optuna before 5.0 notes all of them in one attribute, later versions each in one of its own.
    """
    return {
        name: _is_broken(value)
        for name, value in system_attrs.items()
        if name == "constraints" or name.startswith("constraints:")
    }


def _is_broken(constraint: object) -> bool:
    """Whether a constraint, or one of several, is broken. Anything may stand there."""
    if isinstance(constraint, (list, tuple)):
        return any(_is_broken(one) for one in cast("Sequence[object]", constraint))
    return not (isinstance(constraint, (int, float)) and constraint <= 0)
