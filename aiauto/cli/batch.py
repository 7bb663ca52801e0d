"""`aiauto batch`: the batches that run a study."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from aiauto.cli import following, reach, records
from aiauto.cli.lines import FollowOption, TrialOption, print_lines
from aiauto.cli.output import (
    JsonOption,
    YesOption,
    confirm,
    note,
    print_facts,
    print_json,
    print_rows,
)

if TYPE_CHECKING:
    from aiauto_gen.aiauto import v1

    from aiauto.connection import Connection

app: typer.Typer = typer.Typer(help="Batches: trials at work.", no_args_is_help=True)

BatchName: TypeAlias = Annotated[
    str, typer.Argument(help="Name of the batch, as `aiauto batch list` shows it.")
]


@app.command("list")
def list_batches(
    *,
    study: Annotated[str | None, typer.Option(help="Only those of this study.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List your batches, oldest first.

    JSON: [{"trialbatch_name", "study_name", "phase", "created_at", "count_total", "count_active",
    "count_succeeded", "count_pruned", "count_failed", "count_completed", "stop_reason",
    "last_error"}].
    """
    found = [records.batch(one) for one in _batches(reach.connection(), study)]
    if as_json:
        print_json(found)
        return
    columns = {
        "batch": "trialbatch_name",
        "study": "study_name",
        "phase": "phase",
        "trials": "count_total",
        "running": "count_active",
        "succeeded": "count_succeeded",
        "pruned": "count_pruned",
        "failed": "count_failed",
        "ended by": "stop_reason",
        "created": "created_at",
    }
    rows = [[one[key] for key in columns.values()] for one in found]
    print_rows(
        list(columns),
        rows,
        empty="There are no batches yet: `aiauto run` starts one.",
        times={"created"},
    )


def _batches(found: Connection, study: str | None) -> list[v1.TrialBatchInfo]:
    from aiauto_gen.aiauto import v1  # noqa: PLC0415 - help needs none of it

    if study is None:
        return list(found.service.list_trial_batches(v1.ListTrialBatchesRequest()).trial_batches)
    request = v1.ListTrialBatchesByStudyRequest(study_name=reach.study(found, study).study_name)
    return list(found.service.list_trial_batches_by_study(request).trial_batches)


@app.command()
def show(name: BatchName, *, as_json: JsonOption = False) -> None:
    """Show how a batch and its workers are doing.

    JSON: as in `batch list`, and "parallelism", "waits_for" (what keeps it from having all of its
    workers), "conditions": [{"type", "status", "reason", "message"}] and "workers": [{"name",
    "phase", "reason", "message", "restart_count", "node", "start_time"}].
    """
    from aiauto_gen.aiauto import v1  # noqa: PLC0415 - help needs none of it

    from aiauto.status import waits_for  # noqa: PLC0415 - as above

    found = reach.connection()
    one = reach.batch(found, name)
    request = v1.ListTrialBatchPodsRequest(trialbatch_name=name)
    workers = found.service.list_trial_batch_pods(request).pods
    record = records.batch(one) | {
        "parallelism": one.spec.parallelism if one.spec else 0,
        "waits_for": waits_for(one.status) if one.status else "",
        "conditions": [
            {
                "type": each.type,
                "status": each.status,
                "reason": each.reason,
                "message": each.message,
            }
            for each in (one.status.conditions if one.status else [])
        ],
        "workers": [
            {
                "name": each.name,
                "phase": each.phase,
                "reason": each.reason,
                "message": each.message,
                "restart_count": each.restart_count,
                "node": each.node_name,
                "start_time": each.start_time,
            }
            for each in workers
        ],
    }
    if as_json:
        print_json(record)
        return
    lines = [
        f"{each.name} ({each.phase}, restarts: {each.restart_count}) {each.message}"
        for each in workers
    ]
    facts = {key: record[key] for key in (*records.BATCH_COLUMNS, "parallelism", "waits_for")}
    print_facts(facts | {"workers": "\n".join(line.rstrip() for line in lines)})


@app.command()
def logs(
    name: BatchName,
    *,
    follow: FollowOption = False,
    trial: TrialOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print what the workers of a batch print.

    Ctrl-C ends the printing and not the batch. JSON: an object a line {"text", "trial", "worker",
    "stream", "time", "trialbatch_name"}.
    """
    found = reach.connection()
    one = reach.batch(found, name)
    study = reach.study(found, one.spec.study_name if one.spec else "")
    lines = study.logs(trial, trialbatch_name=name, follow=follow)
    with following.runs_on(name, said=follow):
        print_lines(lines, as_json=as_json)


@app.command()
def wait(
    name: BatchName,
    *,
    timeout: Annotated[
        float | None, typer.Option(help="Seconds to wait at most. Then the exit code is 1.")
    ] = None,
    progress: following.ProgressOption = None,
    as_json: JsonOption = False,
) -> None:
    """Wait until a batch has ended, with a progress bar. JSON: as in `batch list`, one object.

    Ctrl-C ends the waiting and not the batch.
    """
    found = reach.connection()
    one = reach.batch(found, name)
    study_name = one.spec.study_name if one.spec else ""
    following.follow(found, name, study_name, seconds=timeout, progress=progress)
    record = records.batch(reach.batch(found, name))
    if as_json:
        print_json(record)
    else:
        note(f"Batch {name}: {following.summary(record)}.")


@app.command()
def cancel(name: BatchName, *, as_json: JsonOption = False) -> None:
    """End a batch: what runs fails, what has ended stays. JSON: {"cancelled"}."""
    from aiauto_gen.aiauto import v1  # noqa: PLC0415 - help needs none of it

    reach.connection().service.cancel_trial_batch(v1.CancelTrialBatchRequest(name=name))
    if as_json:
        print_json({"cancelled": name})
    else:
        note(f"Batch {name} is cancelled.")


@app.command()
def delete(name: BatchName, *, yes: YesOption = False, as_json: JsonOption = False) -> None:
    """Delete a batch with its log; what runs is stopped. JSON: {"deleted"}.

    Trials that have ended stay in the study.
    """
    from aiauto_gen.aiauto import v1  # noqa: PLC0415 - help needs none of it

    found = reach.connection()
    reach.batch(found, name)
    confirm(f"Delete batch {name!r} with its log for good?", yes=yes)
    found.service.delete_trial_batch(v1.DeleteTrialBatchRequest(name=name))
    if as_json:
        print_json({"deleted": name})
    else:
        note(f"Batch {name} is deleted. Its trials that have ended stay in the study.")
