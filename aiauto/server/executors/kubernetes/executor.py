"""Workers as Pods of a Kubernetes cluster."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Final

from aiauto_gen.aiauto import v1

from aiauto.errors import AIAutoError, UnavailableError
from aiauto.server.batches.workers import ENDED
from aiauto.server.executors.kubernetes import jobs
from aiauto.server.executors.kubernetes.batch_jobs import BatchJobs
from aiauto.server.executors.kubernetes.cluster import Cluster, ClusterError
from aiauto.server.executors.kubernetes.informer import Informer
from aiauto.server.executors.kubernetes.leadership import lead
from aiauto.server.executors.kubernetes.overseer import Overseer
from aiauto.server.executors.kubernetes.pods import GRACE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiauto.server.batches import Batches, GpuNeeds
    from aiauto.server.executors.kubernetes.configuration import Configuration, Json
    from aiauto.server.files.store import Store

LOGGER = logging.getLogger(__name__)

# Batches that another replica has taken are found so soon.
CHECK_SECONDS: Final = 3.0


class KubernetesExecutor:
    """Runs a batch as a Job whose Pods lease its trials.

    Any replica of the server makes and removes Jobs; one of them, the leader, looks after what
    becomes of them. Workers need no server to go on with the trial that they have, and outlive it.
    """

    def __init__(
        self,
        batches: Batches,
        store: Store,
        configuration: Configuration,
        *,
        base_url: str,
        wheel_path: str,
    ) -> None:
        """Make an executor.

        Args:
            batches: The state of all batches.
            store: Where the shared caches are.
            configuration: How the cluster wants workers.
            base_url: Address of the server, as users are told it.
            wheel_path: Where the workers' own code is to be had, from that address on.
        """
        self._batches = batches
        self._store = store
        self._configuration = configuration
        self._base_url = configuration.worker_url or base_url
        self._wheel_url = f"{self._base_url}{wheel_path}"
        self._connected: tuple[Cluster, BatchJobs] | None = None
        self._leading: asyncio.Task[None] | None = None
        self._overseers: dict[str, tuple[Overseer, asyncio.Task[None]]] = {}

    async def start(self) -> None:
        """Connect to the cluster, and look after the batches if no other server does.

        Raises:
            ArgumentValueError: There is no cluster, or it can't be used.
        """
        cluster = await Cluster.connect(self._configuration.namespace)
        batch_jobs = BatchJobs(
            cluster,
            self._batches,
            self._configuration,
            base_url=self._base_url,
            wheel_url=self._wheel_url,
            cache_path=self._cache_path,
        )
        self._connected = cluster, batch_jobs
        self._leading = asyncio.create_task(lead(cluster, self._look_after_all))

    async def check(self, needs: GpuNeeds | None) -> None:
        """Refuse a batch that can never run here."""
        for share in needs.shares if needs is not None else ():
            self._configuration.flavor(share)

    async def gpu_flavors(self) -> Sequence[v1.GpuFlavorInfo]:
        """The kinds of GPU that workers can have."""
        return [
            v1.GpuFlavorInfo(name=flavor.name, node_labels=dict(flavor.node_labels))
            for flavor in self._configuration.gpu_flavors
        ]

    async def launch(self, batch_name: str, credentials: str | None = None) -> None:
        """Make the Jobs of a new batch, as soon as the cluster takes them.

        What the cluster refuses is told of the batch, not here: the batch is there.
        """
        _, batch_jobs = self._cluster
        batch = await self._batches.find_unfinished(batch_name)
        if batch is None:
            return
        try:
            trials = await batch_jobs.trials_left(batch)
            await batch_jobs.ensure_all(batch, trials, batch.parallelism, credentials)
        except ClusterError as error:
            if error.is_final:
                why = f"The cluster refuses to run the batch: {error}"
                await self._batches.fail_batch(batch_name, why)
            else:
                # The leader tries on.
                LOGGER.warning("%s: %s", batch_name, error)
                await self._batches.waits_for(batch_name, str(error))
        except AIAutoError as error:
            await self._batches.fail_batch(batch_name, str(error))

    async def cancel(self, batch_name: str) -> None:
        """Delete the Jobs of a batch. Returns when its Pods are gone."""
        _, batch_jobs = self._cluster
        try:
            await batch_jobs.remove(batch_name, patience=GRACE_SECONDS)
        except ClusterError as error:
            message = f"The batch has ended, and its Pods could not be removed yet: {error}"
            raise UnavailableError(message) from error
        for name, phase in (await self._batches.enrollment.phases(batch_name)).items():
            if phase not in ENDED:
                await self._batches.worker_exited(
                    name,
                    exit_code=None,
                    reason="Canceled",
                    message="The batch was ended before this worker was done.",
                )

    async def close(self) -> None:
        """Look after nothing any more. The Pods go on."""
        if self._leading is not None:
            self._leading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._leading
        if self._connected is not None:
            await self._connected[0].close()

    def kill(self) -> None:
        """Do nothing: no worker goes with this server."""

    @property
    def _cluster(self) -> tuple[Cluster, BatchJobs]:
        if self._connected is None:
            message = "The server is not connected to its cluster yet."
            raise UnavailableError(message)
        return self._connected

    def _cache_path(self, workspace_id: int) -> str:
        """Where a workspace's shared cache is in the claim that holds the data folder."""
        folder = self._store.folder(workspace_id, v1.FilePlace.SHARED_CACHE)
        path = folder.relative_to(self._store.root.parent).as_posix()
        prefix = self._configuration.shared_cache_path.strip("/")
        return f"{prefix}/{path}" if prefix else path

    async def _look_after_all(self) -> None:
        """Watch the cluster, and look after every batch that is not over."""
        cluster, batch_jobs = self._cluster
        job_informer = Informer(cluster, "job", jobs.ALL, self._tell_of_job)
        pod_informer = Informer(cluster, "pod", jobs.ALL, self._tell_of_pod)
        watching = [
            asyncio.create_task(informer.run()) for informer in (job_informer, pod_informer)
        ]
        try:
            await job_informer.synced.wait()
            await pod_informer.synced.wait()
            left: set[str] | None = None
            while True:
                with contextlib.suppress(UnavailableError):  # the database is away
                    if left is None:
                        # Nobody led while they ended, and their Jobs may be gone since.
                        left = set(await self._batches.with_workers_left())
                    # Pods of a batch that is over may not have heard of its end yet.
                    names = {batch.name for batch in await self._batches.unfinished()}
                    names |= {jobs.batch_of(job) for job in job_informer.objects.values()}
                    names |= left
                    for name in names - self._overseers.keys():
                        overseer = Overseer(
                            name,
                            self._batches,
                            cluster,
                            batch_jobs,
                            self._configuration,
                            job_informer=job_informer,
                            pod_informer=pod_informer,
                        )
                        self._overseers[name] = overseer, asyncio.create_task(overseer.run())
                    left = set()
                    for name in self._overseers.keys() - names:
                        if self._overseers[name][1].done():
                            del self._overseers[name]
                await asyncio.sleep(CHECK_SECONDS)
        finally:
            tasks = [*watching, *(task for _, task in self._overseers.values())]
            self._overseers.clear()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _tell_of_job(self, job: Json) -> None:
        if (found := self._overseers.get(jobs.batch_of(job))) is not None:
            found[0].note_job()

    def _tell_of_pod(self, pod: Json) -> None:
        if (found := self._overseers.get(jobs.batch_of(pod))) is not None:
            found[0].note_pod(pod)
