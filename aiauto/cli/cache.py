"""`aiauto cache`: the files that all workers of the workspace find."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer looks at the types when the program runs
from typing import Annotated, TypeAlias

import typer

from aiauto.cli import reach
from aiauto.cli.output import JsonOption, YesOption, confirm, note, print_json, print_rows
from aiauto.errors import NotFoundError

app: typer.Typer = typer.Typer(help="The shared cache of the workers.", no_args_is_help=True)

CachePath: TypeAlias = Annotated[
    str, typer.Argument(help="Its path in the cache, for example datasets/train.csv.")
]


@app.command("list")
def list_files(*, as_json: JsonOption = False) -> None:
    """List the files by their path. JSON: [{"name", "size", "modified"}], sizes in bytes."""
    files = reach.controller().list_shared_cache()["files"]
    if as_json:
        print_json(files)
        return
    rows = [[one["name"], one["size"], one["modified"]] for one in files]
    print_rows(
        ["name", "size", "modified"], rows, empty="The shared cache is empty.", sizes={"size"}
    )


@app.command()
def upload(
    files: Annotated[list[Path], typer.Argument(help="The files to send.")],
    *,
    to: Annotated[str | None, typer.Option(help="Folder in the cache, made if need be.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Send files; an upload that broke off goes on where it was. JSON: {"uploaded_files"}."""
    sent = reach.controller().upload_to_shared_cache(list(files), to)
    if as_json:
        print_json(sent)
    else:
        note(f"Uploaded {', '.join(sent['uploaded_files'])}.")


@app.command()
def download(
    path: CachePath,
    file: Annotated[
        Path | None, typer.Argument(help="The file to write. Default: its name, here.")
    ] = None,
    *,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a file that is there.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Download a file of the cache. JSON: {"file"}."""
    target = file or path.rpartition("/")[2]
    written = reach.controller().download_from_shared_cache(path, target, overwrite=overwrite)
    if as_json:
        print_json({"file": str(written)})
    else:
        note(f"Wrote {written}.")


@app.command()
def delete(path: CachePath, *, yes: YesOption = False, as_json: JsonOption = False) -> None:
    """Delete a file, or a folder with all that is in it. JSON: {"deleted"}."""
    confirm(f"Delete {path!r} from the shared cache?", yes=yes)
    deleted = reach.controller().delete_from_shared_cache(path)
    if not deleted["found"]:
        message = f"There is no {path!r} in the shared cache: `aiauto cache list` shows what is."
        raise NotFoundError(message)
    if as_json:
        print_json({"deleted": deleted["deleted"]})
    else:
        note(f"Deleted {deleted['deleted']}.")
