"""`aiauto run` takes all that `StudyWrapper.optimize` takes, and passes it on."""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import typer
from aiauto_gen.aiauto import v1

import aiauto
from aiauto.calls import BlockingCalls
from aiauto.cli import app
from aiauto.cli.run import PASSWORD_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Aiauto


pytestmark = pytest.mark.once


@dataclass
class Option:
    """How an argument of `optimize` is written, and where it is to be found in what is sent."""

    written: list[str]
    found: Callable[[v1.OptimizeRequest], object]
    value: object
    environment: dict[str, str] = field(default_factory=dict[str, str])


def credential(request: v1.OptimizeRequest) -> v1.ImagePullRegistry:
    assert request.batch
    return request.batch.image_pull_registry or v1.ImagePullRegistry()


def requirements(request: v1.OptimizeRequest) -> list[str]:
    assert request.objective
    return request.objective.requirements_txt.split()


def of_batch(name: str) -> Callable[[v1.OptimizeRequest], object]:
    return lambda request: getattr(request.batch, name)


REGISTRY = ["--registry", "ghcr.io", "--registry-user", "ada"]
PASSWORD = {PASSWORD_VARIABLE: "s3cret"}
# By the names of `optimize`. `FOLDER` is the test's.
OPTIONS = {
    "n_trials": Option(["--n-trials", "7"], of_batch("n_trials"), 7),
    "parallelism": Option(["--parallelism", "3"], of_batch("parallelism"), 3),
    "requirements_file": Option(["--requirements", "FOLDER/r.txt"], requirements, ["rich>=13"]),
    "requirements_list": Option(
        ["--require", "rich>=13", "--require", "tqdm"], requirements, ["rich>=13", "tqdm"]
    ),
    "resources_requests": Option(
        ["--request", "cpu=2", "--request", "memory=4Gi"],
        of_batch("resources_requests"),
        {"cpu": "2", "memory": "4Gi"},
    ),
    "resources_limits": Option(
        ["--limit", "cpu=3", "--limit", "memory=5Gi"],
        of_batch("resources_limits"),
        {"cpu": "3", "memory": "5Gi"},
    ),
    "runtime_image": Option(
        ["--image", "example/image:1"], of_batch("runtime_image"), "example/image:1"
    ),
    "use_gpu": Option(["--gpu"], of_batch("use_gpu"), value=True),
    "gpu_model": Option(
        ["--gpu", "--gpu-model", "rtx_3090=3", "--gpu-model", "rtx_4090=4"],
        of_batch("gpu_model"),
        {"rtx-3090": 3, "rtx-4090": 4},
    ),
    "dev_shm_size": Option(["--shm-size", "1Gi"], of_batch("dev_shm_size"), "1Gi"),
    "tmp_cache_dir": Option(["--tmp-cache-dir", "/mnt/s"], of_batch("tmp_cache_dir"), "/mnt/s"),
    "use_tmp_cache_mem": Option(["--tmp-cache-mem"], of_batch("use_tmp_cache_mem"), value=True),
    "tmp_cache_size": Option(["--tmp-cache-size", "2Gi"], of_batch("tmp_cache_size"), "2Gi"),
    "top_n_artifacts": Option(["--top-n-artifacts", "2"], of_batch("top_n_artifacts"), 2),
    "image_pull_registry": Option(REGISTRY, lambda r: credential(r).registry, "ghcr.io", PASSWORD),
    "image_pull_username": Option(REGISTRY, lambda r: credential(r).username, "ada", PASSWORD),
    "image_pull_password": Option(REGISTRY, lambda r: credential(r).password, "s3cret", PASSWORD),
    "image_pull_docker_config_json": Option(
        ["--docker-config", "FOLDER/config.json"],
        of_batch("image_pull_docker_config_json"),
        '{"auths": {}}',
    ),
    "timeout": Option(["--timeout", "60.5"], of_batch("timeout_seconds"), 60.5),
    "trial_timeout": Option(["--trial-timeout", "30"], of_batch("trial_timeout_seconds"), 30.0),
    "patience": Option(["--patience", "5"], of_batch("patience"), 5),
    "max_retries": Option(["--max-retries", "2"], of_batch("max_retries"), 2),
}
# What is about waiting reaches no batch: test_run.py.
WAITING = {
    "wait_option": "--wait",
    "wait_timeout": "--wait-timeout",
    "show_progress_bar": "--progress",
}
OF_THE_STUDY = {"--study", "--direction", "--sampler", "--pruner"}


def test_every_argument_has_an_option() -> None:
    signature = inspect.signature(aiauto.StudyWrapper.optimize).parameters
    assert set(signature) == {"self", "objective", *OPTIONS, *WAITING}
    group: Any = typer.main.get_command(app)
    known = {name for one in group.commands["run"].params for name in one.opts if "--" in name}
    written = {word for one in OPTIONS.values() for word in one.written if word.startswith("--")}
    assert known == {*written, *WAITING.values(), *OF_THE_STUDY, "--json"}


def test_both_have_the_same_defaults(sent: Callable[..., v1.OptimizeRequest]) -> None:
    defaults = {
        name: one.default
        for name, one in inspect.signature(aiauto.StudyWrapper.optimize).parameters.items()
    }
    request = sent()
    for name in ("n_trials", "parallelism", "use_gpu", "dev_shm_size", "tmp_cache_dir"):
        assert of_batch(name)(request) == defaults[name], name
    for name in ("use_tmp_cache_mem", "tmp_cache_size", "top_n_artifacts", "max_retries"):
        assert of_batch(name)(request) == defaults[name], name
    for name in ("timeout_seconds", "trial_timeout_seconds", "image_pull_docker_config_json"):
        assert of_batch(name)(request) is None, name
    assert of_batch("patience")(request) == 0


@pytest.fixture
def sent(
    cli: Aiauto, study_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., v1.OptimizeRequest]:
    """Runs the command, and gives what would have been sent: this machine lacks GPUs and images."""
    requests: list[v1.OptimizeRequest] = []

    async def kept(_: BlockingCalls, request: v1.OptimizeRequest) -> v1.OptimizeResponse:
        requests.append(request)
        return v1.OptimizeResponse(trialbatch_name="kept")

    async def flavors(
        _: BlockingCalls, request: v1.ListGpuFlavorsRequest
    ) -> v1.ListGpuFlavorsResponse:
        names = ("rtx_3090", "rtx_4090")
        return v1.ListGpuFlavorsResponse(gpu_flavors=[v1.GpuFlavorInfo(name=one) for one in names])

    monkeypatch.setattr(BlockingCalls, "optimize", kept)
    monkeypatch.setattr(BlockingCalls, "list_gpu_flavors", flavors)
    (tmp_path / "r.txt").write_text("rich>=13\n", encoding="utf-8")
    (tmp_path / "config.json").write_text('{"auths": {}}', encoding="utf-8")

    def run(*options: str) -> v1.OptimizeRequest:
        place = f"{cli.script}:objective"
        written = [one.replace("FOLDER", str(tmp_path)) for one in options]
        assert cli("run", place, "-s", study_name, "--no-wait", *written) == "kept\n"
        return requests.pop()

    return run


@pytest.mark.parametrize("name", OPTIONS)
def test_it_reaches_the_batch(
    name: str, sent: Callable[..., v1.OptimizeRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    option = OPTIONS[name]
    for variable, value in option.environment.items():
        monkeypatch.setenv(variable, value)
    assert option.found(sent(*option.written)) == option.value


def test_one_gpu_model(sent: Callable[..., v1.OptimizeRequest]) -> None:
    assert of_batch("gpu_model")(sent("--gpu", "--gpu-model", "rtx_3090")) == {"rtx-3090": 10}


def test_sampler_and_pruner_reach_the_study(
    cli: Aiauto,
    sent: Callable[..., v1.OptimizeRequest],
    controller: aiauto.AIAutoController,
    study_name: str,
) -> None:
    sampler = {"cls": "TPESampler", "kwargs": {"seed": 7}}
    sent(
        "--sampler",
        json.dumps(sampler),
        "--pruner",
        "MedianPruner",
        "-d",
        "maximize",
        "-d",
        "minimize",
    )
    listed = controller._connection.service.list_studies(v1.ListStudiesRequest()).studies
    (made,) = [one for one in listed if one.study_name == study_name]
    assert json.loads(made.sampler_json)["cls"] == "TPESampler"
    assert json.loads(made.sampler_json)["kwargs"]["seed"] == 7
    assert json.loads(made.pruner_json)["cls"] == "MedianPruner"
    assert made.directions == ["maximize", "minimize"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--sampler", "{"], "--sampler is no JSON"),
        (["--sampler", "Nothing"], "Nothing"),
        (["--limit", "=2"], "--limit is '=2': write it as in cpu=2."),
        (["--gpu-model", "a", "--gpu-model", "b=2"], "write each as in rtx_3090=3"),
        (["--docker-config", "FILE"], "is no Docker config.json"),
        (["--n-trials", "0"], "--n-trials"),
        (["--registry", "ghcr.io"], "image_pull_username is missing"),
        (["--requirements", "FILE", "--require", "a"], "requirements"),
        (["--timeout", "-1"], "timeout"),
    ],
)
def test_what_can_not_be(cli: Aiauto, study_name: str, options: list[str], said: str) -> None:
    file = cli.script.with_name("secret.txt")
    file.write_text("s3cret", encoding="utf-8")
    written = [one.replace("FILE", str(file)) for one in options]
    error = cli("run", f"{cli.script}:objective", "-s", study_name, *written, code=2)
    assert said in error
    assert "s3cret" not in error
    assert "Traceback" not in error
