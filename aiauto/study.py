"""StudyWrapper: one study on a server."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any, Literal

from aiauto_gen.aiauto import v1

from aiauto import arguments, images, objective, progress, samplers, status
from aiauto.errors import NoTrialBatchError, WaitTimeoutError
from aiauto.progress import WaitOption

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence

    import optuna

    from aiauto.controller import AIAutoController

WaitOptionName = Literal["WAIT_NO", "WAIT_ATLEAST_ONE_TRIAL", "WAIT_ALL_TRIALS"]

DEFAULT_RESOURCES = {"cpu": "256m", "memory": "256Mi"}
DEFAULT_SHM_SIZE = "500Mi"
MAX_SHM_GI = 4.0
MAX_TMP_CACHE_GI = 4.0


class StudyWrapper:
    """A study on a server. Made by `AIAutoController.create_study`.

    Attributes:
        study_name: Name of the study.
    """

    study_name: str

    def __init__(self, controller: AIAutoController, spec: v1.StudySpec) -> None:
        self.study_name = spec.study_name
        self._controller = controller
        self._spec = spec
        self._study: optuna.Study | None = None
        self._last_trialbatch_name: str | None = None

    def __repr__(self) -> str:
        return f"StudyWrapper(study_name={self.study_name!r}, controller={self._controller!r})"

    def __getstate__(self) -> dict[str, Any]:
        # The study is opened again where it is needed.
        return {**self.__dict__, "_study": None}

    # ------------------------------------------------------------------------------- running

    def optimize(  # noqa: PLR0913 - the arguments of the released client, in its order
        self,
        objective: Callable[..., Any],
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
        dev_shm_size: str = DEFAULT_SHM_SIZE,
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
