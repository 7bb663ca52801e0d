"""StudyWrapper: one study on a server."""

# ruff: noqa: FBT001, FBT002 - the arguments of the released client may be given by place

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any, Literal

from aiauto_gen.aiauto import v1

from aiauto import arguments, batch, progress
from aiauto.errors import ArgumentValueError, NoTrialBatchError, WaitTimeoutError
from aiauto.objective import pack
from aiauto.progress import WaitOption
from aiauto.status import FINAL_PHASES, StudyStatus, study_status

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence

    import optuna

    from aiauto.connection import Connection

WaitOptionName = Literal["WAIT_NO", "WAIT_ATLEAST_ONE_TRIAL", "WAIT_ALL_TRIALS"]

# Seconds between two looks at a single trial: at first, and in the long run.
FIRST_POLL = 0.2
LAST_POLL = 2.0


def _one_ended(status: v1.TrialBatchStatus) -> bool:
    return status.count_completed > 0


def _never(_status: v1.TrialBatchStatus) -> bool:
    return False


class StudyWrapper:
    """A study on a server. Made by `AIAutoController.create_study`.

    Attributes:
        study_name: Name of the study.
    """

    study_name: str

    def __init__(self, connection: Connection, spec: v1.StudySpec) -> None:
        self.study_name = spec.study_name
        self._connection = connection
        self._spec = spec
        self._study: optuna.Study | None = None
        self._last_trialbatch_name: str | None = None

    def __repr__(self) -> str:
        return f"StudyWrapper({self.study_name!r} on {self._connection!r})"

    def __getstate__(self) -> dict[str, Any]:
        # The study is opened again where it is needed.
        return {**self.__dict__, "_study": None}

    # ------------------------------------------------------------------------------- running

    def optimize(  # noqa: PLR0913, PLR0917 - the arguments of the released client, in its order
        self,
        objective: Callable[[optuna.Trial], float | Sequence[float]],
        n_trials: int = 10,
        parallelism: int = 2,
        requirements_file: str | os.PathLike[str] | None = None,
        requirements_list: Sequence[str] | None = None,
        resources_requests: Mapping[str, str] | None = None,
        resources_limits: Mapping[str, str] | None = None,
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
            resources_limits: What a Pod may use at most. Default: as `resources_requests`.
            runtime_image: Container image of a Pod. Default: the one of `aiauto.RUNTIME_IMAGES`
                that fits this Python. Workers on this machine need none.
            use_gpu: Whether every worker needs a GPU.
            gpu_model: GPU model to run on, or how many trials to run on which.
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
        option = arguments.option(wait_option, WaitOption, "wait_option")
        timeout = arguments.seconds(wait_timeout, "wait_timeout")
        spec = batch.specify(
            self.study_name,
            batch.Arguments(
                n_trials=n_trials,
                parallelism=parallelism,
                resources_requests=resources_requests,
                resources_limits=resources_limits,
                runtime_image=runtime_image,
                use_gpu=use_gpu,
                gpu_model=gpu_model,
                dev_shm_size=dev_shm_size,
                tmp_cache_dir=tmp_cache_dir,
                use_tmp_cache_mem=use_tmp_cache_mem,
                tmp_cache_size=tmp_cache_size,
                top_n_artifacts=top_n_artifacts,
                image_pull_registry=image_pull_registry,
                image_pull_username=image_pull_username,
                image_pull_password=image_pull_password,
                image_pull_docker_config_json=image_pull_docker_config_json,
            ),
        )
        requirements = arguments.requirements(requirements_file, requirements_list)
        payload = pack(arguments.objective(objective))
        payload.requirements_txt = requirements
        service = self._connection.service
        if spec.gpu_model:
            flavors = service.list_gpu_flavors(v1.ListGpuFlavorsRequest()).gpu_flavors
            batch.check_gpu_models(spec, [flavor.name for flavor in flavors])
        # The id stays the same however often the call is sent: it makes one batch.
        request = v1.OptimizeRequest(objective=payload, batch=spec, request_id=uuid.uuid4().hex)
        name = self._last_trialbatch_name = service.optimize(request).trialbatch_name
        if option is not WaitOption.WAIT_NO:
            everything = option is WaitOption.WAIT_ALL_TRIALS
            bar = everything and progress.bar_wanted(show_progress_bar)
            if not self._follow(
                name, timeout, bar=bar, enough=_never if everything else _one_ended
            ):
                raise self._timed_out(name, timeout)
        return name

    def wait(
        self,
        trial_identifier: int | str | None = None,
        trialbatch_name: str | None = None,
        timeout: float | None = None,
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
            timeout: Seconds to wait at most; None for no limit.
            show_progress_bar: Whether to show a progress bar. Default: at a terminal and in a
                notebook.

        Returns:
            True when they have ended, False when the time was up before.

        Raises:
            NoTrialBatchError: There is nothing to wait for.
            TrialBatchFailedError: A batch ended without one usable trial.
            RpcError: The server does not know the batch, or stayed out of reach.
        """
        limit = arguments.seconds(timeout, "timeout")
        end = float("inf") if limit is None else time.monotonic() + limit
        bar = progress.bar_wanted(show_progress_bar)
        if trial_identifier is not None:
            return self._wait_for_trial(trial_identifier, trialbatch_name, end)
        names = [trialbatch_name] if trialbatch_name else self._unfinished_batches()
        return all(
            self._follow(name, end - time.monotonic(), bar=bar, enough=_never) for name in names
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
        wanted = arguments.trial(trial_identifier, "trial_identifier")
        batches = self.get_status(trialbatch_name, include_trials=True)["trialbatches"]
        if wanted in batches:
            message = (
                f"trial_identifier {wanted!r} is a batch: for a whole batch pass trialbatch_name."
            )
            raise ArgumentValueError(message, argument="trial_identifier")
        ended = [one.get("completed_trials", {}) for one in batches.values()]
        if isinstance(wanted, str):
            return any(wanted in trials for trials in ended)
        return any(trial["trialNumber"] == wanted for trials in ended for trial in trials.values())

    # ------------------------------------------------------------------------------- results

    def get_status(
        self, trialbatch_name: str | None = None, include_trials: bool = False
    ) -> StudyStatus:
        """Tell how the study is doing.

        Args:
            trialbatch_name: Count this batch only. Default: all of them.
            include_trials: Whether to list the trials that have ended, batch by batch.

        Returns:
            The counts, summed over the batches, with the newest error, the dashboard's address, and
            every batch on its own under ``trialbatches``.

        Raises:
            RpcError: The server does not know the batch, or can't be reached.
        """
        request = v1.GetStatusRequest(
            study_name=self.study_name,
            trialbatch_name=arguments.text(trialbatch_name, "trialbatch_name"),
            include_trials=arguments.flag(include_trials, "include_trials"),
        )
        answer = self._connection.service.get_status(request)
        return study_status(answer, include_trials=include_trials)

    def get_study(self) -> optuna.Study:
        """Give the study as an `optuna.Study`, for ask and tell and all else that Optuna can do.

        It shows what the workers do as they do it. Trials that are asked for here run here: they
        count in no batch and carry the user attribute ``trialbatch_name=ask_tell_local``.

        Returns:
            The study; the same object each time.
        """
        if self._study is None:
            # Optuna takes a second to import, and not every script gets here.
            from aiauto import local_study, samplers  # noqa: PLC0415

            self._study = local_study.load(
                self.study_name,
                self._connection.storage(),
                samplers.load_sampler(self._spec.sampler_json),
                samplers.load_pruner(self._spec.pruner_json),
            )
        return self._study

    @property
    def best_trial(self) -> optuna.trial.FrozenTrial:
        """The best trial so far.

        Raises:
            ValueError: No trial has returned a value yet.
            RuntimeError: The study has several objectives: see `best_trials`.
        """
        return self.get_study().best_trial

    @property
    def best_trials(self) -> list[optuna.trial.FrozenTrial]:
        """The trials that no other trial beats in every objective, so far."""
        return self.get_study().best_trials

    @property
    def best_params(self) -> dict[str, Any]:
        """The parameters of the best trial so far.

        Raises:
            ValueError: No trial has returned a value yet.
            RuntimeError: The study has several objectives: see `best_trials`.
        """
        return self.get_study().best_params

    @property
    def best_value(self) -> float:
        """The value of the best trial so far.

        Raises:
            ValueError: No trial has returned a value yet.
            RuntimeError: The study has several objectives: see `best_trials`.
        """
        return self.get_study().best_value

    # ------------------------------------------------------------------------------- waiting

    def _follow(
        self,
        trialbatch_name: str,
        seconds: float | None,
        *,
        bar: bool,
        enough: Callable[[v1.TrialBatchStatus], bool],
    ) -> bool:
        status = progress.follow(
            self._connection.progress,
            trialbatch_name,
            study_name=self.study_name,
            enough=enough,
            timeout=seconds,
            show_progress_bar=bar,
        )
        return status is not None

    def _unfinished_batches(self) -> list[str]:
        """Names of the batches that are running, and of the last one that was started here."""
        batches = self.get_status()["trialbatches"]
        if not batches:
            message = f"study {self.study_name!r} has no batch to wait for: call optimize() first."
            raise NoTrialBatchError(message)
        return [
            name
            for name, one in batches.items()
            if one["phase"] not in FINAL_PHASES or name == self._last_trialbatch_name
        ]

    def _wait_for_trial(
        self, trial_identifier: int | str, trialbatch_name: str | None, end: float
    ) -> bool:
        delay = FIRST_POLL
        while not self.is_trial_finished(trial_identifier, trialbatch_name):
            batches = self.get_status(trialbatch_name)["trialbatches"].values()
            # In this order, so that a trial that ends meanwhile is seen.
            if all(one["phase"] in FINAL_PHASES for one in batches):
                if self.is_trial_finished(trial_identifier, trialbatch_name):
                    break
                message = (
                    f"trial {trial_identifier!r} has not ended, and no batch of study "
                    f"{self.study_name!r} is running that could end it."
                )
                raise NoTrialBatchError(message)
            if time.monotonic() >= end:
                return False
            time.sleep(min(delay, max(0.0, end - time.monotonic())))
            delay = min(1.5 * delay, LAST_POLL)
        return True

    def _timed_out(self, trialbatch_name: str, seconds: float | None) -> WaitTimeoutError:
        message = (
            f"batch {trialbatch_name} of study {self.study_name!r} was not as far as asked after "
            f"{seconds:g} s (wait_timeout). It runs on: get_status() tells how it is doing, "
            f"wait(trialbatch_name={trialbatch_name!r}) waits for it again."
        )
        return WaitTimeoutError(message, trialbatch_name=trialbatch_name)
