"""Deletes artifacts that a worker has sent, and died before it could tell its trial of.

An artifact is sent first and noted at its trial then. Between the two only the worker knows of it;
when that has ended, nobody does. Only artifacts whose id is a UUID are meant to be noted, as Optuna
and `upload_artifact` do it: what an objective stores under a name of its own stays.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections import defaultdict
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from aiauto_gen.aiauto import v1
from sqlalchemy import delete, or_, select

from aiauto.server.database.models import ArtifactUpload, Worker, now
from aiauto.server.regularly import regularly

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.orm import Session

    from aiauto.server.auth import WorkerIdentity
    from aiauto.server.database import Database
    from aiauto.server.files.store import Store
    from aiauto.server.journal import Journal

logger: logging.Logger = logging.getLogger("aiauto.server")

INTERVAL_SECONDS = 60.0
# A last call of a worker that has ended may still be at work.
GRACE = timedelta(minutes=10)
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Orphans:
    """Knows which artifacts workers have sent, and deletes those that nobody can come to know."""

    def __init__(self, database: Database, journal: Journal, store: Store) -> None:
        """Make it.

        Args:
            database: Where workers are.
            journal: Where trials tell of their artifacts.
            store: Where the artifacts are.
        """
        self._database = database
        self._journal = journal
        self._store = store

    async def note(self, workspace_id: int, worker: WorkerIdentity, artifact_id: str) -> None:
        """A worker is about to send an artifact. Does nothing where no trial will tell of it."""
        if not UUID.fullmatch(artifact_id):
            return
        upload = {"workspace_id": workspace_id, "artifact_id": artifact_id}

        def unit(session: Session) -> None:
            session.merge(ArtifactUpload(**upload, worker_id=worker.worker_id))

        await self._database.write(unit)

    async def run(self) -> None:
        """Look after them for as long as the server runs."""
        trouble = "Artifacts of workers that died could not be looked after"
        await regularly(self.look, INTERVAL_SECONDS, trouble)

    async def look(self) -> None:
        """Delete what workers that have ended sent, and what no trial and no study tells of."""
        # What a worker was still allowed to note is in the journal by now, which is read later.
        for workspace_id, ids in (await self._database.read(_ended)).items():
            await asyncio.to_thread(self._delete_unknown, workspace_id, ids)
            await self._database.write(partial(_forget, workspace_id=workspace_id, ids=ids))

    def _delete_unknown(self, workspace_id: int, ids: set[str]) -> None:
        there = ids & self._store.artifact_ids(workspace_id)
        for id_ in there - self._told_of(workspace_id) if there else ():
            logger.info("The artifact %s is deleted: its worker ended before it was noted", id_)
            self._store.delete(workspace_id, v1.FilePlace.ARTIFACTS, id_)

    def _told_of(self, workspace_id: int) -> set[str]:
        """All that may be the id of an artifact in what studies and trials say, wherever it is."""
        storage = self._journal.storage(workspace_id)
        told: set[str] = set()
        for study in storage.get_all_studies():
            id_ = study._study_id  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
            told.update(_uuids(storage.get_study_system_attrs(id_)))
            told.update(_uuids(storage.get_study_user_attrs(id_)))
            for trial in storage.get_all_trials(id_, deepcopy=False):
                told.update(_uuids(trial.system_attrs))
                told.update(_uuids(trial.user_attrs))
        return told


def _uuids(attributes: object) -> list[str]:
    return UUID.findall(json.dumps(attributes, default=str)) if attributes else []


def _ended(session: Session) -> dict[int, set[str]]:
    """What workers sent that have ended for good, by workspace."""
    query = (
        select(ArtifactUpload)
        .outerjoin(Worker, Worker.id == ArtifactUpload.worker_id)
        .where(or_(Worker.id.is_(None), Worker.ended_at < now() - GRACE))
    )
    found: defaultdict[int, set[str]] = defaultdict(set)
    for upload in session.scalars(query):
        found[upload.workspace_id].add(upload.artifact_id)
    return dict(found)


def _forget(session: Session, *, workspace_id: int, ids: Iterable[str]) -> None:
    for id_ in ids:
        session.execute(
            delete(ArtifactUpload).where(
                ArtifactUpload.workspace_id == workspace_id, ArtifactUpload.artifact_id == id_
            )
        )
