"""TrialService: trials, a page at a time."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1.connect import TrialServiceBase
from optuna.trial import TrialState
from sqlalchemy import select

from aiauto.errors import InvalidArgumentError, NotFoundError, RpcError
from aiauto.legible import legible
from aiauto.server.batches.leases import LEASED, RETRIED
from aiauto.server.database.models import Lease, Study, TrialBatch, Worker
from aiauto.server.files.retention import ATTRIBUTE_PREFIX, artifact_ids
from aiauto.server.messages import params_as_json, trial_info, unstarted_trial_info
from aiauto.server.services.calls import Calls
from aiauto.server.services.ownership import batch_of, study_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from aiauto_gen.connect import Context
    from optuna.trial import FrozenTrial
    from sqlalchemy.orm import Session

PAGE_SIZE, MAX_PAGE_SIZE = 50, 500
MAX_TOKEN_DIGITS = 18
# Attributes that are longer as JSON are for programs, and not for a list.
MAX_ATTRIBUTE_CHARACTERS = 2000
# Of leases, by what their trials say. Who has a lease may not have begun its trial.
LEASE_STATES: Mapping[str, tuple[str, ...]] = {
    TrialState.RUNNING.name: (LEASED,),
    TrialState.COMPLETE.name: (TrialState.COMPLETE.name,),
    TrialState.PRUNED.name: (TrialState.PRUNED.name,),
    TrialState.FAIL.name: (TrialState.FAIL.name, RETRIED),
    TrialState.WAITING.name: (),
}


@dataclass(frozen=True)
class _Run:
    """What is known of a trial that a worker runs or has run."""

    lease: Lease
    worker: str
    batch: str


class TrialService(Calls, TrialServiceBase):
    """Lists trials."""

    async def list_trials(
        self, request: v1.ListTrialsRequest, context: Context
    ) -> v1.ListTrialsResponse:
        """List the trials of a study, or of a batch."""
        del context
        if bool(request.study_name) == bool(request.trialbatch_name):
            raise InvalidArgumentError("study_name, trialbatch_name: name the one or the other.")
        states = _checked_states(request.states)
        size = _checked_size(request.page_size)
        before = _checked_token(request.page_token)
        user_id = self._user_id
        if request.study_name:
            study = await self._parts.database.read(
                lambda session: study_of(session, user_id, request.study_name)
            )
            return await self._of_study(study, states, size, before)

        def unit(session: Session) -> tuple[TrialBatch, Study]:
            batch = batch_of(session, user_id, request.trialbatch_name)
            return batch, session.get_one(Study, batch.study_id)

        batch, study = await self._parts.database.read(unit)
        return await self._of_batch(batch, study, states, size, before)

    async def _of_study(
        self, study: Study, states: set[str], size: int, before: int | None
    ) -> v1.ListTrialsResponse:
        """By the numbers of the trials: a token is the lowest one of the page before."""
        trials = await asyncio.to_thread(self._trials, study)
        found: list[FrozenTrial] = []
        for trial in reversed(trials if before is None else trials[:before]):
            if not states or trial.state.name in states:
                found.append(trial)
            if len(found) > size:
                break
        page = found[:size]
        numbers = [trial.number for trial in page]

        def unit(session: Session) -> dict[int | None, _Run]:
            query = (
                select(Lease, Worker.name, TrialBatch.name)
                .join(Worker, Worker.id == Lease.worker_id)
                .join(TrialBatch, TrialBatch.id == Lease.batch_id)
                .where(TrialBatch.study_id == study.id, Lease.trial_number.in_(numbers))
                .order_by(Lease.id)
            )
            return {
                lease.trial_number: _Run(lease, worker, batch)
                for lease, worker, batch in session.execute(query)
            }

        runs = await self._parts.database.read(unit)
        of_page = [(trial, runs.get(trial.number)) for trial in page]
        return await self._response(
            study, of_page, str(page[-1].number) if len(found) > size else ""
        )

    async def _of_batch(
        self, batch: TrialBatch, study: Study, states: set[str], size: int, before: int | None
    ) -> v1.ListTrialsResponse:
        """By the ids of the leases: a trial that has not begun has no number."""

        def unit(session: Session) -> list[_Run]:
            query = (
                select(Lease, Worker.name)
                .join(Worker, Worker.id == Lease.worker_id)
                .where(Lease.batch_id == batch.id)
                .order_by(Lease.id.desc())
                .limit(size + 1)
            )
            if before is not None:
                query = query.where(Lease.id < before)
            if states:
                of_leases = {one for state in states for one in LEASE_STATES[state]}
                query = query.where(Lease.state.in_(of_leases))
            return [_Run(lease, worker, batch.name) for lease, worker in session.execute(query)]

        found = await self._parts.database.read(unit)
        page = found[:size]
        trials = await asyncio.to_thread(self._trials, study)

        def trial_of(run: _Run) -> FrozenTrial | None:
            number = run.lease.trial_number
            return None if number is None or number >= len(trials) else trials[number]

        of_page = [(trial_of(run), run) for run in page]
        return await self._response(
            study, of_page, str(page[-1].lease.id) if len(found) > size else ""
        )

    def _trials(self, study: Study) -> Sequence[FrozenTrial]:
        storage = self._parts.journal.storage(study.workspace_id)
        try:
            return storage.get_all_trials(study.optuna_study_id, deepcopy=False)
        except KeyError as error:
            raise NotFoundError(f"study_name: the study {study.name!r} was deleted.") from error

    async def _response(
        self, study: Study, page: Iterable[tuple[FrozenTrial | None, _Run | None]], token: str
    ) -> v1.ListTrialsResponse:
        files = self._parts.files
        details = await files.call(lambda: [self._detail(study, trial, run) for trial, run in page])
        return v1.ListTrialsResponse(
            trials=details, next_page_token=token, study_id=study.optuna_study_id
        )

    def _detail(self, study: Study, trial: FrozenTrial | None, run: _Run | None) -> v1.TrialDetail:
        lease = None if run is None else run.lease
        worker = "" if run is None else run.worker
        detail = v1.TrialDetail(
            trialbatch_name="" if run is None else run.batch,
            attempt=0 if lease is None else lease.attempt,
            retried=lease is not None and lease.state == RETRIED,
        )
        if trial is None:
            if lease is not None:
                detail.trial = unstarted_trial_info(lease, pod_name=worker)
                if lease.state in {LEASED, RETRIED}:
                    running = lease.state == LEASED
                    detail.trial.state = (TrialState.RUNNING if running else TrialState.FAIL).name
            return detail
        detail.artifacts = self._artifacts(study, trial)
        removed = bool(detail.artifacts) and all(one.removed for one in detail.artifacts)
        detail.trial = trial_info(trial, lease, pod_name=worker, artifact_removed=removed)
        attributes = detail.trial.user_attrs.items()
        detail.trial.user_attrs = {
            name: text for name, text in attributes if len(text) <= MAX_ATTRIBUTE_CHARACTERS
        }
        detail.trial_id = trial._trial_id  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        detail.params = params_as_json(trial)
        return detail

    def _artifacts(self, study: Study, trial: FrozenTrial) -> list[v1.ArtifactInfo]:
        found: list[v1.ArtifactInfo] = []
        for id_ in artifact_ids(trial):
            told = _told_of_artifact(trial.system_attrs[ATTRIBUTE_PREFIX + id_])
            size = self._size(study.workspace_id, id_)
            found.append(
                v1.ArtifactInfo(
                    artifact_id=legible(id_),
                    filename=legible(str(told.get("filename") or id_)),
                    mimetype=legible(str(told.get("mimetype") or "")),
                    size=size or 0,
                    removed=size is None,
                )
            )
        return found

    def _size(self, workspace_id: int, artifact_id: str) -> int | None:
        # A program may note anything as the id of an artifact.
        try:
            stat = self._parts.files.store.stat(workspace_id, v1.FilePlace.ARTIFACTS, artifact_id)
        except RpcError:
            return None
        return None if stat is None else stat.st_size


def _told_of_artifact(attribute: object) -> Mapping[str, object]:
    """What a trial has noted of an artifact: JSON, as Optuna notes it, or whatever it is."""
    try:
        told = json.loads(attribute) if isinstance(attribute, str) else None
    except (ValueError, RecursionError):
        told = None
    return cast("Mapping[str, object]", told) if isinstance(told, dict) else {}


def _checked_states(states: Sequence[str]) -> set[str]:
    for state in states:
        if state not in LEASE_STATES:
            raise InvalidArgumentError(f"states has {state[:50]!r}: use {', '.join(LEASE_STATES)}.")
    return set(states)


def _checked_size(size: int) -> int:
    if not 0 <= size <= MAX_PAGE_SIZE:
        raise InvalidArgumentError(f"page_size is {size}: it must be from 1 to {MAX_PAGE_SIZE}.")
    return size or PAGE_SIZE


def _checked_token(token: str) -> int | None:
    if not token:
        return None
    if not (token.isascii() and token.isdecimal() and len(token) <= MAX_TOKEN_DIGITS):
        raise InvalidArgumentError(
            f"page_token is {token[:50]!r}: use the next_page_token of the page before."
        )
    return int(token)
