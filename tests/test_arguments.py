"""What a user passes is checked before anything runs, and the error names the argument."""

from __future__ import annotations

import enum
import functools
import unittest.mock
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pytest

from aiauto import arguments, batch
from aiauto.errors import (
    ArgumentError,
    ArgumentFileNotFoundError,
    ArgumentTypeError,
    ArgumentValueError,
)
from aiauto.progress import WaitOption

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

DEFAULT = {"cpu": "256m", "memory": "256Mi"}


# ------------------------------------------------------------------------------------- studies


@pytest.mark.parametrize("name", ["a", "simple_optimization", "A.b-c_9", "x" * 63])
def test_study_names(name: str) -> None:
    assert arguments.study_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "_a", "a_", "a b", "a/b", "x" * 64, "공부", "a\n", "a'b", "..", "-"]
)
def test_bad_study_names(name: str) -> None:
    with pytest.raises(ArgumentValueError, match=r"study_name .* 1 to 63 letters") as caught:
        arguments.study_name(name)
    assert caught.value.argument == "study_name"


@pytest.mark.parametrize("name", [None, 1, b"a", Path("a")])
def test_study_names_are_text(name: object) -> None:
    with pytest.raises(ArgumentTypeError, match="study_name must be text"):
        arguments.study_name(name)


@pytest.mark.parametrize(
    ("direction", "directions", "expected"),
    [
        (None, None, ["minimize"]),
        ("minimize", None, ["minimize"]),
        ("maximize", None, ["maximize"]),
        (["minimize", "minimize"], None, ["minimize", "minimize"]),
        (None, ["minimize", "maximize"], ["minimize", "maximize"]),
        (None, ("maximize",), ["maximize"]),
        (optuna.study.StudyDirection.MAXIMIZE, None, ["maximize"]),
    ],
)
def test_directions(direction: object, directions: object, expected: list[str]) -> None:
    assert arguments.directions(direction, directions) == expected


@pytest.mark.parametrize(
    ("direction", "directions", "kind", "named"),
    [
        ("minimize", ["minimize"], ArgumentValueError, "direction and directions were both"),
        ("up", None, ArgumentValueError, "direction is 'up'"),
        ("Minimize", None, ArgumentValueError, "direction is 'Minimize'"),
        (1, None, ArgumentTypeError, "direction must be"),
        ([], None, ArgumentValueError, "direction is empty"),
        (["minimize", "up"], None, ArgumentValueError, "direction is 'up'"),
        (None, [], ArgumentValueError, "directions is empty"),
        (None, "minimize", ArgumentTypeError, "directions must be a list"),
        (None, ["minimize", None], ArgumentTypeError, "directions must be"),
    ],
)
def test_bad_directions(
    direction: object, directions: object, kind: type[ArgumentError], named: str
) -> None:
    with pytest.raises(kind, match=named) as caught:
        arguments.directions(direction, directions)
    assert caught.value.argument == named.split(maxsplit=1)[0]


# ------------------------------------------------------------------------------------- numbers


@pytest.mark.parametrize("value", [1, 10, np.int64(10), 2**31 - 1])
def test_counts(value: int) -> None:
    number = arguments.count(value, "n_trials", what="trials")
    assert number == value
    assert type(number) is int


@pytest.mark.parametrize("value", [0, -1, 2**31])
def test_counts_out_of_range(value: int) -> None:
    with pytest.raises(ArgumentValueError, match=f"n_trials is {value}: .* at least 1") as caught:
        arguments.count(value, "n_trials", what="trials")
    assert caught.value.argument == "n_trials"


@pytest.mark.parametrize("value", ["10", True, 1.5, 1.0, None, [1], np.bool_(1)])
def test_counts_are_whole_numbers(value: object) -> None:
    with pytest.raises(ArgumentTypeError, match="n_trials must be a whole number"):
        arguments.count(value, "n_trials", what="trials")


def test_seconds() -> None:
    assert arguments.seconds(None, "timeout") is None
    assert arguments.seconds(float("inf"), "timeout") is None
    assert arguments.seconds(2, "timeout") == 2.0
    for value in (0, -1, float("nan")):
        with pytest.raises(ArgumentValueError, match=r"timeout is .* more than 0"):
            arguments.seconds(value, "timeout")
    for text in ("10", True, [1]):
        with pytest.raises(ArgumentTypeError, match="timeout must be a number of seconds"):
            arguments.seconds(text, "timeout")


def test_flags_and_texts() -> None:
    assert arguments.flag(value=True, name="use_gpu") is True
    assert arguments.text(None, "runtime_image") == ""
    assert arguments.text("x", "runtime_image") == "x"
    with pytest.raises(ArgumentTypeError, match="use_gpu must be True or False"):
        arguments.flag("yes", "use_gpu")
    with pytest.raises(ArgumentTypeError, match="runtime_image must be text"):
        arguments.text(1, "runtime_image")


def test_options() -> None:
    every = WaitOption.WAIT_ALL_TRIALS
    assert arguments.option(every, WaitOption, "wait_option") is every
    assert arguments.option("WAIT_ALL_TRIALS", WaitOption, "wait_option") is every
    with pytest.raises(ArgumentValueError, match=r"wait_option is 'ALL': .* WAIT_ALL_TRIALS"):
        arguments.option("ALL", WaitOption, "wait_option")

    class Other(enum.Enum):
        WAIT_ALL_TRIALS = 1

    for other in (Other.WAIT_ALL_TRIALS, 1, None):
        with pytest.raises(ArgumentTypeError, match="wait_option must be one of"):
            arguments.option(other, WaitOption, "wait_option")


# ------------------------------------------------------------------------ objective, requirements


@pytest.mark.parametrize("value", [None, 1.0, "objective", {"objective": 1}])
def test_an_objective_can_be_called(value: object) -> None:
    with pytest.raises(ArgumentTypeError, match="objective must be a function"):
        arguments.objective(value)
    assert arguments.objective(len) is len


class Objective:
    def __init__(self, data: int) -> None:
        self.data = data

    def __call__(self, _: object) -> float:
        return float(self.data)

    def with_more(self, _: object, more: int = 1) -> float:
        return float(more)

    async def later(self, _: object) -> float:
        return float(self.data)


class LaterObjective:
    async def __call__(self, _: object) -> float:
        return 1.0


async def coroutine(trial: object) -> float:
    return 1.0


def generator(trial: object) -> Iterator[float]:
    yield 1.0


async def asynchronous_generator(trial: object) -> AsyncIterator[float]:
    yield 1.0


def wrapped(function: Callable[..., float]) -> Callable[..., float]:
    @functools.wraps(function)
    def wrapper(trial: object) -> float:
        return function(trial, 1, 2)

    return wrapper


def with_two(trial: object, other: int) -> float:
    return 1.0


def with_any(*_: object) -> float:
    return 1.0


def with_none() -> float:
    return 1.0


def with_name(_: object, *, data: float) -> float:
    return data


def by_itself(_: object = None) -> float:
    return 1.0


OBJECTIVES: list[object] = [
    Objective(1),
    Objective(1).with_more,
    Objective,  # what it gives is another question
    functools.partial(with_two, other=1),
    functools.partial(with_two, None),
    with_any,
    by_itself,
    wrapped(with_any),
    max,  # which tells nobody what it takes
    unittest.mock.Mock(),
]


@pytest.mark.parametrize("value", OBJECTIVES)
def test_what_can_be_called_with_a_trial(value: object) -> None:
    assert arguments.objective(value) is value


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (coroutine, "is a coroutine function"),
        (functools.partial(coroutine), "is a coroutine function"),
        (Objective(1).later, "is a coroutine function"),
        (LaterObjective(), "is a coroutine function"),
        (generator, "is a generator function"),
        (asynchronous_generator, "is a generator function"),
        (with_none, "must take one argument, the trial"),
        (with_two, "must take one argument, the trial .*'other'"),
        (with_name, "must take one argument, the trial .*'data'"),
        (functools.partial(by_itself, None), "must take one argument"),
    ],
)
def test_what_can_not_be_an_objective(value: object, said: str) -> None:
    with pytest.raises(ArgumentTypeError, match=f"objective {said}") as caught:
        arguments.objective(value)
    assert caught.value.argument == "objective"


def test_requirements(tmp_path: Path) -> None:
    assert arguments.requirements(None, None) == ""
    assert arguments.requirements(None, []) == ""
    assert arguments.requirements(None, ["torch", " torchvision>=0.2 "]) == (
        "torch\ntorchvision>=0.2\n"
    )
    file = tmp_path / "requirements.txt"
    file.write_text("numpy  # 수치\n", encoding="utf-8")
    assert arguments.requirements(file, None) == "numpy  # 수치\n"
    assert arguments.requirements(str(file), None) == "numpy  # 수치\n"


@pytest.mark.parametrize(
    ("file", "packages", "kind", "named"),
    [
        ("a.txt", ["numpy"], ArgumentValueError, "requirements_file and requirements_list were"),
        ("a.txt", None, ArgumentFileNotFoundError, "requirements_file 'a.txt' does not exist"),
        (["numpy"], None, ArgumentTypeError, "requirements_file must be a path"),
        (".", None, ArgumentValueError, "requirements_file '.' can't be read"),
        ("binary", None, ArgumentValueError, "requirements_file 'binary' can't be read"),
        (None, "numpy", ArgumentTypeError, "requirements_list must be a list"),
        (None, [1], ArgumentTypeError, "requirements_list holds 1"),
        (None, [""], ArgumentValueError, "requirements_list holds ''"),
        (None, ["a\nb"], ArgumentValueError, "requirements_list holds"),
    ],
)
def test_bad_requirements(
    file: object,
    packages: object,
    kind: type[ArgumentError],
    named: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("binary").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(kind, match=named) as caught:
        arguments.requirements(file, packages)
    assert caught.value.argument == named.split(maxsplit=1)[0]


# ------------------------------------------------------------------------------------ resources


def test_resources() -> None:
    assert arguments.resources(None, None, DEFAULT) == (DEFAULT, DEFAULT)
    big = {"cpu": "2", "memory": "4Gi"}
    # A default limit below a given request would be refused by every cluster.
    assert arguments.resources(big, None, DEFAULT) == (big, big)
    assert arguments.resources(None, big, DEFAULT) == (big, big)
    assert arguments.resources({"cpu": "500m"}, {"cpu": "0.5"}, DEFAULT) == (
        {"cpu": "500m"},
        {"cpu": "0.5"},
    )


@pytest.mark.parametrize(
    ("requests", "limits", "kind", "named"),
    [
        ("1", None, ArgumentTypeError, "resources_requests must be a dict"),
        ({"cpu": 1}, None, ArgumentTypeError, "resources_requests holds 'cpu': 1"),
        ({"cpu": "-1"}, None, ArgumentValueError, "resources_requests holds 'cpu': '-1'"),
        ({"cpu": "0"}, None, ArgumentValueError, "resources_requests holds"),
        ({"cpu": "many"}, None, ArgumentValueError, "resources_requests holds"),
        ({"memory": "1 Gi"}, None, ArgumentValueError, "resources_requests holds"),
        ({"": "1"}, None, ArgumentValueError, "resources_requests holds"),
        ({"mem": "1Gi"}, None, ArgumentValueError, "resources_requests holds 'mem', and no"),
        (None, {"gpu": "1"}, ArgumentValueError, "resources_limits holds 'gpu', and no"),
        (None, {"memory": "256MB"}, ArgumentValueError, "resources_limits holds"),
        (None, [("cpu", "1")], ArgumentTypeError, "resources_limits must be a dict"),
        ({"cpu": "1"}, {"cpu": "999m"}, ArgumentValueError, "resources_requests asks for cpu"),
        ({"memory": "1Gi"}, {"memory": "1G"}, ArgumentValueError, "resources_requests asks for"),
    ],
)
def test_bad_resources(
    requests: object, limits: object, kind: type[ArgumentError], named: str
) -> None:
    with pytest.raises(kind, match=named) as caught:
        arguments.resources(requests, limits, DEFAULT)
    assert caught.value.argument == named.split(maxsplit=1)[0]


@pytest.mark.parametrize(
    ("smaller", "larger"),
    [("100m", "1"), ("1", "1k"), ("1k", "1Ki"), ("1M", "1Mi"), ("999Mi", "1Gi"), ("1Ti", "1P")],
)
def test_quantities_are_compared_as_kubernetes_does(smaller: str, larger: str) -> None:
    arguments.resources({"cpu": smaller}, {"cpu": larger}, DEFAULT)
    with pytest.raises(ArgumentValueError, match="less than the request"):
        arguments.resources({"cpu": larger}, {"cpu": smaller}, DEFAULT)


# ---------------------------------------------------------------------------------------- batch


def given(**changed: Any) -> dict[str, Any]:
    defaults: dict[str, Any] = {
        "n_trials": 10,
        "parallelism": 2,
        "resources_requests": None,
        "resources_limits": None,
        "runtime_image": None,
        "use_gpu": False,
        "gpu_model": None,
        "dev_shm_size": "500Mi",
        "tmp_cache_dir": "/mnt/tmp-cache",
        "use_tmp_cache_mem": False,
        "tmp_cache_size": "500Mi",
        "top_n_artifacts": 5,
        "image_pull_registry": None,
        "image_pull_username": None,
        "image_pull_password": None,
        "image_pull_docker_config_json": None,
        "timeout": None,
        "trial_timeout": None,
        "patience": None,
        "max_retries": 0,
    }
    return {**defaults, **changed}


CREDENTIAL = {
    "image_pull_registry": "registry.example",
    "image_pull_username": "me",
    "image_pull_password": "hidden",
}


@pytest.mark.parametrize(
    ("changed", "kind", "argument"),
    [
        ({"n_trials": 0}, ArgumentValueError, "n_trials"),
        ({"n_trials": -3}, ArgumentValueError, "n_trials"),
        ({"n_trials": "10"}, ArgumentTypeError, "n_trials"),
        ({"n_trials": True}, ArgumentTypeError, "n_trials"),
        ({"n_trials": 1.5}, ArgumentTypeError, "n_trials"),
        ({"parallelism": 0}, ArgumentValueError, "parallelism"),
        ({"parallelism": "2"}, ArgumentTypeError, "parallelism"),
        ({"use_gpu": 1}, ArgumentTypeError, "use_gpu"),
        ({"runtime_image": 3}, ArgumentTypeError, "runtime_image"),
        ({"dev_shm_size": "5Gi"}, ArgumentValueError, "dev_shm_size"),
        ({"dev_shm_size": 500}, ArgumentTypeError, "dev_shm_size"),
        ({"tmp_cache_size": "4097Mi"}, ArgumentValueError, "tmp_cache_size"),
        ({"tmp_cache_size": "0Mi"}, ArgumentValueError, "tmp_cache_size"),
        ({"tmp_cache_size": "1GB"}, ArgumentValueError, "tmp_cache_size"),
        ({"tmp_cache_dir": "tmp"}, ArgumentValueError, "tmp_cache_dir"),
        ({"tmp_cache_dir": "/a/../b"}, ArgumentValueError, "tmp_cache_dir"),
        ({"tmp_cache_dir": None}, ArgumentTypeError, "tmp_cache_dir"),
        ({"use_tmp_cache_mem": None}, ArgumentTypeError, "use_tmp_cache_mem"),
        ({"top_n_artifacts": 0}, ArgumentValueError, "top_n_artifacts"),
        ({"gpu_model": 5}, ArgumentTypeError, "gpu_model"),
        ({"gpu_model": {"a": 0}}, ArgumentValueError, "gpu_model"),
        ({"gpu_model": {1: 1}}, ArgumentTypeError, "gpu_model"),
        ({"gpu_model": {"a": 6, "b": 5}}, ArgumentValueError, "gpu_model"),
        ({"image_pull_username": "me"}, ArgumentValueError, "image_pull_registry"),
        ({"image_pull_registry": 1}, ArgumentTypeError, "image_pull_registry"),
        (
            {**CREDENTIAL, "image_pull_docker_config_json": {}},
            ArgumentValueError,
            "image_pull_docker_config_json",
        ),
        (
            {"image_pull_docker_config_json": "{}"},
            ArgumentTypeError,
            "image_pull_docker_config_json",
        ),
        (
            {"image_pull_docker_config_json": {"auths": object()}},
            ArgumentTypeError,
            "image_pull_docker_config_json",
        ),
        ({"timeout": 0}, ArgumentValueError, "timeout"),
        ({"timeout": "60"}, ArgumentTypeError, "timeout"),
        ({"timeout": 1e12}, ArgumentValueError, "timeout"),
        ({"trial_timeout": -1}, ArgumentValueError, "trial_timeout"),
        ({"trial_timeout": float("nan")}, ArgumentValueError, "trial_timeout"),
        ({"patience": 0}, ArgumentValueError, "patience"),
        ({"patience": 2.5}, ArgumentTypeError, "patience"),
        ({"patience": True}, ArgumentTypeError, "patience"),
        ({"max_retries": -1}, ArgumentValueError, "max_retries"),
        ({"max_retries": 101}, ArgumentValueError, "max_retries"),
        ({"max_retries": None}, ArgumentTypeError, "max_retries"),
    ],
)
def test_bad_batches(changed: dict[str, Any], kind: type[ArgumentError], argument: str) -> None:
    with pytest.raises(kind) as caught:
        batch.specify("study", given(**changed))
    assert caught.value.argument == argument
    assert argument in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_a_batch_by_default() -> None:
    spec = batch.specify("study", given())
    assert (spec.study_name, spec.n_trials, spec.parallelism) == ("study", 10, 2)
    assert spec.resources_requests == spec.resources_limits == DEFAULT
    assert spec.runtime_image
    assert spec.gpu_model == {}
    assert spec.image_pull_registry is None
    assert spec.image_pull_docker_config_json is None
    assert spec.timeout_seconds is spec.trial_timeout_seconds is None
    assert spec.patience == spec.max_retries == 0


def test_a_batch_in_full() -> None:
    spec = batch.specify(
        "study",
        given(
            use_gpu=True,
            gpu_model="gpu_3090",
            dev_shm_size="4Gi",
            runtime_image="mine:1",
            timeout=3600,
            trial_timeout=60.5,
            patience=20,
            max_retries=2,
            **CREDENTIAL,
        ),
    )
    assert (spec.timeout_seconds, spec.trial_timeout_seconds) == (3600.0, 60.5)
    assert (spec.patience, spec.max_retries) == (20, 2)
    endless = batch.specify("study", given(timeout=float("inf"), trial_timeout=float("inf")))
    assert endless.timeout_seconds is endless.trial_timeout_seconds is None
    assert spec.gpu_model == {"gpu-3090": 10}
    assert spec.dev_shm_size == "4Gi"
    assert spec.runtime_image == "mine:1"
    assert spec.image_pull_registry
    assert spec.image_pull_registry.password == "hidden"
    config: dict[str, Any] = {"auths": {"registry.example": {}}}
    other = batch.specify("study", given(image_pull_docker_config_json=config))
    assert other.image_pull_docker_config_json == '{"auths": {"registry.example": {}}}'


def test_gpu_models_must_be_offered() -> None:
    spec = batch.specify("study", given(gpu_model={"gpu_3090": 1}))
    batch.check_gpu_models(spec, ["gpu-3090", "gpu-4090"])
    batch.check_gpu_models(spec, ["nvidia-geforce-rtx-3090"])
    with pytest.raises(ArgumentValueError, match=r"gpu_model names gpu-3090, .* has gpu-4090"):
        batch.check_gpu_models(spec, ["gpu-4090"])
    with pytest.raises(ArgumentValueError, match="no GPUs"):
        batch.check_gpu_models(spec, [])
