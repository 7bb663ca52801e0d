"""Looks after one batch on the cluster: that it has its Jobs, and what becomes of its Pods."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from aiauto.errors import AIAutoError
from aiauto.server.batches.enrollment import Seen
from aiauto.server.batches.workers import ENDED
from aiauto.server.executors.false_starts import FalseStarts, may_pass
from aiauto.server.executors.kubernetes import jobs
from aiauto.server.executors.kubernetes.cluster import ClusterError
from aiauto.server.executors.kubernetes.difficulties import difficulty, failure_of
from aiauto.server.executors.kubernetes.states import PodState, gone, state_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aiauto.server.batches import Batches, BatchRecord
    from aiauto.server.executors.kubernetes.batch_jobs import BatchJobs
    from aiauto.server.executors.kubernetes.cluster import Cluster
    from aiauto.server.executors.kubernetes.configuration import Configuration, Json
    from aiauto.server.executors.kubernetes.informer import Informer

LOGGER = logging.getLogger(__name__)

# How often a batch is looked at while nothing happens.
CHECK_SECONDS: Final = 5.0
RETRY_SECONDS: Final = 2.0
# Workers of a batch that is over learn of it, and end, before their Pods are made to.
SEE_OFF_SECONDS: Final = 30.0
# A worker whose trial was taken from it has so long to notice and go on with another one.
UNRESPONSIVE_SECONDS: Final = 5.0
# A Pod that is enrolled and not seen: the watch may be behind.
UNSEEN_SECONDS: Final = 10.0


@dataclass
class _Memory:
    """What an overseer has noticed before.

    Attributes:
        ended: Pods whose end was noted.
        hanging: Workers whose trial was taken from them, and since when that is known.
        unseen: Workers that no Pod was found for, and since when.
        stuck_since: Since when no Pod of the batch could begin; None where one can.
        told: What users were told that is waited for; None for nothing yet.
    """

    ended: set[str] = field(default_factory=set[str])
    hanging: dict[str, float] = field(default_factory=dict[str, float])
    unseen: dict[str, float] = field(default_factory=dict[str, float])
    stuck_since: float | None = None
    told: str | None = None


class Overseer:
    """Looks after one batch until it is over."""

    def __init__(
        self,
        batch_name: str,
        batches: Batches,
        cluster: Cluster,
        batch_jobs: BatchJobs,
        configuration: Configuration,
        *,
        job_informer: Informer,
        pod_informer: Informer,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make it.

        Args:
            batch_name: The batch.
            batches: The state of all batches.
            cluster: The cluster.
            batch_jobs: Makes and removes its Jobs.
            configuration: How the cluster wants workers.
            job_informer: Knows the Jobs of all batches.
            pod_informer: Knows their Pods.
            clock: Tells the time in seconds.
        """
        self._name = batch_name
        self._batches = batches
        self._cluster = cluster
        self._batch_jobs = batch_jobs
        self._configuration = configuration
        self._jobs = job_informer
        self._pods = pod_informer
        self._clock = clock
        self._memory = _Memory()
        self._false_starts = FalseStarts(clock)
        # The Pods that were deleted, as they were at the end, until that was noted.
        self._removed: dict[str, Json] = {}
        self._news = asyncio.Event()

    def note_job(self) -> None:
        """A Job of the batch has come, changed or gone."""
        self._news.set()

    def note_pod(self, pod: Json) -> None:
        """A Pod of the batch has come, changed or gone."""
        name = str(pod["metadata"]["name"])
        if name not in self._pods.objects:
            self._removed[name] = pod
        self._news.set()

    async def run(self) -> None:
        """Look after the batch. Returns when it is over and its Pods are gone."""
        while True:
            self._news.clear()
            pause = CHECK_SECONDS
            try:
                batch = await self._batches.find_unfinished(self._name)
                if batch is None:
                    await self._see_off()
                    return
                await self._look_after(batch)
            except (ClusterError, AIAutoError) as error:
                LOGGER.warning("%s: %s", self._name, error)
                pause = RETRY_SECONDS
            except Exception:  # the batch must go on whatever happened here
                LOGGER.exception("%s: looking after its Pods failed", self._name)
                pause = RETRY_SECONDS
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._news.wait(), pause)

    async def _look_after(self, batch: BatchRecord) -> None:
        await self._note_pods()
        verdict = self._false_starts.verdict
        for job in self._own(self._jobs):
            await self._batch_jobs.complete(job, self._name)
            verdict = verdict or failure_of(job, self._own(self._pods))
        if verdict:
            await self._end(verdict)
            return
        try:
            await self._complete(batch)
        except AIAutoError as error:
            # It can't be asked for: another attempt would be refused, too.
            await self._end(str(error))
        except ClusterError as error:
            if not error.is_final:
                raise
            await self._end(f"The cluster refuses to run the batch: {error}")
        else:
            await self._tell()
            await self._remove_unresponsive()

    async def _complete(self, batch: BatchRecord) -> None:
        """Make the Jobs that are missing."""
        own = {str(job["metadata"]["name"]): job for job in self._own(self._jobs)}
        taken = 0
        missing: dict[str, int] = {}
        for share, trials in (await self._batch_jobs.trials_left(batch)).items():
            job = own.get(jobs.job_name(self._name, share))
            if job is None:
                missing[share] = trials
            elif not _is_finished(job):
                taken += int(job["spec"]["parallelism"])
            elif trials > 0 and "deletionTimestamp" not in job["metadata"]:
                # All of its workers have ended, and trials are left: they had to be run again.
                await self._batch_jobs.make_room(job, self._name)
        await self._batch_jobs.ensure_all(batch, missing, batch.parallelism - taken)

    async def _note_pods(self) -> None:
        """Let the server's workers be what the cluster's Pods are."""
        phases = await self._batches.enrollment.phases(self._name)
        # More may be removed while this is noted: for the next time.
        removed = dict(self._removed)
        present = {str(pod["metadata"]["name"]): pod for pod in self._own(self._pods)}
        pods = {**removed, **present}
        states = {name: state_of(pod) for name, pod in pods.items()}
        for name in removed.keys() - present.keys():
            if not states[name].ended:
                states[name] = gone(pods[name])
        seen = [
            Seen(
                name,
                _share_of(pods[name]),
                state.reason[:64],
                state.message,
                str(pods[name]["spec"].get("nodeName", "")),
            )
            for name, state in states.items()
            if phases.get(name, "Pending") == "Pending"
        ]
        await self._batches.enrollment.note(self._name, seen)
        for name, state in states.items():
            if state.ended and name not in self._memory.ended:
                if phases.get(name) not in ENDED:
                    await self._note_end(name, state)
                self._memory.ended.add(name)
        for name in removed:
            del self._removed[name]
        await self._note_unseen(phases, states)

    async def _note_end(self, name: str, state: PodState) -> None:
        had_leased = await self._batches.has_leased(name)
        await self._batches.worker_exited(
            name, exit_code=state.exit_code, reason=state.reason, message=state.message
        )
        LOGGER.info("%s: %s ended: %s", self._name, name, state.reason)
        if had_leased:
            self._false_starts.forget()
        elif state.exit_code != 0:
            passing = state.disrupted or may_pass(state.exit_code)
            self._false_starts.note(state.message, is_passing=passing)

    async def _note_unseen(self, phases: Mapping[str, str], states: Mapping[str, PodState]) -> None:
        """Note the end of workers whose Pods are nowhere any more."""
        missing = {
            name for name, phase in phases.items() if phase not in ENDED and name not in states
        }
        moment = self._clock()
        self._memory.unseen = {name: self._memory.unseen.get(name, moment) for name in missing}
        overdue = {
            name for name, since in self._memory.unseen.items() if moment - since > UNSEEN_SECONDS
        }
        if not overdue:
            return
        # The cluster itself is asked: the watch may be behind.
        listed, _ = await self._cluster.list_objects("pod", jobs.of_batch(self._name))
        for name in overdue - {str(pod["metadata"]["name"]) for pod in listed}:
            await self._note_end(
                name,
                PodState(
                    ended=True, reason="Lost", message="The worker's Pod is gone.", disrupted=True
                ),
            )

    async def _tell(self) -> None:
        """Let users know what keeps the batch from having all of its workers, or give it up."""
        found = await difficulty(self._cluster, self._own(self._jobs), self._own(self._pods))
        if found.message != self._memory.told:
            await self._batches.waits_for(self._name, found.message)
            self._memory.told = found.message
        if not found.hopeless:
            self._memory.stuck_since = None
            return
        if self._memory.stuck_since is None:
            self._memory.stuck_since = self._clock()
        timeout = self._configuration.start_timeout
        if timeout is not None and self._clock() - self._memory.stuck_since >= timeout:
            await self._end(found.message)

    async def _remove_unresponsive(self) -> None:
        """Delete the Pods of workers that hang in a trial that was taken from them."""
        names = await self._batches.unresponsive_workers(self._name)
        moment = self._clock()
        self._memory.hanging = {name: self._memory.hanging.get(name, moment) for name in names}
        for name, since in self._memory.hanging.items():
            if moment - since >= UNRESPONSIVE_SECONDS:
                LOGGER.warning("%s: %s hangs in a trial: deleted", self._name, name)
                await self._cluster.delete_pod(name)

    async def _end(self, why: str) -> None:
        await self._batches.fail_batch(self._name, why)
        await self._batch_jobs.remove(self._name, patience=0)

    async def _see_off(self) -> None:
        """Wait for the workers of a batch that is over, and make those go that do not."""
        deadline = self._clock() + SEE_OFF_SECONDS
        while True:
            self._news.clear()
            await self._note_pods()
            left = deadline - self._clock()
            if await self._is_done():
                return
            if left <= 0:
                break
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._news.wait(), min(left, CHECK_SECONDS))
        await self._batch_jobs.remove(self._name, patience=0)
        for worker in await self._batches.live_workers(self._name):
            await self._batches.worker_exited(
                worker.name, exit_code=None, reason="BatchOver", message="The batch was over."
            )

    async def _is_done(self) -> bool:
        """Whether the cluster has nothing left to do for the batch, and the server knows it."""
        ended = all(state_of(pod).ended for pod in self._own(self._pods))
        if not ended or not all(map(_is_finished, self._own(self._jobs))):
            return False
        return not await self._batches.live_workers(self._name)

    def _own(self, informer: Informer) -> list[Json]:
        return [one for one in informer.objects.values() if jobs.batch_of(one) == self._name]


def _is_finished(job: Json) -> bool:
    conditions: list[Json] = job.get("status", {}).get("conditions") or []
    return any(
        one["type"] in {"Complete", "Failed"} and one["status"] == "True" for one in conditions
    )


def _share_of(pod: Json) -> str:
    """The GPU model whose trials a Pod runs; empty for those of none."""
    annotations: dict[str, str] = pod["metadata"].get("annotations") or {}
    return annotations.get(jobs.SHARE_ANNOTATION, "")
