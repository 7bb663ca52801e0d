"""Finds what a caller names among what is theirs: what is not theirs is not there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from aiauto.errors import NotFoundError
from aiauto.server.database.models import Study, TrialBatch, Workspace
from aiauto.server.services.calls import NO_WORKSPACE

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


def workspace_of(session: Session, user_id: int) -> Workspace:
    """The caller's workspace.

    Raises:
        NotFoundError: There is none.
    """
    workspace = session.scalar(select(Workspace).where(Workspace.user_id == user_id))
    if workspace is None:
        raise NotFoundError(NO_WORKSPACE)
    return workspace


def study_of(session: Session, user_id: int, name: str) -> Study:
    """A study of the caller's.

    Raises:
        NotFoundError: They have none of this name.
    """
    study = session.scalar(
        select(Study)
        .join(Workspace, Workspace.id == Study.workspace_id)
        .where(Workspace.user_id == user_id, Study.name == name)
    )
    if study is None:
        raise NotFoundError(f"study_name: there is no study {name[:100]!r}. Create it first.")
    return study


def batch_of(session: Session, user_id: int, name: str) -> TrialBatch:
    """A batch of the caller's.

    Raises:
        NotFoundError: They have none of this name.
    """
    batch = session.scalar(
        select(TrialBatch)
        .join(Study, Study.id == TrialBatch.study_id)
        .join(Workspace, Workspace.id == Study.workspace_id)
        .where(Workspace.user_id == user_id, TrialBatch.name == name)
    )
    if batch is None:
        raise NotFoundError(f"trialbatch_name: there is no batch {name[:100]!r}.")
    return batch
