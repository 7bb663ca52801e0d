"""The local workers of one batch: as many as it asks for, until it is over."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from typing import TYPE_CHECKING, Any

from aiauto_gen.aiauto import v1

from aiauto.server.executors.ends import with_output
from aiauto.server.executors.false_starts import FalseStarts, may_pass, may_start_later
from aiauto.server.executors.memory import WorkerMemory
from aiauto.server.executors.process import WorkerFiles, WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from aiauto.server.batches import Batches, BatchRecord, GpuNeeds, WorkerRecord, WorkerTicket
    from aiauto.server.executors.ends import End
    from aiauto.server.executors.gpus import Gpu
    from aiauto.server.executors.machine import Machine

LOGGER = logging.getLogger(__name__)

# How often the batch is looked at while no worker ends.
CHECK_SECONDS = 5.0
# A worker whose trial was taken from it has so long to notice and go on with another one.
UNRESPONSIVE_GRACE_SECONDS = 5.0
# After the database, say, could not be reached.
RETRY_SECONDS = 1.0


class Crew:
    """Keeps the workers of one batch running.

    Attributes:
        folder: Where they run.
    """

    def __init__(
        self,
        batch_name: str,
        batches: Batches,
        machine: Machine,
        *,
        folder: Path,
        base_url: str,
        grace: float,
    ) -> None:
        """Make a crew without workers.

        Args:
            batch_name: Name of the batch.
            batches: The state of all batches.
            machine: Where its workers run.
            folder: Where the workers run.
            base_url: Address of the server, for workers.
            grace: Seconds that a worker has to end when it is asked to.
        """
        self.folder = folder
        self._batch_name = batch_name
        self._batches = batches
        self._machine = machine
        self._gpus = machine.gpus
        self._base_url = base_url
        self._grace = grace
        self._workers: dict[asyncio.Task[End], WorkerProcess] = {}
        # The GPU model whose trials a worker runs, by its name.
        self._shares: dict[str, str] = {}
        # Enters the worker whose process is being started. Whatever cuts us off, it is seen to its
        # end, or nobody would know of whom it has entered.
        self._starting: asyncio.Task[WorkerTicket] | None = None
        # The workers whose trial was taken from them, by name, and since when that is known.
        self._hanging: dict[str, float] = {}
        # Where GPUs are missing: set when some may be free.
        self._gpus_freed: asyncio.Event | None = None
        self._false_starts = FalseStarts()
        # How many bytes each worker may use.
        self._memory_limit: int | None = None
        # What users are told to be waited for; None where it is not known.
        self._waits_for: str | None = None
        self._supervisor: asyncio.Task[None] | None = None

    async def adopt(self, record: WorkerRecord) -> None:
        """Take over a worker that an earlier server started, if it is still there.

        Args:
            record: The worker.
        """
        worker = WorkerProcess.find(record.name, self._files(record.name), self._machine.memory)
        if worker is not None and worker.base_url != self._base_url:
            # It looks for the server where the server is no more.
            await worker.stop(self._grace)
            worker = None
        if worker is None:
            await self._batches.worker_exited(
                record.name,
                exit_code=None,
                reason="Lost",
                message="The worker ended while the server was down.",
            )
        else:
            LOGGER.info("%s: took over %s (process %d)", self._batch_name, record.name, worker.pid)
            self._gpus.hold(worker.devices)
            self._watch(worker, record.gpu_share)

    def begin(self) -> None:
        """Start the workers that are missing, now and whenever one dies. Returns at once."""
        if self._supervisor is None:
            self._supervisor = asyncio.create_task(self._supervise())

    async def stop(self, reason: str, message: str) -> None:
        """Stop all workers for good. Returns when they are gone.

        Args:
            reason: One CamelCase word for why.
            message: The same as a sentence, for a trial that is cut off.
        """
        if self._supervisor is not None:
            self._supervisor.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._supervisor
        await self._stop_workers(reason, message)
        await self._end_unstarted(reason, message)

    def kill(self) -> None:
        """End all workers at once, without a word to anybody."""
        for worker in self._workers.values():
            worker.kill()

    async def _supervise(self) -> None:
        while True:
            try:
                batch = await self._batches.find_unfinished(self._batch_name)
                if batch is None:
                    await self._see_off()
                    return
                await self._complete(batch)
                await self._kill_unresponsive()
                await self._wait_for_an_end(CHECK_SECONDS)
            except Exception:  # the batch must go on whatever happened here
                LOGGER.exception("%s: looking after its workers failed", self._batch_name)
                await asyncio.sleep(RETRY_SECONDS)

    async def _see_off(self) -> None:
        """Wait for the workers of a batch that is over: they learn of it, and end."""
        deadline = asyncio.get_running_loop().time() + self._grace
        while self._workers and (left := deadline - asyncio.get_running_loop().time()) > 0:
            await self._wait_for_an_end(left)
        await self._stop_workers("BatchOver", "The batch was over.")

    async def _complete(self, batch: BatchRecord) -> None:
        """Start the workers that are missing."""
        self._gpus_freed = None
        self._memory_limit = batch.memory_limit
        await self._end_unstarted("StartFailed", "It could not be started.")
        missing = min(batch.parallelism, batch.remaining) - len(self._workers)
        if missing > 0 and self._false_starts.verdict and not await self._anybody_works():
            await self._batches.fail_batch(self._batch_name, self._false_starts.verdict)
        elif missing > 0 and self._false_starts.pause:
            await self._tell(self._false_starts.waits_for)
        elif batch.gpus is not None:
            await self._complete_on_gpus(batch.gpus, missing)
        else:
            await self._tell("")
            while missing > 0 and not self._false_starts.pause:
                await self._start_worker()
                missing -= 1

    async def _anybody_works(self) -> bool:
        """Whether a worker that runs has leased a trial: where one can, another one can."""
        for worker in self._workers.values():
            if await self._batches.has_leased(worker.name):
                return True
        return False

    async def _tell(self, waits_for: str) -> None:
        """Let users know what keeps the batch from having all of its workers."""
        if waits_for != self._waits_for:
            await self._batches.waits_for(self._batch_name, waits_for)
            self._waits_for = waits_for

    async def _complete_on_gpus(self, needs: GpuNeeds, missing: int) -> None:
        """Start the workers that are missing, as far as there are GPUs for them."""
        problem = self._gpus.refusal(needs)
        if problem and not self._workers:
            # The server was started again, with fewer GPUs than before.
            await self._batches.fail_batch(self._batch_name, problem)
            return
        left = await self._batches.gpu_shares(self._batch_name)
        freed = self._gpus.freed
        for _ in range(missing):
            running = Counter(self._shares.values())
            short = [share for share in left if left[share] > running[share]]
            # Those that must have a certain model come before those that run anywhere.
            short.sort(key=lambda share: (share == "", -left[share] / (running[share] + 1)))
            found = ((share, self._gpus.take(needs, share)) for share in short)
            share, gpus = next(((share, gpus) for share, gpus in found if gpus), ("", None))
            if gpus is None:
                self._gpus_freed = freed if short else None
                break
            await self._start_worker(gpus, share, by_model=set(needs.shares) != {""})
            if self._false_starts.pause:
                break
        await self._tell("" if self._gpus_freed is None else self._gpus.shortage(needs))

    async def _kill_unresponsive(self) -> None:
        """End the workers that hang in a trial that was taken from them."""
        names = await self._batches.unresponsive_workers(self._batch_name)
        moment = asyncio.get_running_loop().time()
        self._hanging = {name: self._hanging.get(name, moment) for name in names}
        for worker in self._workers.values():
            since = self._hanging.get(worker.name, moment)
            if moment - since >= UNRESPONSIVE_GRACE_SECONDS:
                LOGGER.warning("%s: %s hangs in a trial: killed", self._batch_name, worker.name)
                worker.kill()

    async def _start_worker(
        self, gpus: Sequence[Gpu] = (), share: str = "", *, by_model: bool = False
    ) -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(self._gpus.give_back, [gpu.device for gpu in gpus])
            self._starting = asyncio.create_task(
                self._batches.create_worker(self._batch_name, gpu_share=share if by_model else None)
            )
            ticket = await asyncio.shield(self._starting)
            try:
                worker = await WorkerProcess.start(
                    ticket.worker_name,
                    self._files(ticket.worker_name),
                    self._machine.starter,
                    WorkerMemory.of_new(
                        self._machine.memory, ticket.worker_name, self._memory_limit
                    ),
                    base_url=self._base_url,
                    token=ticket.token,
                    shared_cache=self._machine.store.folder(
                        ticket.workspace_id, v1.FilePlace.SHARED_CACHE
                    ),
                    gpus=gpus,
                )
            except OSError as error:
                message = f"A worker could not be started on this machine: {error}."
                self._false_starts.note(message, is_passing=may_start_later(error))
                await self._end_unstarted("StartFailed", message)
                await asyncio.sleep(RETRY_SECONDS)
                return
            # From now on they are the worker's, until it ends.
            stack.pop_all()
            self._watch(worker, share)
            self._starting = None
        LOGGER.info("%s: started %s (process %d)", self._batch_name, worker.name, worker.pid)
        await self._batches.worker_started(worker.name, process_id=worker.pid)

    async def _end_unstarted(self, reason: str, message: str) -> None:
        """Note the end of a worker that has a row and a token, but got no process."""
        if self._starting is None:
            return
        await asyncio.wait([self._starting])
        if self._starting.exception() is None:
            name = self._starting.result().worker_name
            await self._batches.worker_exited(name, exit_code=None, reason=reason, message=message)
        self._starting = None

    def _watch(self, worker: WorkerProcess, share: str = "") -> None:
        self._workers[asyncio.create_task(worker.wait())] = worker
        self._shares[worker.name] = share

    def _forget(self, worker: WorkerProcess) -> None:
        self._shares.pop(worker.name, None)
        self._gpus.give_back(worker.devices)

    async def _wait_for_an_end(self, timeout: float) -> None:
        """Wait for the end of a worker, of a pause, or for GPUs where some are missing."""
        awaited: list[asyncio.Task[Any]] = [*self._workers]
        freed = [] if self._gpus_freed is None else [asyncio.create_task(self._gpus_freed.wait())]
        awaited += freed
        if pause := self._false_starts.pause:
            timeout = min(timeout, pause)
        if not awaited:
            await asyncio.sleep(timeout if pause else 0)
            return
        try:
            done, _ = await asyncio.wait(
                awaited, timeout=timeout, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            for task in freed:
                task.cancel()
        for end in self._workers.keys() & done:
            worker = self._workers[end]
            await self._note_end(worker, end.result())
            del self._workers[end]
            self._forget(worker)

    async def _note_end(self, worker: WorkerProcess, end: End) -> None:
        message = with_output(end.sentence, worker.files.tail())
        await self._batches.worker_exited(
            worker.name, exit_code=end.exit_code, reason=end.reason, message=message
        )
        if await self._batches.has_leased(worker.name):
            self._false_starts.forget()
        else:
            # Whom its own limit has killed it would kill again.
            is_passing = may_pass(end.exit_code) and not end.at_its_limit
            self._false_starts.note(message, is_passing=is_passing)
        LOGGER.info("%s: %s ended: %s", self._batch_name, worker.name, end.reason)
        worker.files.record.unlink(missing_ok=True)

    async def _stop_workers(self, reason: str, message: str) -> None:
        async def stop(end: asyncio.Task[End], worker: WorkerProcess) -> None:
            code = (await worker.stop(self._grace)).exit_code
            await self._batches.worker_exited(
                worker.name, exit_code=code, reason=reason, message=message
            )
            worker.files.record.unlink(missing_ok=True)
            await end
            self._workers.pop(end, None)
            self._forget(worker)

        stopping = [stop(end, worker) for end, worker in self._workers.items()]
        # None is left behind because the end of another could not be noted.
        for outcome in await asyncio.gather(*stopping, return_exceptions=True):
            if outcome is not None:
                raise outcome

    def _files(self, worker_name: str) -> WorkerFiles:
        return WorkerFiles(self.folder / worker_name)
