"""What a unit of work has done in memory, undone with it.

What the database holds goes back by itself when a unit raises or its commit fails. What was learnt
from it meanwhile does not: whoever learns in a unit says here how to forget.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.orm import Session

_STEPS: Final = "steps to undo"


def when_undone(session: Session, step: Callable[[], None]) -> None:
    """Call a function, in the writer's thread, if this unit is undone.

    Args:
        session: The unit's session.
        step: Undoes what was done in memory. Those that were named last are called first.
    """
    _steps(session).append(step)


def position(session: Session) -> int:
    """How many steps were named so far."""
    return len(_steps(session))


def undo(session: Session, to: int = 0) -> None:
    """Undo everything in memory that was done since.

    Args:
        session: The session whose transaction, or whose last part, was rolled back.
        to: What `position` said before that part.
    """
    steps = _steps(session)
    while len(steps) > to:
        steps.pop()()


def _steps(session: Session) -> list[Callable[[], None]]:
    return cast("list[Callable[[], None]]", session.info.setdefault(_STEPS, []))
