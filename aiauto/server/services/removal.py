"""What becomes of all that a user has, when they or their workspace go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from aiauto.server.database.models import Study, TrialBatch, Workspace

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session

    from aiauto.server.parts import Parts


async def end_batches(parts: Parts, why: str, *which: ColumnElement[bool]) -> None:
    """End batches. Their workers are gone when this returns, and the folders of these.

    Args:
        parts: What to work with.
        why: What is told of the trials that did not end by themselves.
        *which: What is true of the batches, their studies and their workspaces.
    """
    query = (
        select(TrialBatch.name)
        .join(Study, Study.id == TrialBatch.study_id)
        .join(Workspace, Workspace.id == Study.workspace_id)
        .where(*which)
    )
    for name in await parts.database.read(lambda session: list(session.scalars(query))):
        await parts.batches.fail_batch(name, why)
        await parts.executor.cancel(name)


async def remove_workspace(parts: Parts, user_id: int, why: str) -> None:
    """Delete a user's workspace with all that is in it, if there is one.

    Args:
        parts: What to work with.
        user_id: The user.
        why: What is told of the trials that did not end by themselves.
    """
    await end_batches(parts, why, Workspace.user_id == user_id)
    workspace_id = await parts.accounts.workspace_of(user_id)
    if workspace_id is not None:
        # Before the workspace: if the server dies in between, it can be deleted once more.
        files = parts.files
        await files.call(files.uploads.forget, workspace_id)
        await files.call(files.store.remove_workspace, workspace_id)

    def remove(session: Session) -> None:
        workspace = session.scalar(select(Workspace).where(Workspace.user_id == user_id))
        if workspace is not None:
            parts.journal.remove(session, workspace.id)
            session.delete(workspace)

    await parts.database.write(remove)
    if workspace_id is not None:
        parts.overviews.forget(workspace_id)
    parts.auth.forget()
