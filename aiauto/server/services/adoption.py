"""Studies that were made or deleted in the Optuna storage itself, by `optuna` or its dashboard.

The storage knows of them, the table of studies does not. They are adopted when somebody looks, and
not as their entry arrives: so a limit that is reached stops nobody's storage, and what did not fit
in is adopted once there is room.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from optuna.study import StudyDirection
from sqlalchemy import delete, select

from aiauto.server.database.models import Study, TrialBatch

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from aiauto.server.journal.ledger import Ledger, StudyRecord

STUDY_NAME: re.Pattern[str] = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")


def adopt(session: Session, workspace_id: int, ledger: Ledger, max_studies: int) -> None:
    """Bring the table of studies in line with the storage, in a unit of `Database.write`.

    A study that is gone from the storage goes with its batches, once all of them are over. One that
    is new there is added with its directions. Left out are those whose names `create_study` would
    refuse, since batches, workers and pages are named after studies.

    Args:
        session: The unit's session.
        workspace_id: The workspace.
        ledger: What its storage knows.
        max_studies: How many studies its user may have.
    """
    of_workspace = Study.workspace_id == workspace_id
    known: dict[int, int] = {
        optuna_study_id: id_
        for id_, optuna_study_id in session.execute(
            select(Study.id, Study.optuna_study_id).where(of_workspace)
        )
    }
    gone = [id_ for key, id_ in known.items() if key not in ledger.studies]
    if gone:
        unfinished = select(TrialBatch.study_id).where(TrialBatch.finished_at.is_(None))
        session.execute(delete(Study).where(Study.id.in_(gone), Study.id.not_in(unfinished)))
    new = [
        (key, record)
        for key, record in ledger.studies.items()
        if key not in known and _can_be_adopted(record)
    ]
    if not new:
        return
    # One that is deleted in the storage and has not ended keeps its name until it has.
    taken = set(session.scalars(select(Study.name).where(of_workspace)))
    fitting = [(key, record) for key, record in new if record.name not in taken]
    for key, record in fitting[: max(max_studies - len(taken), 0)]:
        session.add(
            Study(
                workspace_id=workspace_id,
                name=record.name,
                optuna_study_id=key,
                directions=",".join(one.name.lower() for one in record.directions),
                sampler_json="",
                pruner_json="",
                adopted=True,
            )
        )
    session.flush()


def _can_be_adopted(record: StudyRecord) -> bool:
    return (
        STUDY_NAME.fullmatch(record.name) is not None
        and StudyDirection.NOT_SET not in record.directions
    )
