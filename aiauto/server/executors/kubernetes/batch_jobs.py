"""The Jobs of batches: made as the cluster wants them, and removed. Any replica may do either."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from aiauto import images
from aiauto.errors import FailedPreconditionError
from aiauto.server.batches.gpu_shares import ANY
from aiauto.server.executors.kubernetes import jobs
from aiauto.server.executors.kubernetes.allotment import allot
from aiauto.server.executors.kubernetes.pods import Work
from aiauto.server.executors.kubernetes.states import state_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aiauto.server.batches import Batches, BatchRecord, WorkOrder
    from aiauto.server.executors.kubernetes.cluster import Cluster
    from aiauto.server.executors.kubernetes.configuration import Configuration, Json

LOGGER = logging.getLogger(__name__)

POLL_SECONDS: Final = 0.5
# What a Pod may take to go beyond the time that it is given.
SPARE_SECONDS: Final = 20.0


class BatchJobs:
    """Makes and removes the Jobs of batches."""

    def __init__(
        self,
        cluster: Cluster,
        batches: Batches,
        configuration: Configuration,
        *,
        base_url: str,
        wheel_url: str,
        cache_path: Callable[[int], str],
    ) -> None:
        """Make it.

        Args:
            cluster: The cluster.
            batches: The state of all batches.
            configuration: How the cluster wants workers.
            base_url: Address of the server, for Pods.
            wheel_url: Where the workers' own code is to be had.
            cache_path: Where a workspace's shared cache is within the server's data folder.
        """
        self._cluster = cluster
        self._batches = batches
        self._configuration = configuration
        self._base_url = base_url
        self._wheel_url = wheel_url
        self._cache_path = cache_path
        # Jobs whose Secrets are known to be there.
        self._complete: set[str] = set()
        # Of batches whose next Job is still to be made.
        self._credentials: dict[str, str] = {}

    async def trials_left(self, batch: BatchRecord) -> dict[str, int]:
        """Trials of a batch that have not ended, by the GPU model that they run on."""
        if batch.gpus is None:
            return {ANY: batch.remaining}
        return await self._batches.gpu_shares(batch.name)

    async def ensure_all(
        self, batch: BatchRecord, trials: Mapping[str, int], workers: int, pull: str | None = None
    ) -> None:
        """See to it that there is a Job for each GPU model, as far as there are workers for it.

        Args:
            batch: The batch.
            trials: Its trials that have not ended, by model.
            workers: How many Pods the Jobs may have in all.
            pull: Credentials for its image, as a Docker `config.json`.

        Raises:
            ClusterError: As `ensure`.
            FailedPreconditionError: The same.
            NotFoundError: The same.
        """
        for share, count in allot(workers, trials).items():
            attempts = trials[share] * (batch.max_retries + 1)
            await self.ensure(batch, share, count, attempts, pull)

    async def ensure(
        self, batch: BatchRecord, share: str, workers: int, trials: int, pull: str | None = None
    ) -> None:
        """See to it that there is a Job, with all that it needs.

        Args:
            batch: The batch.
            share: The GPU model whose trials it runs; empty for those of any, and of none.
            workers: How many Pods it shall have.
            trials: How many trials they may begin.
            pull: Credentials for its image, as a Docker `config.json`.

        Raises:
            ClusterError: The cluster refuses, or can't be reached.
            FailedPreconditionError: No image is known for the batch, or no such GPU.
            NotFoundError: The batch is gone.
        """
        name = jobs.job_name(batch.name, share)
        order = await self._batches.enrollment.order(batch.name)
        pull_secret = jobs.pull_secret_name(batch.name)
        if pull is None:
            pull = self._credentials.get(batch.name) or await self._credentials_of(batch.name)
        manifest = jobs.job_manifest(
            self._work(order, batch, share),
            self._configuration,
            workers=workers,
            trials=trials,
            wheel_url=self._wheel_url,
            pull_secret=None if pull is None else pull_secret,
        )
        job = await self._cluster.create_job(manifest)
        LOGGER.info("%s: Job %s with %d workers", batch.name, name, workers)
        if pull is not None:
            await self._put(jobs.pull_secret(job, batch.name, pull))
        self._credentials.pop(batch.name, None)
        await self.complete(job, batch.name)

    async def complete(self, job: Json, batch_name: str) -> None:
        """See to it that the Pods of a Job find their enrollment token.

        Args:
            job: The Job, as the cluster tells of it.
            batch_name: Its batch.

        Raises:
            ClusterError: The cluster refuses, or can't be reached.
        """
        uid = str(job["metadata"]["uid"])
        if uid in self._complete:
            return
        found = await self._cluster.secret(jobs.token_secret_name(job["metadata"]["name"]))
        if found is None or not jobs.is_owned(found, uid):
            token = await self._batches.enrollment.issue_token(batch_name)
            if token is None:
                return
            await self._put(jobs.token_secret(job, batch_name, token))
        self._complete.add(uid)

    async def make_room(self, job: Json, batch_name: str) -> None:
        """Delete a Job that has ended, so that another one can take its place.

        Args:
            job: The Job.
            batch_name: Its batch.

        Raises:
            ClusterError: The cluster refuses, or can't be reached.
        """
        if (credentials := await self._credentials_of(batch_name)) is not None:
            # They go with it.
            self._credentials[batch_name] = credentials
        await self._cluster.delete_job(str(job["metadata"]["name"]))

    async def remove(self, batch_name: str, *, patience: float) -> list[str]:
        """Delete the Jobs of a batch, and wait for the end of its Pods.

        Args:
            batch_name: The batch.
            patience: Seconds to wait at most for Pods that are given their time to end.

        Returns:
            The Pods that it had.

        Raises:
            ClusterError: The cluster refuses, or can't be reached.
        """
        selector = jobs.of_batch(batch_name)
        for job in (await self._cluster.list_objects("job", selector))[0]:
            await self._cluster.delete_job(str(job["metadata"]["name"]))
            self._complete.discard(str(job["metadata"]["uid"]))
        names: set[str] = set()
        deadline = asyncio.get_running_loop().time() + patience + SPARE_SECONDS
        while True:
            pods, _ = await self._cluster.list_objects("pod", selector)
            names |= {str(pod["metadata"]["name"]) for pod in pods}
            alive = [pod for pod in pods if not state_of(pod).ended]
            if not alive or asyncio.get_running_loop().time() > deadline:
                return sorted(names)
            await asyncio.sleep(POLL_SECONDS)

    async def _credentials_of(self, batch_name: str) -> str | None:
        """The credentials for a batch's image that an earlier Job of it has."""
        found = await self._cluster.secret(jobs.pull_secret_name(batch_name))
        return None if found is None else jobs.credentials_in(found)

    async def _put(self, secret: Json) -> None:
        """Make a Secret, in place of one that goes with a Job that is gone."""
        if await self._cluster.create_secret(secret):
            return
        name = str(secret["metadata"]["name"])
        (owner,) = secret["metadata"]["ownerReferences"]
        found = await self._cluster.secret(name)
        if found is None or not jobs.is_owned(found, str(owner["uid"])):
            await self._cluster.delete_secret(name)
            await self._cluster.create_secret(secret)

    def _work(self, order: WorkOrder, batch: BatchRecord, share: str) -> Work:
        claim = self._configuration.shared_cache_claim
        return Work(
            batch_name=order.batch_name,
            spec=order.spec,
            image=_image(order),
            base_url=self._base_url,
            share=share,
            gpus=0 if batch.gpus is None else batch.gpus.per_worker,
            flavor=self._configuration.flavor(share),
            shared_cache=self._cache_path(order.workspace_id) if claim else "",
            shared_cache_dir=order.shared_cache_dir,
        )


def _image(order: WorkOrder) -> str:
    """The image that a batch is run in."""
    if order.spec.runtime_image:
        return order.spec.runtime_image
    if order.python is not None:
        image = images.default_image(use_gpu=order.spec.use_gpu, python=order.python)
        if image:
            return image
    known = "an unknown Python" if order.python is None else "Python {}.{}".format(*order.python)
    raise FailedPreconditionError(
        f"runtime_image: no image is known for {known}, which the objective is from. Name one that "
        "has that Python."
    )
