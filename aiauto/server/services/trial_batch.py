"""Batches of trials."""

from __future__ import annotations

import asyncio
import re
import secrets
from datetime import timedelta
from typing import TYPE_CHECKING

from aiauto_gen.aiauto import v1
from sqlalchemy import func, select

from aiauto.errors import InvalidArgumentError, NotFoundError
from aiauto.server.batches import gpu_shares, slots
from aiauto.server.batches.changes import BEGUN
from aiauto.server.batches.image_credentials import take_credentials
from aiauto.server.batches.leases import LEASED, RETRIED
from aiauto.server.batches.memory_limits import check_memory_limit
from aiauto.server.database.models import (
    BatchObjective,
    Lease,
    Study,
    TrialBatch,
    Worker,
    Workspace,
    now,
)
from aiauto.server.limits import told
from aiauto.server.messages import (
    batch_info,
    batch_status,
    pod_info,
    rfc3339,
    trial_info,
    unstarted_trial_info,
)
from aiauto.server.services.calls import Calls, check_request_id
from aiauto.server.services.ownership import batch_of, study_of
from aiauto.server.wholeness import to_the_end

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiauto_gen.connect import Context
    from sqlalchemy.orm import Session

    from aiauto.server.limits import Limits

MAX_RETRIES = 100
MAX_TIMEOUT_SECONDS = 10 * 365 * 86_400
MAX_STUDY_PART_OF_NAME = 40


class TrialBatchCalls(Calls):
    """The calls about batches."""

    async def optimize(self, request: v1.OptimizeRequest, context: Context) -> v1.OptimizeResponse:
        """Start a batch, or answer with the one that this request has started before."""
        del context
        objective, spec, credentials = _checked(request, self._parts.limits)
        user_id = self._user_id
        await self._parts.executor.check(gpu_shares.needs(spec))

        def unit(session: Session) -> tuple[str, int | None]:
            study = study_of(session, user_id, spec.study_name)
            if request.request_id:
                known = session.scalar(
                    select(TrialBatch.name).where(
                        TrialBatch.study_id == study.id,
                        TrialBatch.request_id == request.request_id,
                    )
                )
                if known is not None:
                    return known, None
            self._parts.limits.check_room(
                "max_batches",
                _unfinished(session, user_id),
                has="You have {} batches that are not over",
                advice="wait until one has ended, or cancel one",
            )
            batch = TrialBatch(
                name=_batch_name(study.name),
                study_id=study.id,
                request_id=request.request_id or None,
                spec=bytes(spec),
                n_trials=spec.n_trials,
                parallelism=spec.parallelism,
                trial_timeout=spec.trial_timeout_seconds,
                max_retries=spec.max_retries,
                patience=spec.patience,
            )
            if spec.timeout_seconds is not None:
                batch.deadline_at = now() + timedelta(seconds=spec.timeout_seconds)
            session.add(batch)
            session.flush()
            session.add(BatchObjective(batch_id=batch.id, payload=bytes(objective)))
            return batch.name, batch.id

        async def begin() -> str:
            name, new_id = await self._parts.database.write(unit)
            if new_id is not None:
                if spec.timeout_seconds is not None:
                    self._parts.batches.expiry.note(new_id, spec.timeout_seconds)
                self._parts.batches.changes.announce(BEGUN)
            # One that is there already may have been left without what it needs.
            await self._parts.executor.launch(name, credentials)
            return name

        # Nobody else would start the workers of a batch whose client died here.
        return v1.OptimizeResponse(trialbatch_name=await to_the_end(begin()))

    async def get_status(
        self, request: v1.GetStatusRequest, context: Context
    ) -> v1.GetStatusResponse:
        """Tell how a study's batches are doing."""
        del context
        user_id = self._user_id

        def unit(session: Session) -> Sequence[tuple[TrialBatch, Study]]:
            study = study_of(session, user_id, request.study_name)
            query = select(TrialBatch).where(TrialBatch.study_id == study.id)
            if request.trialbatch_name:
                query = query.where(TrialBatch.name == request.trialbatch_name)
            return [(batch, study) for batch in session.scalars(query.order_by(TrialBatch.id))]

        batches = await self._parts.database.read(unit)
        if request.trialbatch_name and not batches:
            raise NotFoundError(
                f"trialbatch_name: the study {request.study_name!r} has no batch "
                f"{request.trialbatch_name[:100]!r}."
            )
        statuses = {batch.name: batch_status(batch) for batch, _ in batches}
        if request.include_trials:
            for batch, study in batches:
                statuses[batch.name].completed_trials = await self._trials(batch, study)
        return v1.GetStatusResponse(
            study_name=request.study_name,
            trialbatches=statuses,
            dashboard_url=self._parts.links.dashboard_url(user_id),
            updated_at=rfc3339(now()),
        )

    async def list_trial_batches(
        self, request: v1.ListTrialBatchesRequest, context: Context
    ) -> v1.ListTrialBatchesResponse:
        """List the caller's batches."""
        del request, context
        user_id = self._user_id

        def unit(session: Session) -> list[v1.TrialBatchInfo]:
            query = (
                select(TrialBatch)
                .join(Study, Study.id == TrialBatch.study_id)
                .join(Workspace, Workspace.id == Study.workspace_id)
                .where(Workspace.user_id == user_id)
            )
            return [
                batch_info(batch, user_id)
                for batch in session.scalars(query.order_by(TrialBatch.id))
            ]

        return v1.ListTrialBatchesResponse(trial_batches=await self._parts.database.read(unit))

    async def list_trial_batches_by_study(
        self, request: v1.ListTrialBatchesByStudyRequest, context: Context
    ) -> v1.ListTrialBatchesByStudyResponse:
        """List the batches of one study."""
        del context
        user_id = self._user_id

        def unit(session: Session) -> list[v1.TrialBatchInfo]:
            study = study_of(session, user_id, request.study_name)
            query = select(TrialBatch).where(TrialBatch.study_id == study.id)
            return [
                batch_info(batch, user_id)
                for batch in session.scalars(query.order_by(TrialBatch.id))
            ]

        return v1.ListTrialBatchesByStudyResponse(
            trial_batches=await self._parts.database.read(unit)
        )

    async def get_trial_batch(
        self, request: v1.GetTrialBatchRequest, context: Context
    ) -> v1.GetTrialBatchResponse:
        """Tell what a batch is and how it is doing."""
        del context
        user_id = self._user_id
        info = await self._parts.database.read(
            lambda session: batch_info(batch_of(session, user_id, request.name), user_id)
        )
        return v1.GetTrialBatchResponse(trial_batch=info)

    async def list_trial_batch_pods(
        self, request: v1.ListTrialBatchPodsRequest, context: Context
    ) -> v1.ListTrialBatchPodsResponse:
        """List the workers of a batch."""
        del context
        user_id = self._user_id

        def unit(session: Session) -> list[v1.PodInfo]:
            batch = batch_of(session, user_id, request.trialbatch_name)
            query = select(Worker).where(Worker.batch_id == batch.id).order_by(Worker.id)
            workers = session.scalars(query).all()
            return list(map(pod_info, workers, slots.restarts(workers)))

        return v1.ListTrialBatchPodsResponse(pods=await self._parts.database.read(unit))

    async def cancel_trial_batch(
        self, request: v1.CancelTrialBatchRequest, context: Context
    ) -> v1.CancelTrialBatchResponse:
        """End a batch."""
        del context
        user_id = self._user_id
        await self._parts.database.read(lambda session: batch_of(session, user_id, request.name))
        await self._parts.batches.cancel(request.name)
        # They would end by themselves, some seconds later.
        await self._parts.executor.cancel(request.name)
        return v1.CancelTrialBatchResponse()

    async def delete_trial_batch(
        self, request: v1.DeleteTrialBatchRequest, context: Context
    ) -> v1.DeleteTrialBatchResponse:
        """Stop a batch and forget it. One that is not there is deleted already."""
        del context
        user_id = self._user_id
        try:
            batch_id = await self._parts.database.read(
                lambda session: batch_of(session, user_id, request.name).id
            )
        except NotFoundError:
            return v1.DeleteTrialBatchResponse()
        await self._parts.batches.fail_batch(request.name, "The batch was deleted.")
        await self._parts.executor.cancel(request.name)

        def remove(session: Session) -> None:
            batch = session.get(TrialBatch, batch_id)
            if batch is not None:
                session.delete(batch)

        await self._parts.database.write(remove)
        self._parts.batches.changes.forget(batch_id)
        return v1.DeleteTrialBatchResponse()

    async def _trials(self, batch: TrialBatch, study: Study) -> dict[str, v1.TrialInfo]:
        """The trials of a batch that have ended, by names of their own."""

        def unit(session: Session) -> Sequence[tuple[Lease, str]]:
            query = (
                select(Lease, Worker.name)
                .join(Worker, Worker.id == Lease.worker_id)
                .where(Lease.batch_id == batch.id, Lease.state.not_in([LEASED, RETRIED]))
                .order_by(Lease.id)
            )
            return [(lease, worker) for lease, worker in session.execute(query)]

        ended = await self._parts.database.read(unit)

        def details() -> dict[str, v1.TrialInfo]:
            storage = self._parts.journal.storage(study.workspace_id)
            trials = storage.get_all_trials(study.optuna_study_id, deepcopy=False)
            removed = self._parts.files.retention.removed(study.workspace_id, trials)
            return {
                f"{batch.name}-lease-{lease.id}": trial_info(
                    trials[lease.trial_number],
                    lease,
                    pod_name=worker,
                    artifact_removed=lease.trial_number in removed,
                )
                if lease.trial_number is not None
                else unstarted_trial_info(lease, pod_name=worker)
                for lease, worker in ended
            }

        return await asyncio.to_thread(details)


def _unfinished(session: Session, user_id: int) -> int | None:
    """How many batches of a user are not over."""
    return session.scalar(
        select(func.count())
        .select_from(TrialBatch)
        .join(Study, Study.id == TrialBatch.study_id)
        .join(Workspace, Workspace.id == Study.workspace_id)
        .where(Workspace.user_id == user_id, TrialBatch.finished_at.is_(None))
    )


def _checked(
    request: v1.OptimizeRequest, limits: Limits
) -> tuple[v1.ObjectivePayload, v1.TrialBatchSpec, str | None]:
    """What was asked for, checked, and the credentials that were with it."""
    objective, spec = request.objective, request.batch
    if spec is None or objective is None:
        raise InvalidArgumentError("objective, batch: both must be given.")
    _check_size(spec, limits)
    check_memory_limit(spec)
    for name, seconds in (
        ("timeout_seconds", spec.timeout_seconds),
        ("trial_timeout_seconds", spec.trial_timeout_seconds),
    ):
        if seconds is not None and not 0 < seconds <= MAX_TIMEOUT_SECONDS:
            raise InvalidArgumentError(
                f"{name} is {seconds}: it must be above 0 and at most {MAX_TIMEOUT_SECONDS}."
            )
    if not 0 <= spec.max_retries <= MAX_RETRIES:
        raise InvalidArgumentError(
            f"max_retries is {spec.max_retries}: it must be from 0 to {MAX_RETRIES}."
        )
    if spec.patience < 0:
        raise InvalidArgumentError(f"patience is {spec.patience}: it must not be negative.")
    if not objective.pickled:
        raise InvalidArgumentError(
            "objective.pickled is empty: this server runs pickled objectives, not source text."
        )
    if request.request_id:  # clients of the hosted service send none
        check_request_id(request.request_id)
    return objective, spec, take_credentials(spec)


def _check_size(spec: v1.TrialBatchSpec, limits: Limits) -> None:
    for name, number, limit_name, limit in (
        ("n_trials", spec.n_trials, "max_trials", limits.max_trials),
        ("parallelism", spec.parallelism, "max_parallelism", limits.max_parallelism),
    ):
        if number < 1:
            raise InvalidArgumentError(f"{name} is {number}: it must be from 1 to {limit}.")
        if number > limit:
            raise InvalidArgumentError(f"{name} is {number}: {told(limit_name, limit)}.")


def _batch_name(study_name: str) -> str:
    """A name that is unique, and that Kubernetes takes."""
    dns = re.sub(r"[^a-z0-9]+", "-", study_name.lower())[:MAX_STUDY_PART_OF_NAME].strip("-")
    return f"{dns or 'study'}-{secrets.token_hex(4)}"
