"""Batches: the state machine of leases and counts.

A batch is the right to run `n_trials` trials. A worker leases one of them at a time; the trial that
it creates under the lease is the lease's, and ends it. Whatever happens to a worker, every lease
ends, so that the counts add up to `n_trials`.
"""

from aiauto.server.batches.batches import Batches
from aiauto.server.batches.gpu_shares import GpuNeeds
from aiauto.server.batches.records import (
    Acquired,
    BatchRecord,
    WorkerRecord,
    WorkerTicket,
    WorkOrder,
)
from aiauto.server.batches.stopping import StopReason

__all__ = [
    "Acquired",
    "BatchRecord",
    "Batches",
    "GpuNeeds",
    "StopReason",
    "WorkOrder",
    "WorkerRecord",
    "WorkerTicket",
]
