"""StudyWrapper: one study on a server."""

# ruff: noqa: FBT001, FBT002 - the arguments of the released client may be given by place

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, overload

from aiauto_gen.aiauto import v1
from aiauto_gen.connect import NOT_GIVEN, Timeout

from aiauto import arguments, batch
from aiauto.async_forms import AsyncForms
from aiauto.calls import finish, iterate
from aiauto.progress import WaitOption
from aiauto.results import Results
from aiauto.status import FINAL_PHASES, StudyStatus, StudyStatusWithTrials

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence

    from aiauto.batch import Resources
    from aiauto.logs import LogLine
    from aiauto.running import Objective, WaitOptionName


class StudyWrapper(Results, AsyncForms):
    """A study on a server. Made by `AIAutoController.create_study`.

    Attributes:
        study_name: Name of the study.
    """

    study_name: str

    # ------------------------------------------------------------------------------- running

    def optimize(  # noqa: PLR0913, PLR0917 - the arguments of the released client, in its order
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
        """Run an objective on workers.

        The batch runs on whether or not this call waits for it, and whether or not the script goes
        on.

        Args:
            objective: Function of a trial that returns a value, or several for several objectives.
                It travels with the local code that it uses; installed packages do not.
            n_trials: How many trials to run. Exactly so many end.
            parallelism: How many workers run them at once: processes on this machine, Pods on a
                cluster.
            requirements_file: Path of a requirements.txt that the workers install first. Not
                together with `requirements_list`.
            requirements_list: Packages that the workers install first, such as ``["torch>=2"]``.
            resources_requests: What a Pod asks for. Default: ``{"cpu": "256m", "memory":
                "256Mi"}``, or `resources_limits` where only those are given.
            resources_limits: What a Pod may use at most. Default: as `resources_requests`. The
                memory counts for workers on this machine, too, where the system lets the server
                see to it.
            runtime_image: Container image of a Pod. Default: the one of `aiauto.RUNTIME_IMAGES`
                that fits this Python. Workers on this machine need none.
            use_gpu: Whether every worker needs a GPU. Here each has one of its own, or as many
                as ``resources_requests["nvidia.com/gpu"]`` says; without it they see none.
            gpu_model: GPU model to run on, by words of its name such as ``"rtx_3090"``; or how many
                trials to run on which, the rest on any.
            wait_option: When to return: at once, when the first trial has ended, or when all have.
            wait_timeout: Seconds to wait at most; None for no limit.
            dev_shm_size: Size of ``/dev/shm`` with GPUs, at most ``4Gi``.
            tmp_cache_dir: Where a Pod finds a scratch folder.
            use_tmp_cache_mem: Whether the scratch folder is kept in memory.
            tmp_cache_size: Size of the scratch folder, at most ``4Gi``.
            top_n_artifacts: How many of the best trials keep their artifacts.
            image_pull_registry: Registry that asks for credentials to pull `runtime_image`; with
                `image_pull_username` and `image_pull_password`.
            image_pull_username: User name there.
            image_pull_password: Password or token there.
            image_pull_docker_config_json: A Docker ``config.json`` in place of these three.
            timeout: Seconds after which no further trial begins; those that run then go on. None
                for no limit.
            trial_timeout: Seconds that one trial may take; one that takes longer fails, and its
                worker is ended. None for no limit.
            patience: After so many trials in a row without a better value no further one begins.
                Pruned trials count, failed ones do not; with several objectives a trial is better
                where none before it is at least as good in all of them. None for no such end.
            max_retries: How often a trial that failed is run again with the same parameters, at
                most 100. Only the last time counts.
            show_progress_bar: Whether to show a progress bar while waiting for all trials. Default:
                at a terminal and in a notebook.

        Returns:
            The name of the batch.

        Raises:
            ArgumentError: An argument can't be right. Nothing was started.
            TrialBatchFailedError: The batch ended without one usable trial while this call waited.
            WaitTimeoutError: The wait ended before the trials did. The batch runs on.
            RpcError: The server refused.
        """
        # The locals are the arguments, which are checked one by one under their names.
        return finish(self._optimize(self._blocking, locals()))

    @overload
    def wait(
        self,
        trial_identifier: None = None,
        trialbatch_name: str | None = None,
        timeout: float | None = None,
        *,
        show_progress_bar: bool | None = None,
    ) -> bool: ...
    @overload
    def wait(
        self,
        trial_identifier: int | str,
        trialbatch_name: str | None = None,
        timeout: float | None = 600,
        *,
        show_progress_bar: bool | None = None,
    ) -> bool: ...
    def wait(
        self,
        trial_identifier: int | str | None = None,
        trialbatch_name: str | None = None,
        timeout: Timeout = NOT_GIVEN,
        *,
        show_progress_bar: bool | None = None,
    ) -> bool:
        """Wait until the trials have ended.

        Errors of trials are logged as they come, as warnings of the logger ``aiauto``.

        Args:
            trial_identifier: Only this trial: its number in the study, or the name that
                `get_status` knows it by.
            trialbatch_name: Only this batch. Default: every batch of the study that is running, and
                the last one that this object started; for a trial, any batch.
            timeout: Seconds to wait at most; None for no limit. Default: no limit, but 600 for a
                single trial.
            show_progress_bar: Whether to show a progress bar. Default: at a terminal and in a
                notebook.

        Returns:
            True when they have ended. False when the time was up before, or no batch that could end
            the trial is running.

        Raises:
            NoTrialBatchError: There is nothing to wait for.
            TrialBatchFailedError: A batch ended without one usable trial.
            RpcError: The server does not know the batch, or stayed out of reach.
        """
        return finish(
            self._wait(
                self._blocking,
                trial_identifier,
                trialbatch_name,
                timeout,
                show_progress_bar=show_progress_bar,
            )
        )

    def is_trial_finished(
        self, trial_identifier: int | str, trialbatch_name: str | None = None
    ) -> bool:
        """Tell whether a trial has ended.

        Args:
            trial_identifier: Its number in the study, or the name that `get_status` knows it by.
            trialbatch_name: Look in this batch only.

        Returns:
            Whether it has ended. False for a trial that is not there (yet).

        Raises:
            ArgumentError: `trial_identifier` names no trial.
            RpcError: The server does not know the batch, or can't be reached.
        """
        return finish(self._is_trial_finished(self._blocking, trial_identifier, trialbatch_name))

    def logs(
        self,
        trial: int | None = None,
        trialbatch_name: str | None = None,
        follow: bool = False,
    ) -> Iterator[LogLine]:
        """Read what workers print: ``print``, the logging module, tracebacks of failed trials.

        Args:
            trial: Only the lines of this trial, by its number.
            trialbatch_name: Only the lines of this batch. Default: of all batches of the study,
                mixed as they were printed.
            follow: Whether to go on, as lines are printed, until the batch, or every batch of the
                study, has ended, or the trial where one is named. Batches that begin while others
                run are followed too.

        Returns:
            The lines, oldest first. A `LogLine` prints as its text. A connection that breaks is
            mended, and goes on behind the last line.

        Raises:
            ArgumentError: An argument can't be right.
            RpcError: The server does not know the batch, or stayed out of reach.
        """
        return iterate(self._logs(self._blocking, trial, trialbatch_name, follow))

    # ------------------------------------------------------------------------------- status

    @overload
    def get_status(
        self, trialbatch_name: str | None = None, include_trials: Literal[False] = False
    ) -> StudyStatus: ...
    @overload
    def get_status(
        self, trialbatch_name: str | None = None, *, include_trials: Literal[True]
    ) -> StudyStatusWithTrials: ...
    @overload
    def get_status(
        self, trialbatch_name: str | None, include_trials: Literal[True]
    ) -> StudyStatusWithTrials: ...
    @overload
    def get_status(
        self, trialbatch_name: str | None = None, include_trials: bool = False
    ) -> StudyStatus | StudyStatusWithTrials: ...
    def get_status(
        self, trialbatch_name: str | None = None, include_trials: bool = False
    ) -> StudyStatus | StudyStatusWithTrials:
        """Tell how the study is doing.

        Args:
            trialbatch_name: Count this batch only. Default: all of them.
            include_trials: Whether to list the trials that have ended, batch by batch.

        Returns:
            The counts, summed over the batches, with the newest error, the dashboard's address, and
            every batch on its own under ``trialbatches``. A dict, which notebooks show as a table.

        Raises:
            RpcError: The server does not know the batch, or can't be reached.
        """
        return finish(self._status(self._blocking, trialbatch_name, include_trials=include_trials))

    # ------------------------------------------------------------------------------- ending

    def cancel(self, trialbatch_name: str | None = None) -> None:
        """End a batch: no further trial begins, and those that run fail.

        Returns when its workers are gone. Trials that have ended stay as they are, and another
        `optimize` may go on from them.

        Args:
            trialbatch_name: The batch. Default: every batch of the study that is running.

        Raises:
            RpcError: The server does not know the batch, or can't be reached.
        """
        given = arguments.text(trialbatch_name, "trialbatch_name")
        # Also where one is named: it must be this study's.
        batches = self.get_status(given)["trialbatches"]
        for name, one in batches.items():
            if one["phase"] not in FINAL_PHASES:
                self._connection.service.cancel_trial_batch(v1.CancelTrialBatchRequest(name=name))

    def delete(self) -> None:
        """Delete the study with its trials and batches. What runs is stopped.

        A study of this name may be created anew; this object is of no more use.

        Raises:
            RpcError: The server can't be reached.
        """
        self._connection.service.delete_study(v1.DeleteStudyRequest(name=self.study_name))
        self._study = None
