"""The places of a batch's workers: one that dies is replaced in the same, which tells of restarts.

A local batch has `parallelism` of them; on Kubernetes they are the completion indexes of its Job.
Where trials are shared out over GPU models, each model has places of its own.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import count
from typing import TYPE_CHECKING, Final

from sqlalchemy import select

from aiauto.server.database.models import Worker

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.orm import Session

    from aiauto.server.database.models import TrialBatch

# What Kubernetes calls the Pods of an Indexed Job: `<Job>-<index>-<5 characters>`.
_POD: Final = re.compile(r"-(\d{1,9})-[a-z0-9]{5}$")


def of_pod(pod_name: str) -> int | None:
    """The place of a Pod, by its name; None where it is not one of an Indexed Job."""
    match = _POD.search(pod_name)
    return None if match is None else int(match[1])


def free(session: Session, batch: TrialBatch, gpu_share: str | None) -> int:
    """The first place in which no worker is that lives.

    Args:
        session: A session.
        batch: The batch.
        gpu_share: The GPU model of the place; None where trials are not shared out.
    """
    query = select(Worker.slot).where(
        Worker.batch_id == batch.id, Worker.gpu_share == gpu_share, Worker.ended_at.is_(None)
    )
    taken = set(session.scalars(query))
    return next(slot for slot in count() if slot not in taken)


def restarts(workers: Iterable[Worker]) -> list[int]:
    """How many workers have failed in the place of each before it.

    Args:
        workers: All workers of a batch, oldest first.
    """
    failed: Counter[tuple[str | None, int | None]] = Counter()
    counts: list[int] = []
    for worker in workers:
        place = worker.gpu_share, worker.slot
        counts.append(0 if worker.slot is None else failed[place])
        failed[place] += worker.phase == "Failed"
    return counts
