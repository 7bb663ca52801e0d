"""Studies that were made or deleted in the Optuna storage itself, by `optuna` or its dashboard.

The storage knows of them, the table of studies does not. They are adopted when somebody looks, and
not as their entry arrives: so a limit that is reached stops nobody's storage, and what did not fit
in is adopted once there is room.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol

from optuna.study import StudyDirection
from sqlalchemy import delete, select

from aiauto.server.database.models import Study, TrialBatch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.orm import Session

    from aiauto.server.journal.overview import StudyOverview
    from aiauto.server.parts import Parts

STUDY_NAME: re.Pattern[str] = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")


class _InStorage(Protocol):
    """A study as an overview or a ledger knows it."""

    @property
    def name(self) -> str: ...
    @property
    def directions(self) -> Sequence[StudyDirection]: ...


async def adopt(parts: Parts, workspace_id: int) -> Mapping[int, StudyOverview]:
    """Bring the table of studies in line with the storage.

    A study that is gone from the storage goes with its batches, once all of them are over. One that
    is new there is added with its directions. Left out are those whose names `create_study` would
    refuse, since batches, workers and pages are named after studies.

    Nearly always there is nothing to do, which is found out without keeping anybody from writing.

    Args:
        parts: What to work with.
        workspace_id: The workspace.

    Returns:
        The studies that are in the storage, by their id.
    """
    max_studies = parts.limits.max_studies
    there = await parts.overviews.read(workspace_id)

    def is_due(session: Session) -> bool:
        return any(_due(session, workspace_id, there, max_studies))

    def write(session: Session) -> None:
        studies = parts.journal.ledger(session, workspace_id).studies
        gone, new = _due(session, workspace_id, studies, max_studies)
        session.execute(delete(Study).where(Study.id.in_(gone)))
        session.add_all(new)

    if not await parts.database.read(is_due):
        return there
    await parts.database.write(write)
    # Those that were made in the meantime are adopted as well.
    return await parts.overviews.read(workspace_id)


def _due(
    session: Session, workspace_id: int, there: Mapping[int, _InStorage], max_studies: int
) -> tuple[list[int], list[Study]]:
    """The ids of the rows that must go, and the rows that are missing."""
    rows = session.execute(
        select(Study.id, Study.optuna_study_id, Study.name).where(
            Study.workspace_id == workspace_id
        )
    ).all()
    gone = {id_ for id_, optuna_study_id, _ in rows if optuna_study_id not in there}
    if gone:
        unfinished = select(TrialBatch.study_id).where(
            TrialBatch.study_id.in_(gone), TrialBatch.finished_at.is_(None)
        )
        gone -= set(session.scalars(unfinished))
    known = {optuna_study_id for _, optuna_study_id, _ in rows}
    # One that is deleted in the storage and has not ended keeps its name until it has.
    taken = {name for id_, _, name in rows if id_ not in gone}
    new = [
        Study(
            workspace_id=workspace_id,
            name=study.name,
            optuna_study_id=key,
            directions=",".join(one.name.lower() for one in study.directions),
            sampler_json="",
            pruner_json="",
            adopted=True,
        )
        for key, study in there.items()
        if key not in known and study.name not in taken and _can_be_adopted(study)
    ]
    return list(gone), new[: max(max_studies - len(taken), 0)]


def _can_be_adopted(study: _InStorage) -> bool:
    return (
        STUDY_NAME.fullmatch(study.name) is not None
        and StudyDirection.NOT_SET not in study.directions
    )
