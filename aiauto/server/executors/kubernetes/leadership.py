"""Which of several servers on one database looks after the batches: one at a time."""

from __future__ import annotations

import asyncio
import logging
import socket
import uuid
from typing import TYPE_CHECKING, Final

from kubernetes_asyncio.leaderelection.electionconfig import Config
from kubernetes_asyncio.leaderelection.leaderelection import LeaderElection
from kubernetes_asyncio.leaderelection.resourcelock.leaselock import LeaseLock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiauto.server.executors.kubernetes.cluster import Cluster

LOGGER = logging.getLogger(__name__)

LEASE_NAME: Final = "aiauto-server"
# As Kubernetes' own controllers have them.
LEASE_SECONDS: Final = 15
RENEW_SECONDS: Final = 10
RETRY_SECONDS: Final = 2
PAUSE_SECONDS: Final = 2.0


async def lead(cluster: Cluster, work: Callable[[], Awaitable[None]]) -> None:
    """Do some work as long as no other server does it, for ever.

    Args:
        cluster: Its Lease `aiauto-server` says who leads.
        work: What a leader does, until it is cancelled.
    """
    identity = f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}"
    while True:
        try:
            await _lead_once(cluster, identity, work)
        except Exception as error:  # noqa: BLE001 - the election knows no other way to say it
            LOGGER.warning("Who looks after the batches can't be found out: %r", error)
        await asyncio.sleep(PAUSE_SECONDS)


async def _lead_once(cluster: Cluster, identity: str, work: Callable[[], Awaitable[None]]) -> None:
    """Wait to be the leader, work, and return or raise when that is over."""
    working: list[asyncio.Task[None]] = []

    async def begin() -> None:
        LOGGER.info("This server looks after the batches now")
        working.append(asyncio.create_task(_until_cancelled(work)))

    async def end() -> None:
        LOGGER.warning("Another server looks after the batches now, or the cluster is away")

    lock = LeaseLock(LEASE_NAME, cluster.namespace, identity, cluster.api)
    election = LeaderElection(
        Config(
            lock,
            lease_duration=LEASE_SECONDS,
            renew_deadline=RENEW_SECONDS,
            retry_period=RETRY_SECONDS,
            onstarted_leading=begin,
            onstopped_leading=end,
        )
    )
    try:
        await election.run()
    finally:
        # However the election has ended: it leaves what it has begun alone.
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)


async def _until_cancelled(work: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await work()
        except Exception:  # whoever leads and does nothing would keep others from it
            LOGGER.exception("Looking after the batches failed, and is begun anew")
        await asyncio.sleep(PAUSE_SECONDS)
