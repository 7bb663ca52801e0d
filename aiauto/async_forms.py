"""The calls of `StudyWrapper` that take a while, for programs with an event loop."""

# ruff: noqa: FBT001, FBT002 - the arguments are those of the blocking forms

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Literal, overload

from aiauto_gen.connect import NOT_GIVEN, Timeout

from aiauto import batch
from aiauto.calls import AsyncCalls
from aiauto.progress import WaitOption
from aiauto.running import Running

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterator, Mapping, Sequence

    from aiauto.batch import Resources
    from aiauto.logs import LogLine
    from aiauto.running import Objective, WaitOptionName
    from aiauto.status import StudyStatus, StudyStatusWithTrials


class AsyncForms(Running):
    """The part of `StudyWrapper` that never blocks the caller's event loop.

    Each call is cancelled as any other coroutine: that ends the waiting, and the batch runs on.
    """

    async def optimize_async(  # noqa: D417, PLR0913, PLR0917 - as `optimize`
        self,
        objective: Objective,
        n_trials: int = 10,
        parallelism: int = 2,
        requirements_file: str | os.PathLike[str] | None = None,
        requirements_list: Sequence[str] | None = None,
        resources_requests: Resources | Mapping[str, str] | None = None,
        resources_limits: Resources | Mapping[str, str] | None = None,
        runtime_image: str | None = None,
        use_gpu: bool = False,
        gpu_model: str | Mapping[str, int] | None = None,
        wait_option: WaitOption | WaitOptionName = WaitOption.WAIT_ATLEAST_ONE_TRIAL,
        wait_timeout: float | None = 600,
        dev_shm_size: str = batch.DEFAULT_SHM_SIZE,
        tmp_cache_dir: str = "/mnt/tmp-cache",
        use_tmp_cache_mem: bool = False,
        tmp_cache_size: str = "500Mi",
        top_n_artifacts: int = 5,
        image_pull_registry: str | None = None,
        image_pull_username: str | None = None,
        image_pull_password: str | None = None,
        image_pull_docker_config_json: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        trial_timeout: float | None = None,
        patience: int | None = None,
        max_retries: int = 0,
        show_progress_bar: bool | None = None,
    ) -> str:
        """Run an objective on workers, as `optimize` does, without blocking the event loop.

        The objective is packed in a thread. Cancelling ends the waiting only.

        Args:
            objective: See `StudyWrapper.optimize` for this and all other arguments.

        Returns:
            The name of the batch.

        Raises:
            ArgumentError: An argument can't be right. Nothing was started.
            TrialBatchFailedError: The batch ended without one usable trial while this call waited.
            WaitTimeoutError: The wait ended before the trials did. The batch runs on.
            RpcError: The server refused.
        """
        given = locals()
        async with AsyncCalls(self._connection) as calls:
            return await self._optimize(calls, given)

    @overload
    async def wait_async(
        self,
        trial_identifier: None = None,
        trialbatch_name: str | None = None,
        timeout: float | None = None,
        *,
        show_progress_bar: bool | None = None,
    ) -> bool: ...
    @overload
    async def wait_async(
        self,
        trial_identifier: int | str,
        trialbatch_name: str | None = None,
        timeout: float | None = 600,
        *,
        show_progress_bar: bool | None = None,
    ) -> bool: ...
    async def wait_async(
        self,
        trial_identifier: int | str | None = None,
        trialbatch_name: str | None = None,
        timeout: Timeout = NOT_GIVEN,
        *,
        show_progress_bar: bool | None = None,
    ) -> bool:
        """Wait until the trials have ended, as `wait` does, without blocking the event loop.

        Cancelling ends the waiting, and the batch runs on.

        Args:
            trial_identifier: Only this trial: its number in the study, or the name that
                `get_status` knows it by.
            trialbatch_name: Only this batch.
            timeout: Seconds to wait at most; None for no limit. Default: no limit, but 600 for a
                single trial.
            show_progress_bar: Whether to show a progress bar.

        Returns:
            True when they have ended. False when the time was up before, or no batch that could end
            the trial is running.

        Raises:
            NoTrialBatchError: There is nothing to wait for.
            TrialBatchFailedError: A batch ended without one usable trial.
            RpcError: The server does not know the batch, or stayed out of reach.
        """
        async with AsyncCalls(self._connection) as calls:
            return await self._wait(
                calls,
                trial_identifier,
                trialbatch_name,
                timeout,
                show_progress_bar=show_progress_bar,
            )

    async def logs_async(
        self,
        trial: int | None = None,
        trialbatch_name: str | None = None,
        follow: bool = False,
    ) -> AsyncIterator[LogLine]:
        """Read what workers print, as `logs` does, without blocking the event loop.

        Args:
            trial: Only the lines of this trial, by its number.
            trialbatch_name: Only the lines of this batch. Default: of all batches of the study,
                mixed as they were printed.
            follow: Whether to go on, as lines are printed, until the batch, or every batch of the
                study, or the trial has ended.

        Yields:
            The lines, oldest first.

        Raises:
            ArgumentError: An argument can't be right.
            RpcError: The server does not know the batch, or stayed out of reach.
        """
        async with AsyncCalls(self._connection) as calls:
            lines = self._logs(calls, trial, trialbatch_name, follow)
            async with contextlib.aclosing(lines):
                async for line in lines:
                    yield line

    @overload
    async def get_status_async(
        self, trialbatch_name: str | None = None, include_trials: Literal[False] = False
    ) -> StudyStatus: ...
    @overload
    async def get_status_async(
        self, trialbatch_name: str | None = None, *, include_trials: Literal[True]
    ) -> StudyStatusWithTrials: ...
    @overload
    async def get_status_async(
        self, trialbatch_name: str | None, include_trials: Literal[True]
    ) -> StudyStatusWithTrials: ...
    @overload
    async def get_status_async(
        self, trialbatch_name: str | None = None, include_trials: bool = False
    ) -> StudyStatus | StudyStatusWithTrials: ...
    async def get_status_async(
        self, trialbatch_name: str | None = None, include_trials: bool = False
    ) -> StudyStatus | StudyStatusWithTrials:
        """Tell how the study is doing, as `get_status` does, without blocking the event loop.

        Args:
            trialbatch_name: Count this batch only. Default: all of them.
            include_trials: Whether to list the trials that have ended, batch by batch.

        Returns:
            As `get_status`.

        Raises:
            RpcError: The server does not know the batch, or can't be reached.
        """
        async with AsyncCalls(self._connection) as calls:
            return await self._status(calls, trialbatch_name, include_trials=include_trials)
