"""Keeps the artifacts of the best trials of every batch, and deletes those of the others.

Which those are follows from the journal, so nothing has to be remembered: a server that was killed
looks at all batches when it starts.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from aiauto_gen.aiauto import v1
from optuna.study import StudyDirection
from optuna.trial import TrialState
from sqlalchemy import or_, select

from aiauto.errors import RpcError
from aiauto.server.batches.leases import LEASED
from aiauto.server.database.models import Lease, Study, TrialBatch
from aiauto.server.journal.feasibility import is_feasible
from aiauto.server.regularly import regularly

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial
    from sqlalchemy.orm import Session

    from aiauto.server.database import Database
    from aiauto.server.files.store import Store
    from aiauto.server.journal import Journal

logger: logging.Logger = logging.getLogger("aiauto.server")

INTERVAL_SECONDS = 1.0
# What `optuna.artifacts` calls the attribute of a trial that has an artifact, before its id.
ATTRIBUTE_PREFIX = "artifacts:"


@dataclass(frozen=True)
class _Batch:
    """What of a batch decides on its artifacts."""

    top_n: int
    trial_numbers: list[int]


@dataclass(frozen=True)
class _StudyOfBatches:
    """A study some of whose batches have gone on."""

    workspace_id: int
    optuna_study_id: int
    directions: list[StudyDirection]
    batches: list[_Batch]


class Retention:
    """Deletes the artifacts that need not be kept."""

    def __init__(self, database: Database, journal: Journal, store: Store) -> None:
        """Make it.

        Args:
            database: Where the batches are.
            journal: Where their trials are.
            store: Where the artifacts are.
        """
        self._database = database
        self._journal = journal
        self._store = store
        # How many trials had ended of the batches that are not over, and the newest batch, when
        # they were last looked at.
        self._ended: dict[int, int] = {}
        self._newest = 0

    async def run(self) -> None:
        """Look after the batches for as long as the server runs."""
        await regularly(self.look, INTERVAL_SECONDS, "Artifacts could not be looked after")

    async def look(self) -> None:
        """Look at the batches that have gone on since the last time; the first time, at all."""
        ended, unfinished, newest = await self._database.read(self._counts)
        moved = [id_ for id_, count in ended.items() if count and count != self._ended.get(id_)]
        if moved:
            for study in await self._database.read(lambda session: _studies(session, moved)):
                try:
                    await asyncio.to_thread(self._tidy, study)
                except Exception:
                    # One study must not keep the others from being looked after.
                    logger.exception("Artifacts of study %d", study.optuna_study_id)
        # Only now: if the database was away, they are looked at again.
        self._ended = {id_: ended[id_] for id_ in unfinished}
        self._newest = newest

    def removed(self, workspace_id: int, trials: Iterable[FrozenTrial]) -> set[int]:
        """Find the trials whose artifacts are gone. For threads.

        Args:
            workspace_id: Their workspace.
            trials: Trials of one study.

        Returns:
            The numbers of those that had artifacts and have none.
        """
        had = {trial.number: ids for trial in trials if (ids := artifact_ids(trial))}
        there = self._store.artifact_ids(workspace_id) if had else set[str]()
        return {number for number, ids in had.items() if there.isdisjoint(ids)}

    def delete_of_study(self, workspace_id: int, study_name: str) -> None:
        """Delete all artifacts of a study that is being deleted. For threads."""
        storage = self._journal.storage(workspace_id)
        try:
            optuna_study_id = storage.get_study_id_from_name(study_name)
            trials = storage.get_all_trials(optuna_study_id, deepcopy=False)
            attributes = storage.get_study_system_attrs(optuna_study_id)
        except KeyError:  # it is gone already
            return
        ids = {id_ for trial in trials for id_ in artifact_ids(trial)}
        ids.update(_ids(attributes))
        self._delete(workspace_id, ids - _ids_elsewhere(storage, optuna_study_id))

    def _counts(self, session: Session) -> tuple[dict[int, int], list[int], int]:
        """How many trials of each batch have ended, which are not over, and the newest one."""
        completed = TrialBatch.count_succeeded + TrialBatch.count_pruned + TrialBatch.count_failed
        rows = session.execute(
            select(TrialBatch.id, completed, TrialBatch.finished_at).where(
                or_(
                    TrialBatch.finished_at.is_(None),
                    TrialBatch.id > self._newest,
                    TrialBatch.id.in_(self._ended),
                )
            )
        ).all()
        ended = {batch_id: count for batch_id, count, _ in rows}
        unfinished = [batch_id for batch_id, _, finished_at in rows if finished_at is None]
        return ended, unfinished, max([self._newest, *ended])

    def _tidy(self, study: _StudyOfBatches) -> None:
        there = self._store.artifact_ids(study.workspace_id)
        if not there:
            return
        storage = self._journal.storage(study.workspace_id)
        try:
            trials = storage.get_all_trials(study.optuna_study_id, deepcopy=False)
            needed = set(_ids(storage.get_study_system_attrs(study.optuna_study_id)))
        except KeyError:  # the study was deleted
            return
        unwanted: set[int] = set()
        for batch in study.batches:
            of_batch = [trials[number] for number in batch.trial_numbers if number < len(trials)]
            ended = [trial for trial in of_batch if trial.state.is_finished()]
            best = ranked(ended, study.directions)[: batch.top_n]
            unwanted |= {trial.number for trial in ended} - {trial.number for trial in best}
        for trial in trials:
            if trial.number not in unwanted:
                needed.update(artifact_ids(trial))
        ids = {id_ for number in unwanted for id_ in artifact_ids(trials[number])}
        ids = (ids & there) - needed
        if ids:
            ids -= _ids_elsewhere(storage, study.optuna_study_id)
        self._delete(study.workspace_id, ids)

    def _delete(self, workspace_id: int, ids: Iterable[str]) -> None:
        for id_ in ids:
            try:
                self._store.delete(workspace_id, v1.FilePlace.ARTIFACTS, id_)
            except RpcError as error:  # an attribute that somebody made up
                logger.warning("The artifact %r can't be deleted: %s", id_, error)


def ranked(
    trials: Iterable[FrozenTrial], directions: Sequence[StudyDirection]
) -> list[FrozenTrial]:
    """Put trials that have ended into order, the best ones first.

    With one objective by their value. With several, those come first that no other beats in all of
    them, as in `optuna.Study.best_trials`, and within that the newest. Those that broke a
    constraint come after those that did not, and those without a value last.

    Args:
        trials: The trials.
        directions: Of their study.
    """
    newest_first = sorted(trials, key=lambda trial: -trial.number)
    complete = [
        trial
        for trial in newest_first
        if trial.state == TrialState.COMPLETE and len(trial.values) == len(directions)
    ]
    losses = [_losses(trial, directions) for trial in complete]
    if len(directions) == 1:
        order = sorted(range(len(complete)), key=lambda one: (losses[one], complete[one].number))
    else:
        front = _front(losses)
        order = sorted(range(len(complete)), key=lambda one: one not in front)
    best = [complete[one] for one in order]
    numbers = {trial.number for trial in best}
    others = [trial for trial in newest_first if trial.number not in numbers]
    return best + sorted(others, key=lambda trial: trial.state == TrialState.FAIL)


def artifact_ids(trial: FrozenTrial) -> list[str]:
    """The ids of a trial's artifacts, whether they are still there or not."""
    return _ids(trial.system_attrs)


def _ids(attributes: Mapping[str, object]) -> list[str]:
    return [
        name.removeprefix(ATTRIBUTE_PREFIX)
        for name, value in attributes.items()
        # What the dashboard leaves of one that was deleted there.
        if name.startswith(ATTRIBUTE_PREFIX) and value != "null"
    ]


def _ids_elsewhere(storage: BaseStorage, optuna_study_id: int) -> set[str]:
    """The artifacts of all other studies: a copy of a study has those of its original."""
    ids: set[str] = set()
    for study in storage.get_all_studies():
        other = study._study_id  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        if other != optuna_study_id:
            ids.update(_ids(storage.get_study_system_attrs(other)))
            for trial in storage.get_all_trials(other, deepcopy=False):
                ids.update(artifact_ids(trial))
    return ids


def _losses(trial: FrozenTrial, directions: Sequence[StudyDirection]) -> tuple[float, ...]:
    """Its values, less being better; all of them infinite where it broke a constraint."""
    values = [
        -value if direction == StudyDirection.MAXIMIZE else value
        for value, direction in zip(trial.values, directions, strict=True)
    ]
    feasible = is_feasible(trial.system_attrs)
    return tuple(value if feasible and not math.isnan(value) else math.inf for value in values)


def _front(losses: Sequence[tuple[float, ...]]) -> set[int]:
    """Which of them no other one beats: nowhere worse, and somewhere better."""
    front: set[int] = set()
    known = np.empty((len(losses), len(losses[0]) if losses else 0))
    # In this order whoever is beaten is beaten by one that came before.
    for one in sorted(range(len(losses)), key=losses.__getitem__):
        before, row = known[: len(front)], np.array(losses[one])
        if not ((before <= row).all(axis=1) & (before < row).any(axis=1)).any():
            known[len(front)] = row
            front.add(one)
    return front


def _studies(session: Session, batch_ids: Sequence[int]) -> list[_StudyOfBatches]:
    """The studies of some batches, with what of these decides on artifacts."""
    batches: defaultdict[int, list[_Batch]] = defaultdict(list)
    for id_ in batch_ids:
        # Without its objective, which may be big.
        query = select(TrialBatch.study_id, TrialBatch.spec).where(TrialBatch.id == id_)
        if (row := session.execute(query).one_or_none()) is None:
            continue
        study_id, spec = row
        if not (top_n := v1.TrialBatchSpec.parse(spec).top_n_artifacts):
            continue
        numbers = select(Lease.trial_number).where(
            Lease.batch_id == id_, Lease.trial_number.is_not(None), Lease.state != LEASED
        )
        ended = [number for number in session.scalars(numbers) if number is not None]
        batches[study_id].append(_Batch(top_n, ended))
    studies: list[_StudyOfBatches] = []
    for study_id, limited in batches.items():
        study = session.get_one(Study, study_id)
        directions = [StudyDirection[one.upper()] for one in study.directions.split(",")]
        studies.append(
            _StudyOfBatches(study.workspace_id, study.optuna_study_id, directions, limited)
        )
    return studies
