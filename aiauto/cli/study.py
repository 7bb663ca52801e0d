"""`aiauto study`: what has been found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from aiauto.cli import following, reach, records
from aiauto.cli.exits import NOT_FOUND, fail
from aiauto.cli.export import export
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
    from collections.abc import Mapping

app: typer.Typer = typer.Typer(help="Studies and their trials.", no_args_is_help=True)
app.command()(export)

StudyName: TypeAlias = Annotated[str, typer.Argument(help="Name of the study.")]
STATES: tuple[str, ...] = ("complete", "pruned", "fail", "running", "waiting")


TRIAL_FACTS: tuple[str, ...] = (
    "trials",
    "in batches",
    "running",
    "succeeded",
    "pruned",
    "failed",
)


def _told(one: Mapping[str, Any]) -> dict[str, object]:
    """The trials of a study for people, by `TRIAL_FACTS`: all, not those of batches only."""
    trials, asked = one["trials"], one["count_total"]
    in_batches = f"{one['count_completed']} of {asked}" if asked else ""
    facts = (
        sum(trials.values()),
        in_batches,
        *(trials[state] for state in ("running", "complete", "pruned", "fail")),
    )
    return dict(zip(TRIAL_FACTS, facts, strict=True))


@app.command("list")
def list_studies(*, as_json: JsonOption = False) -> None:
    """List your studies, oldest first.

    JSON: [{"study_name", "directions", "phase", "created_at", "count_total", "count_active",
    "count_succeeded", "count_pruned", "count_failed", "count_completed", "trials"}]; the counts are
    those of its batches, "trials" is {"waiting", "running", "complete", "pruned", "fail"}: all
    trials of the study, whoever ran them.
    """
    from aiauto_gen.aiauto import v1  # noqa: PLC0415 - help needs none of it

    service = reach.connection().service
    batches = service.list_trial_batches(v1.ListTrialBatchesRequest()).trial_batches
    studies = service.list_studies(v1.ListStudiesRequest()).studies
    found = [records.study(one, list(batches)) for one in studies]
    if as_json:
        print_json(found)
        return
    rows = [
        [
            one["study_name"],
            one["directions"],
            one["phase"],
            *_told(one).values(),
            one["created_at"],
        ]
        for one in found
    ]
    print_rows(
        ["study", "directions", "phase", *TRIAL_FACTS, "created"],
        rows,
        empty="There are no studies yet: `aiauto run` makes one.",
        times={"created"},
    )


@app.command()
def show(name: StudyName, *, as_json: JsonOption = False) -> None:
    """Show how a study is doing.

    JSON: what StudyWrapper.get_status() returns, and "trials" as in `study list`.
    """
    found = reach.connection()
    info = reach.study_info(found, name)
    status = reach.wrapped(found, info).get_status()
    shown = status | {"trials": records.trial_counts(info)}
    if as_json:
        print_json(shown)
        return
    batches = [f"{one} ({each['phase']})" for one, each in status["trialbatches"].items()]
    facts = {
        "study": status["study_name"],
        **_told(shown),
        "batches": "\n".join(batches),
        "dashboard": status["dashboard_url"],
    }
    print_facts(facts | ({"last error": status["last_error"]} if status["last_error"] else {}))


@app.command()
def best(name: StudyName, *, as_json: JsonOption = False) -> None:
    """Show the best trial; with several objectives, those that no other trial beats.

    JSON: as `study trials`. Exit code 4 where no trial has returned a value yet.
    """
    trials = reach.study(reach.connection(), name).best_trials
    found = [records.trial(one) for one in trials]
    if not found:
        raise fail(f"No trial of study {name!r} has returned a value yet.", NOT_FOUND)
    if len(trials[0].values) == 1:
        found = found[:1]  # of equal ones the first, as in Optuna
    if as_json:
        print_json(found)
        return
    print_rows(
        ["number", "values", "params"],
        [[one["number"], one["values"], one["params"]] for one in found],
        empty="",
    )


@app.command()
def trials(
    name: StudyName,
    *,
    state: Annotated[
        list[str] | None,
        typer.Option(help=f"Only trials in this state: {', '.join(STATES)}. May be repeated."),
    ] = None,
    last: Annotated[int | None, typer.Option(min=1, help="Only so many, the newest.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the trials of a study by their number.

    JSON: [{"number", "state", "values", "params", "user_attrs", "datetime_start",
    "datetime_complete", "duration"}]; "duration" in seconds, "values" null where there are none.
    Numbers that JSON does not have are the texts "inf", "-inf" and "nan".
    """
    wanted = {one.lower() for one in state or STATES}
    if unknown := wanted.difference(STATES):
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: use {', '.join(STATES)}.")
    found = [
        records.trial(one)
        for one in reach.study(reach.connection(), name).trials
        if one.state.name.lower() in wanted
    ]
    found = found if last is None else found[-last:]
    if as_json:
        print_json(found)
        return
    columns = ["number", "state", "values", "params", "duration"]
    rows = [[one[column] for column in columns] for one in found]
    print_rows(columns, rows, empty="There are no such trials.")


@app.command()
def logs(
    name: StudyName,
    *,
    follow: FollowOption = False,
    trial: TrialOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print what the workers of a study print, those of all its batches as they print it.

    Ctrl-C ends the printing and nothing else. JSON: an object a line {"text", "trial", "worker",
    "stream", "time", "trialbatch_name"}.
    """
    study = reach.study(reach.connection(), name)
    with following.study_runs_on(name, said=follow):
        print_lines(study.logs(trial, follow=follow), as_json=as_json)


@app.command()
def delete(name: StudyName, *, yes: YesOption = False, as_json: JsonOption = False) -> None:
    """Delete a study with its trials and artifacts; what runs is stopped. JSON: {"deleted"}."""
    found = reach.connection()
    info = reach.study_info(found, name)
    trials = records.trials(sum(records.trial_counts(info).values()))
    confirm(f"Delete study {name!r} with {trials} for good?", yes=yes)
    reach.wrapped(found, info).delete()
    if as_json:
        print_json({"deleted": name})
    else:
        note(f"Study {name!r} is deleted.")
