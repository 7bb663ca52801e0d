"""What is told about batches and workers to those who run them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from aiauto_gen.aiauto import v1

    from aiauto.server.batches.gpu_shares import GpuNeeds


@dataclass(frozen=True)
class BatchRecord:
    """A batch that is not over.

    Attributes:
        name: Its name.
        n_trials: How many trials it is.
        parallelism: How many workers shall run them at once.
        remaining: Trials that have not ended.
        max_retries: How often a trial that failed is run again.
        gpus: What its workers need of GPUs; None for none.
        memory_limit: How many bytes of memory each of them may use; None for no limit.
    """

    name: str
    n_trials: int
    parallelism: int
    remaining: int
    max_retries: int = 0
    gpus: GpuNeeds | None = None
    memory_limit: int | None = None


@dataclass(frozen=True)
class WorkOrder:
    """What the workers of a batch need that the server does not start itself.

    Attributes:
        batch_name: The batch.
        spec: What it is. Image credentials are left out.
        python: Major and minor version of the Python that its objective is from; None where that
            was not told.
        workspace_id: Its workspace.
        shared_cache_dir: Where its workers find the workspace's shared cache.
    """

    batch_name: str
    spec: v1.TrialBatchSpec
    python: tuple[int, int] | None
    workspace_id: int
    shared_cache_dir: str


@dataclass(frozen=True)
class WorkerRecord:
    """A worker that has not ended, as far as the database knows.

    Attributes:
        name: Its name.
        process_id: Its process, None until it is known.
        started_at: When it came up, None until it did.
        gpu_share: The GPU model whose trials it runs; empty for any.
    """

    name: str
    process_id: int | None
    started_at: datetime | None
    gpu_share: str = ""


@dataclass(frozen=True)
class WorkerTicket:
    """What a new worker needs.

    Attributes:
        worker_name: Its name.
        token: Its token, told this once.
        ordinal: How many workers the study had before.
        workspace_id: The workspace of its batch.
    """

    worker_name: str
    token: str
    ordinal: int
    workspace_id: int


@dataclass(frozen=True)
class Acquired:
    """What came of asking for a lease.

    Attributes:
        lease_id: The lease; None where there is none to be had now.
        fence: Its fence.
        may_come: Whether there may be one later.
        begun: Whether it has its trial.
    """

    lease_id: int | None = None
    fence: int = 0
    may_come: bool = False
    begun: bool = False
