"""The specification of a batch, from what a user passes to `StudyWrapper.optimize`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TypedDict, cast

from aiauto_gen.aiauto import v1

from aiauto import arguments, images
from aiauto.errors import ArgumentTypeError, ArgumentValueError
from aiauto.gpu_models import is_meant
from aiauto.resources import DEFAULT_RESOURCES

Resources = TypedDict(
    "Resources",
    {"cpu": str, "memory": str, "ephemeral-storage": str, "nvidia.com/gpu": str},
    total=False,
)
"""What a worker asks for or may use, by Kubernetes' names: ``{"cpu": "2", "memory": "4Gi"}``."""

DEFAULT_SHM_SIZE = "500Mi"
MAX_SHM_GI = 4.0
MAX_TMP_CACHE_GI = 4.0
MAX_TIMEOUT_SECONDS = 10 * 365 * 86_400
MAX_RETRIES = 100


def specify(study_name: str, given: Mapping[str, object]) -> v1.TrialBatchSpec:
    """Check the arguments and put them together.

    Args:
        study_name: Study that the trials belong to.
        given: The arguments of `StudyWrapper.optimize`, of whatever type they came in.

    Returns:
        The specification.

    Raises:
        ArgumentError: An argument can't be right.
    """
    n_trials = arguments.count(given["n_trials"], "n_trials", what="trials to run")
    use_gpu = arguments.flag(given["use_gpu"], "use_gpu")
    requests, limits = arguments.resources(
        given["resources_requests"], given["resources_limits"], DEFAULT_RESOURCES
    )
    registry, docker_config = _image_pull_credential(given)
    return v1.TrialBatchSpec(
        study_name=study_name,
        n_trials=n_trials,
        parallelism=arguments.count(given["parallelism"], "parallelism", what="workers at once"),
        runtime_image=arguments.text(given["runtime_image"], "runtime_image")
        or images.default_image(use_gpu=use_gpu),
        resources_requests=requests,
        resources_limits=limits,
        use_gpu=use_gpu,
        # It counts for GPU workers only, and scripts of the released client pass it without.
        dev_shm_size=arguments.size(given["dev_shm_size"], "dev_shm_size", maximum_gi=MAX_SHM_GI),
        tmp_cache_dir=arguments.folder(given["tmp_cache_dir"], "tmp_cache_dir"),
        use_tmp_cache_mem=arguments.flag(given["use_tmp_cache_mem"], "use_tmp_cache_mem"),
        tmp_cache_size=arguments.size(
            given["tmp_cache_size"], "tmp_cache_size", maximum_gi=MAX_TMP_CACHE_GI
        ),
        gpu_model=arguments.gpu_models(given["gpu_model"], n_trials),
        top_n_artifacts=arguments.count(
            given["top_n_artifacts"], "top_n_artifacts", what="trials that keep their artifacts"
        ),
        image_pull_registry=registry,
        image_pull_docker_config_json=docker_config,
        timeout_seconds=arguments.seconds(given["timeout"], "timeout", maximum=MAX_TIMEOUT_SECONDS),
        trial_timeout_seconds=arguments.seconds(
            given["trial_timeout"], "trial_timeout", maximum=MAX_TIMEOUT_SECONDS
        ),
        max_retries=arguments.count(
            given["max_retries"],
            "max_retries",
            what="times that a failed trial is run again",
            minimum=0,
            maximum=MAX_RETRIES,
        ),
        patience=0
        if given["patience"] is None
        else arguments.count(
            given["patience"], "patience", what="trials in a row without a better value"
        ),
    )


def check_gpu_models(batch: v1.TrialBatchSpec, offered: list[str]) -> None:
    """Check that the GPU models of a batch are offered.

    Args:
        batch: The batch.
        offered: Names of the models that the server has.

    Raises:
        ArgumentValueError: A model is not offered.
    """
    unknown = sorted(
        model for model in batch.gpu_model if not any(is_meant(model, one) for one in offered)
    )
    if unknown:
        choice = f"it has {', '.join(sorted(offered))}" if offered else "it has no GPUs"
        message = f"gpu_model names {', '.join(unknown)}, which the server does not have: {choice}."
        raise ArgumentValueError(message, argument="gpu_model")


def _image_pull_credential(
    given: Mapping[str, object],
) -> tuple[v1.ImagePullRegistry | None, str | None]:
    names = ("image_pull_registry", "image_pull_username", "image_pull_password")
    one_by_one = [
        arguments.text(given["image_pull_registry"], names[0]),
        arguments.text(given["image_pull_username"], names[1]),
        arguments.text(given["image_pull_password"], names[2]),
    ]
    docker_config = given["image_pull_docker_config_json"]
    if docker_config is None and not any(one_by_one):
        return None, None
    if docker_config is None:
        missing = [name for name, value in zip(names, one_by_one, strict=True) if not value]
        if missing:
            message = f"Credentials for an image need {', '.join(names)}: {missing[0]} is missing."
            raise ArgumentValueError(message, argument=missing[0])
        registry, username, password = one_by_one
        return v1.ImagePullRegistry(registry=registry, username=username, password=password), None
    name = "image_pull_docker_config_json"
    if any(one_by_one):
        message = f"{name} was given together with {', '.join(names)}: pass one or the other."
        raise ArgumentValueError(message, argument=name)
    if not isinstance(docker_config, Mapping):
        message = f"{name} must be a dict as in a Docker config.json."
        raise ArgumentTypeError(message, argument=name)
    try:
        return None, json.dumps(dict(cast("Mapping[str, object]", docker_config)))
    except (TypeError, ValueError) as error:
        # What stands in it is secret and is not repeated.
        message = f"{name} can't be written as JSON: {type(error).__name__}."
        raise ArgumentTypeError(message, argument=name) from None
