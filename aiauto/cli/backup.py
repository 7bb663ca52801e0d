"""`aiauto backup` and `aiauto restore`: all that a server keeps, in one file."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aiauto.cli.output import JsonOption, print_json, size
from aiauto.errors import AIAutoError

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiauto.server.backup import Backup
    from aiauto.server.settings import Settings

DataDirOption = Annotated[
    Path | None,
    typer.Option(
        file_okay=False,
        help="The server's data folder. Default: AIAUTO_DATA_DIR, else `aiauto` in your user data "
        "folder.",
    ),
]


def backup(
    file: Annotated[Path, typer.Argument(help="The file to write, for example aiauto.tar.")],
    *,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write all that a server keeps to one file. The server may run on.

    It holds studies, trials, artifacts, the shared cache and the server's secrets: keep it as you
    keep those. With AIAUTO_DATABASE_URL set to PostgreSQL its program pg_dump is used. Exit codes:
    0, or 1 where it can't be made. JSON: {"file", "size", "version", "created_at", "database"},
    with the size in bytes and "sqlite" or "postgresql" for the database.
    """
    from aiauto.server.backup import create  # noqa: PLC0415 - what it is made of takes time

    made = _run(lambda settings: create(settings, file), data_dir)
    written = file.stat().st_size
    if as_json:
        print_json({"file": str(file), "size": written, **asdict(made)})
    else:
        print(f"Wrote {file} ({size(written)}, {made.database}).")


def restore(
    file: Annotated[Path, typer.Argument(help="A file that `aiauto backup` wrote.")],
    *,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring a backup back, into an empty data folder. No server may run on it.

    Batches that were not over go on when a server is started. With AIAUTO_DATABASE_URL set to an
    empty PostgreSQL database its program pg_restore is used. Exit codes: 0, or 1 where it can't be
    brought back. JSON: as that of `backup`, without the size.
    """
    from aiauto.server.backup import restore as bring_back  # noqa: PLC0415 - as above

    found = _run(lambda settings: bring_back(settings, file), data_dir)
    if as_json:
        print_json({"file": str(file), **asdict(found)})
    else:
        print(f"Brought back {file} of {found.created_at}, which aiauto {found.version} wrote.")


def _run(action: Callable[[Settings], Backup], data_dir: Path | None) -> Backup:
    from aiauto.server.settings import Settings  # noqa: PLC0415 - as above

    try:
        return action(Settings.from_environment(data_dir=data_dir))
    except AIAutoError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(1) from None
