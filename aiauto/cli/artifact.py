"""`aiauto artifact`: the files that trials have left."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aiauto.cli import reach
from aiauto.cli.output import JsonOption, note, print_json, print_rows

if TYPE_CHECKING:
    from aiauto.connection import Connection

app: typer.Typer = typer.Typer(help="Files that trials have left.", no_args_is_help=True)


@app.command("list")
def list_artifacts(
    study: Annotated[str, typer.Argument(help="Name of the study.")],
    *,
    as_json: JsonOption = False,
) -> None:
    """List the artifacts of a study that are kept, by trial.

    JSON: [{"artifact_id", "trial_number", "filename", "size", "modified"}], sizes in bytes.
    """
    found = _artifacts(reach.connection(), study)
    if as_json:
        print_json(found)
        return
    columns = ["trial_number", "filename", "size", "artifact_id"]
    rows = [[one[column] for column in columns] for one in found]
    print_rows(columns, rows, empty="There are no artifacts.", sizes={"size"})


def _artifacts(found: Connection, study_name: str) -> list[dict[str, Any]]:
    from aiauto_gen.aiauto import v1  # noqa: PLC0415 - help needs none of it
    from optuna.artifacts import get_all_artifact_meta  # noqa: PLC0415 - it takes a second

    from aiauto import transfer  # noqa: PLC0415 - as above

    study = reach.study(found, study_name)
    # Trials remember what they left, also where only the best were kept.
    kept = {one.path: one for one in transfer.listed(found.files, v1.FilePlace.ARTIFACTS)}
    return [
        {
            "artifact_id": meta.artifact_id,
            "trial_number": trial.number,
            "filename": meta.filename,
            "size": kept[meta.artifact_id].size,
            "modified": kept[meta.artifact_id].modified,
        }
        for trial in study.trials
        for meta in get_all_artifact_meta(trial, storage=found.storage())
        if meta.artifact_id in kept
    ]


@app.command()
def download(
    artifact_id: Annotated[str, typer.Argument(help="Its id, as `artifact list` shows it.")],
    file: Annotated[
        Path | None, typer.Argument(help="The file to write. Default: the id, here.")
    ] = None,
    *,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a file that is there.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Download an artifact to a file. JSON: {"file"}."""
    target = file or Path(artifact_id)
    written = reach.controller().download_artifact(artifact_id, target, overwrite=overwrite)
    if as_json:
        print_json({"file": str(written)})
    else:
        note(f"Wrote {written}.")
