"""`aiauto run`: an objective in a file, on many workers."""

# ruff: noqa: PLR0913 - the arguments of StudyWrapper.optimize

from __future__ import annotations

import json
import os
import re
from pathlib import Path  # noqa: TC003 - typer looks at the types when the program runs
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from aiauto.cli import following, reach, records, script
from aiauto.cli.exits import USAGE, fail
from aiauto.cli.output import JsonOption, note, print_json, print_rows

if TYPE_CHECKING:
    from aiauto.study import StudyWrapper

WORK, ENDS, WORKERS, WAITING = "Study", "Ends", "Workers", "Waiting"
PASSWORD_VARIABLE = "AIAUTO_REGISTRY_PASSWORD"  # noqa: S105 - the name of a variable


def run(
    objective: Annotated[
        str, typer.Argument(help="The file and the function in it: train.py:objective.")
    ],
    *,
    study: Annotated[
        str | None,
        typer.Option(
            "--study",
            "-s",
            help="Name of the study, which is made or gone on with. Default: the file's name.",
            rich_help_panel=WORK,
        ),
    ] = None,
    direction: Annotated[
        list[str] | None,
        typer.Option(
            "--direction",
            "-d",
            help="minimize (the default) or maximize; repeat it for several objectives.",
            rich_help_panel=WORK,
        ),
    ] = None,
    sampler: Annotated[
        str | None,
        typer.Option(
            help='Optuna sampler: a class such as TPESampler, or JSON: {"cls": "TPESampler", '
            '"kwargs": {"seed": 1}}.',
            rich_help_panel=WORK,
        ),
    ] = None,
    pruner: Annotated[
        str | None,
        typer.Option(help="Optuna pruner, in the same form.", rich_help_panel=WORK),
    ] = None,
    n_trials: Annotated[
        int, typer.Option("--n-trials", "-n", min=1, help="Trials to run.", rich_help_panel=WORK)
    ] = 10,
    parallelism: Annotated[
        int,
        typer.Option(
            "--parallelism", "-p", min=1, help="Workers at once.", rich_help_panel=WORKERS
        ),
    ] = 2,
    timeout: Annotated[
        float | None,
        typer.Option(help="Seconds: then no further trial begins.", rich_help_panel=ENDS),
    ] = None,
    trial_timeout: Annotated[
        float | None, typer.Option(help="Seconds for one trial.", rich_help_panel=ENDS)
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            help="Trials without a better value, then no further one begins.", rich_help_panel=ENDS
        ),
    ] = None,
    max_retries: Annotated[
        int, typer.Option(help="How often a failed trial is run again.", rich_help_panel=ENDS)
    ] = 0,
    requirements: Annotated[
        Path | None,
        typer.Option(
            "--requirements",
            "-r",
            help="A requirements.txt that workers install first.",
            rich_help_panel=WORKERS,
        ),
    ] = None,
    require: Annotated[
        list[str] | None,
        typer.Option(
            help="A package that workers install first, such as 'torch>=2'. May be repeated.",
            rich_help_panel=WORKERS,
        ),
    ] = None,
    request: Annotated[
        list[str] | None,
        typer.Option(
            help="What a worker asks for, such as cpu=2 or memory=4Gi. May be repeated.",
            rich_help_panel=WORKERS,
        ),
    ] = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(
            help="What a worker may use at most, in the same form.", rich_help_panel=WORKERS
        ),
    ] = None,
    gpu: Annotated[
        bool, typer.Option("--gpu", help="Every worker needs a GPU.", rich_help_panel=WORKERS)
    ] = False,
    gpu_model: Annotated[
        list[str] | None,
        typer.Option(
            help="GPU model, such as rtx_3090; or rtx_3090=3 for three of the trials. May be "
            "repeated.",
            rich_help_panel=WORKERS,
        ),
    ] = None,
    image: Annotated[
        str | None, typer.Option(help="Container image of a Pod.", rich_help_panel=WORKERS)
    ] = None,
    registry: Annotated[
        str | None,
        typer.Option(
            help=f"Registry that asks for a password, which {PASSWORD_VARIABLE} holds.",
            rich_help_panel=WORKERS,
        ),
    ] = None,
    registry_user: Annotated[
        str | None, typer.Option(help="User name there.", rich_help_panel=WORKERS)
    ] = None,
    docker_config: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="A Docker config.json in place of these.",
            rich_help_panel=WORKERS,
        ),
    ] = None,
    shm_size: Annotated[
        str, typer.Option(help="Size of /dev/shm with GPUs.", rich_help_panel=WORKERS)
    ] = "500Mi",
    tmp_cache_dir: Annotated[
        str, typer.Option(help="Where a Pod finds a scratch folder.", rich_help_panel=WORKERS)
    ] = "/mnt/tmp-cache",
    tmp_cache_mem: Annotated[
        bool,
        typer.Option(
            "--tmp-cache-mem", help="Keep the scratch folder in memory.", rich_help_panel=WORKERS
        ),
    ] = False,
    tmp_cache_size: Annotated[
        str, typer.Option(help="Size of the scratch folder.", rich_help_panel=WORKERS)
    ] = "500Mi",
    top_n_artifacts: Annotated[
        int,
        typer.Option(help="How many of the best trials keep artifacts.", rich_help_panel=WORK),
    ] = 5,
    wait: Annotated[
        bool,
        typer.Option("--wait/--no-wait", help="Wait for the trials.", rich_help_panel=WAITING),
    ] = True,
    wait_timeout: Annotated[
        float | None,
        typer.Option(
            help="Seconds to wait at most. Then the exit code is 1, and the batch runs on.",
            rich_help_panel=WAITING,
        ),
    ] = None,
    progress: following.ProgressOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run an objective on many workers, and wait for it.

    The study is made, or gone on with if it is there. Ctrl-C ends the waiting and not the batch.
    JSON: {"study_name", "trialbatch_name", "batch": as `batch list`, "best": as `study best`}; with
    --no-wait the first two.
    """
    path, function = script.load(objective)
    opened = _open(study or path.stem, direction, sampler, pruner)
    name = opened.optimize(
        function,
        n_trials=n_trials,
        parallelism=parallelism,
        requirements_file=requirements,
        requirements_list=require,
        resources_requests=_pairs(request, "--request"),
        resources_limits=_pairs(limit, "--limit"),
        runtime_image=image,
        use_gpu=gpu,
        gpu_model=_models(gpu_model),
        wait_option="WAIT_NO",
        dev_shm_size=shm_size,
        tmp_cache_dir=tmp_cache_dir,
        use_tmp_cache_mem=tmp_cache_mem,
        tmp_cache_size=tmp_cache_size,
        top_n_artifacts=top_n_artifacts,
        image_pull_registry=registry,
        image_pull_username=registry_user,
        image_pull_password=os.environ.get(PASSWORD_VARIABLE) if registry else None,
        image_pull_docker_config_json=_read_json(docker_config),
        timeout=timeout,
        trial_timeout=trial_timeout,
        patience=patience,
        max_retries=max_retries,
    )
    note(f"Batch {name} of study {opened.study_name!r} runs {records.trials(n_trials)}.")
    if wait:
        _wait(opened, name, wait_timeout, progress=progress, as_json=as_json)
    elif as_json:
        print_json({"study_name": opened.study_name, "trialbatch_name": name})
    else:
        print(name)


def _wait(
    study: StudyWrapper, name: str, seconds: float | None, *, progress: bool | None, as_json: bool
) -> None:
    found = reach.connection()
    following.follow(found, name, study.study_name, seconds=seconds, progress=progress)
    with following.runs_on(name, said=False):
        record = records.batch(reach.batch(found, name))
        best = [records.trial(one) for one in study.best_trials]
    if best and len(best[0]["values"]) == 1:
        best = best[:1]
    if as_json:
        print_json(
            {
                "study_name": study.study_name,
                "trialbatch_name": name,
                "batch": record,
                "best": best,
            }
        )
        return
    note(following.summary(record) + ".")
    rows = [[one["number"], one["values"], one["params"]] for one in best]
    print_rows(["best trial", "values", "params"], rows, empty="No trial has returned a value.")


def _open(
    name: str, direction: list[str] | None, sampler: str | None, pruner: str | None
) -> StudyWrapper:
    """Open the study as it is, where nothing is said about it; else make it, or check that."""
    from aiauto.study import StudyWrapper  # noqa: PLC0415 - help needs none of it

    if not (direction or sampler or pruner):
        found = reach.connection()
        spec = reach.spec_of(found, name)
        if spec is not None:
            return StudyWrapper(found, spec)
    return reach.controller().create_study(
        name,
        directions=cast("list[Literal['minimize', 'maximize']] | None", direction),
        sampler=_part(sampler, "--sampler"),
        pruner=_part(pruner, "--pruner"),
    )


def _part(text: str | None, option: str) -> dict[str, Any] | None:
    """A sampler or pruner: the name of a class, or JSON."""
    if text is None:
        return None
    if not text.lstrip().startswith("{"):
        return {"cls": text, "kwargs": {}}
    try:
        return cast("dict[str, Any]", json.loads(text))
    except ValueError as error:
        raise fail(f"{option} is no JSON: {error}.", USAGE) from None


def _pairs(given: list[str] | None, option: str) -> dict[str, str] | None:
    if not given:
        return None
    if wrong := next((one for one in given if not re.fullmatch(r"[^=]+=[^=]+", one)), None):
        raise fail(f"{option} is {wrong!r}: write it as in cpu=2.", USAGE)
    return dict(cast("tuple[str, str]", tuple(one.split("=", 1))) for one in given)


def _models(given: list[str] | None) -> str | dict[str, int] | None:
    if not given:
        return None
    if len(given) == 1 and "=" not in given[0]:
        return given[0]
    shares: dict[str, int] = {}
    for one in given:
        model, _, count = one.partition("=")
        if not count.isdecimal():
            raise fail(f"--gpu-model is {one!r}: of several, write each as in rtx_3090=3.", USAGE)
        shares[model] = int(count)
    return shares


def _read_json(file: Path | None) -> dict[str, Any] | None:
    if file is None:
        return None
    try:
        value: object = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise fail(f"{file} is no Docker config.json.", USAGE)  # what is in it is secret
    return cast("dict[str, Any]", value)
