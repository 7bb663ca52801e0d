"""Workers that nobody of the server starts: Pods that appear, and say which batch they are of."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aiauto_gen.aiauto import v1
from sqlalchemy import delete, func, select

from aiauto.errors import (
    AbortedError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
)
from aiauto.server.auth import new_token
from aiauto.server.batches import gpu_shares, workers
from aiauto.server.batches.records import WorkOrder
from aiauto.server.database.models import (
    BatchObjective,
    Study,
    Token,
    TrialBatch,
    Worker,
    Workspace,
)

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from aiauto.server.batches.changes import Changes
    from aiauto.server.database import Database

MAX_NAME_LENGTH: Final = 63
# Pods that are being replaced, and more Pods than there should be while a controller catches up.
SPARE_WORKERS: Final = 16


@dataclass(frozen=True)
class Seen:
    """A Pod as it stands before it is a worker.

    Attributes:
        pod_name: Its name.
        gpu_share: The GPU model whose trials it is to run; empty for those of none.
        reason: One CamelCase word for what it waits for; empty for nothing.
        message: The same as a sentence.
        node_name: The machine that it was given to; empty for none yet.
    """

    pod_name: str
    gpu_share: str
    reason: str = ""
    message: str = ""
    node_name: str = ""


class Enrollment:
    """Enters Pods as workers: those that the cluster tells of, and those that come by themselves.

    Whichever is first, a Pod is one worker, and has its name.
    """

    def __init__(self, database: Database, changes: Changes) -> None:
        """Make it.

        Args:
            database: Where batches and workers are kept.
            changes: Told of new workers.
        """
        self._database = database
        self._changes = changes

    async def order(self, batch_name: str) -> WorkOrder:
        """What Pods of a batch need.

        Raises:
            NotFoundError: The batch is gone.
        """

        def unit(session: Session) -> WorkOrder:
            query = (
                select(TrialBatch, BatchObjective.payload, Workspace)
                .join(BatchObjective, BatchObjective.batch_id == TrialBatch.id)
                .join(Study, Study.id == TrialBatch.study_id)
                .join(Workspace, Workspace.id == Study.workspace_id)
                .where(TrialBatch.name == batch_name)
            )
            found = session.execute(query).one_or_none()
            if found is None:
                raise NotFoundError(f"The batch {batch_name!r} is not there.")
            batch, objective, workspace = found
            return WorkOrder(
                batch_name,
                v1.TrialBatchSpec.parse(batch.spec),
                _minor(v1.ObjectivePayload.parse(objective).python_version),
                workspace.id,
                workspace.shared_cache_dir,
            )

        return await self._database.read(unit)

    async def phases(self, batch_name: str) -> dict[str, str]:
        """The workers of a batch by name, each with where it stands (a `Phase` as text)."""

        def unit(session: Session) -> dict[str, str]:
            query = (
                select(Worker.name, Worker.phase)
                .join(TrialBatch, TrialBatch.id == Worker.batch_id)
                .where(TrialBatch.name == batch_name)
            )
            return {name: phase for name, phase in session.execute(query)}  # noqa: C416 - rows

        return await self._database.read(unit)

    async def issue_token(self, batch_name: str) -> str | None:
        """Issue an enrollment token. Those issued before stay valid: Pods may hold them.

        Args:
            batch_name: The batch.

        Returns:
            The token; None where the batch is over or gone.
        """

        def unit(session: Session) -> str | None:
            batch = session.scalar(select(TrialBatch).where(TrialBatch.name == batch_name))
            if batch is None or batch.is_over:
                return None
            study = session.get_one(Study, batch.study_id)
            workspace = session.get_one(Workspace, study.workspace_id)
            return new_token(session, workspace.user_id, batch_id=batch.id)

        return await self._database.write(unit)

    async def note(self, batch_name: str, pods: list[Seen]) -> None:
        """Note the Pods of a batch that are not up yet.

        Args:
            batch_name: The batch. Nothing happens where it is over or gone.
            pods: The Pods.
        """

        def unit(session: Session) -> int | None:
            batch = session.scalar(select(TrialBatch).where(TrialBatch.name == batch_name))
            if batch is None or batch.is_over:
                return None
            changed = False
            for pod in pods:
                worker = workers.named(session, pod.pod_name) or workers.enter(
                    session, batch, name=pod.pod_name, gpu_share=_share(batch, pod.gpu_share)
                )
                if worker.batch_id != batch.id or worker.phase != workers.PENDING:
                    continue
                told = pod.reason, pod.message, pod.node_name
                if (worker.reason, worker.message, worker.host_name) != told:
                    worker.reason, worker.message, worker.host_name = told
                    changed = True
            return batch.id if changed else None

        if pods and (batch_id := await self._database.write(unit)) is not None:
            self._changes.announce(batch_id)

    async def enroll(self, batch_id: int, pod_name: str, gpu_share: str) -> str:
        """Make a Pod a worker.

        Args:
            batch_id: Its batch.
            pod_name: Its name.
            gpu_share: The GPU model whose trials it runs; empty for those of none.

        Returns:
            The worker's token. An earlier one of the same Pod is void.

        Raises:
            AbortedError: The batch is over, or the Pod is known to have ended.
            InvalidArgumentError: No Pod of the batch can have that name, or the batch no such GPUs.
            ResourceExhaustedError: The batch has far more workers than it should.
        """

        def unit(session: Session) -> str:
            batch = session.get(TrialBatch, batch_id, with_for_update=True)
            if batch is None or batch.is_over:
                raise AbortedError("The batch is over: there is nothing left to do.")
            if not pod_name.startswith(f"{batch.name}-") or len(pod_name) > MAX_NAME_LENGTH:
                raise InvalidArgumentError(
                    f"pod_name is {pod_name[:100]!r}: it must begin with {batch.name}- and have at "
                    f"most {MAX_NAME_LENGTH} characters."
                )
            worker = workers.named(session, pod_name)
            if worker is None:
                _check_room(session, batch)
                worker = workers.enter(
                    session, batch, name=pod_name, gpu_share=_share(batch, gpu_share)
                )
            if worker.batch_id != batch.id or worker.phase in workers.ENDED:
                raise AbortedError(
                    f"The Pod {pod_name!r} has ended, as far as the server knows: another one "
                    "takes its place."
                )
            session.execute(delete(Token).where(Token.worker_id == worker.id))
            study = session.get_one(Study, batch.study_id)
            workspace = session.get_one(Workspace, study.workspace_id)
            return new_token(session, workspace.user_id, worker_id=worker.id)

        token = await self._database.write(unit)
        self._changes.announce(batch_id)
        return token


def _minor(version: str) -> tuple[int, int] | None:
    """Major and minor of a Python's version, for example ``3.12.1``."""
    match = re.match(r"(\d+)\.(\d+)", version)
    return None if match is None else (int(match[1]), int(match[2]))


def _share(batch: TrialBatch, gpu_share: str) -> str | None:
    """The share of a new worker, as its row has it."""
    wanted = gpu_shares.needs(v1.TrialBatchSpec.parse(batch.spec))
    if wanted is None or set(wanted.shares) == {gpu_shares.ANY}:
        return None
    if gpu_share not in wanted.shares:
        raise InvalidArgumentError(
            f"gpu_share is {gpu_share[:100]!r}: the batch has no trials for that GPU model."
        )
    return gpu_share


def _check_room(session: Session, batch: TrialBatch) -> None:
    query = (
        select(func.count())
        .select_from(Worker)
        .where(Worker.batch_id == batch.id, Worker.phase.not_in(workers.ENDED))
    )
    there = session.scalars(query).one()
    if there >= 2 * batch.parallelism + SPARE_WORKERS:
        raise ResourceExhaustedError(
            f"The batch has {there} workers, and its parallelism is {batch.parallelism}."
        )
