"""How the trials of a batch are shared out over GPU models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aiauto_gen.aiauto import v1
from sqlalchemy import case, func, select

from aiauto.errors import InvalidArgumentError
from aiauto.server.batches.leases import LEASED, RETRIED
from aiauto.server.database.models import Lease, Worker

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.orm import Session

    from aiauto.server.database.models import TrialBatch

RESOURCE: Final = "nvidia.com/gpu"
MAX_PER_WORKER: Final = 64
MAX_MODELS: Final = 64
MAX_MODEL_LENGTH: Final = 63
ANY: Final = ""
"""The share of the trials that run on whatever GPU is there."""


@dataclass(frozen=True)
class GpuNeeds:
    """What a batch needs of GPUs.

    Attributes:
        per_worker: How many each worker needs.
        shares: How many of the trials run on which model; under `ANY` those that run on any.
    """

    per_worker: int
    shares: Mapping[str, int]


@dataclass(frozen=True)
class Turn:
    """What a worker that asks for a trial may do.

    Attributes:
        may_begin: It may begin another one.
        may_wait: One that runs now may have to be run again, by this worker.
    """

    may_begin: bool
    may_wait: bool


def needs(spec: v1.TrialBatchSpec) -> GpuNeeds | None:
    """What a batch needs of GPUs; None for none.

    Args:
        spec: The batch.

    Raises:
        InvalidArgumentError: It asks for what can't be.
    """
    asked = spec.resources_requests.get(RESOURCE) or spec.resources_limits.get(RESOURCE)
    if not spec.use_gpu:
        if asked or spec.gpu_model:
            name = "gpu_model" if spec.gpu_model else f"resources_requests[{RESOURCE!r}]"
            raise InvalidArgumentError(f"{name} counts for GPU workers only: pass use_gpu=True.")
        return None
    if asked is not None and not (asked.isdecimal() and 1 <= int(asked) <= MAX_PER_WORKER):
        raise InvalidArgumentError(
            f"resources_requests[{RESOURCE!r}] is {asked[:50]!r}: it must be a whole number of "
            f"GPUs for each worker, from '1' to '{MAX_PER_WORKER}'."
        )
    return GpuNeeds(int(asked or 1), _shares(spec))


def remaining(session: Session, batch: TrialBatch, wanted: GpuNeeds) -> dict[str, int]:
    """Trials of each share that have not ended."""
    active, ended = _counts(session, batch)
    if batch.stop_reason:
        return {share: active.get(share, 0) for share in wanted.shares}
    return {share: trials - ended.get(share, 0) for share, trials in wanted.shares.items()}


def turn(session: Session, batch: TrialBatch, worker: Worker) -> Turn:
    """What a worker may do: it runs the trials of its own share only."""
    share = worker.gpu_share
    if share is None:
        return Turn(may_begin=True, may_wait=True)
    wanted = needs(v1.TrialBatchSpec.parse(batch.spec))
    limit = 0 if wanted is None else wanted.shares.get(share, 0)
    active, ended = _counts(session, batch)
    running = active.get(share, 0)
    # Its GPU may be what another share waits for: it goes where nothing can come back to it.
    return Turn(may_begin=running + ended.get(share, 0) < limit, may_wait=running > 0)


def _shares(spec: v1.TrialBatchSpec) -> dict[str, int]:
    if len(spec.gpu_model) > MAX_MODELS:
        raise InvalidArgumentError(f"gpu_model names more than {MAX_MODELS} models.")
    for model, trials in spec.gpu_model.items():
        named = 1 <= len(model) <= MAX_MODEL_LENGTH and model.isprintable()
        if not named or trials < 1:
            raise InvalidArgumentError(
                f"gpu_model holds {model[:100]!r}: {trials}: it must name a model in 1 to "
                f"{MAX_MODEL_LENGTH} characters, with at least 1 trial."
            )
    rest = spec.n_trials - sum(spec.gpu_model.values())
    if rest < 0:
        raise InvalidArgumentError(
            f"gpu_model gives out {spec.n_trials - rest} trials, and n_trials is {spec.n_trials}."
        )
    return {**spec.gpu_model, **({ANY: rest} if rest else {})}


def _counts(session: Session, batch: TrialBatch) -> tuple[dict[str, int], dict[str, int]]:
    """Trials by share: those that run, and those that have ended."""
    is_active = case((Lease.state == LEASED, 1), else_=0)
    query = (
        select(Worker.gpu_share, func.sum(is_active), func.count())
        .join(Lease, Lease.worker_id == Worker.id)
        .where(Lease.batch_id == batch.id, Lease.state != RETRIED)
        .group_by(Worker.gpu_share)
    )
    rows = [(of or ANY, int(active), int(begun)) for of, active, begun in session.execute(query)]
    return (
        {of: active for of, active, _ in rows},
        {of: begun - active for of, active, begun in rows},
    )
