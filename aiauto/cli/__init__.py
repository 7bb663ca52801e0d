"""The `aiauto` command.

What a command needs it imports when it runs: `aiauto --help` and the completion of a shell must
answer at once.
"""

from __future__ import annotations

import io
import sys
from typing import Annotated, cast

import typer

from aiauto.cli import (
    artifact,
    batch,
    cache,
    doctor,
    exits,
    login,
    reach,
    run,
    study,
    token,
    user,
    workspace,
)
from aiauto.cli.backup import backup, restore
from aiauto.cli.output import JsonOption, print_json
from aiauto.cli.serve import serve
from aiauto.version import __version__

__all__ = ["main"]

app: typer.Typer = typer.Typer(
    name="aiauto",
    cls=exits.Commands,
    help="Run an Optuna objective on many workers in parallel.",
    epilog=exits.EPILOG,
    no_args_is_help=True,
    # Our errors are sentences, and a traceback that shows local variables may show a token.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


@app.callback()
def choose_server(
    *,
    base_url: Annotated[
        str | None,
        typer.Option(
            help="Address of the server. Default: AIAUTO_BASE_URL, else the stored login, else the "
            "server of this machine.",
        ),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            help="Your token there. Default: AIAUTO_TOKEN, else the stored login. Shells keep what "
            "is typed: prefer `aiauto login`.",
        ),
    ] = None,
) -> None:
    """Run an Optuna objective on many workers in parallel."""
    reach.chosen.base_url, reach.chosen.token = base_url, token


app.command(rich_help_panel="Work")(run.run)
app.add_typer(study.app, name="study", rich_help_panel="Work")
app.add_typer(batch.app, name="batch", rich_help_panel="Work")
app.add_typer(cache.app, name="cache", rich_help_panel="Work")
app.add_typer(artifact.app, name="artifact", rich_help_panel="Work")
app.add_typer(workspace.app, name="workspace", rich_help_panel="Work")
app.command(rich_help_panel="Access")(login.login)
app.command(rich_help_panel="Access")(login.logout)
app.command(rich_help_panel="Access")(login.whoami)
app.add_typer(token.app, name="token", rich_help_panel="Access")
app.add_typer(user.app, name="user", rich_help_panel="Access")
app.command(rich_help_panel="Server")(serve)
app.command(rich_help_panel="Server")(backup)
app.command(rich_help_panel="Server")(restore)
app.command(rich_help_panel="Help")(doctor.doctor)


@app.command(rich_help_panel="Help")
def version(*, as_json: JsonOption = False) -> None:
    """Print the version. JSON: {"version"}."""
    if as_json:
        print_json({"version": __version__})
    else:
        print(f"aiauto {__version__}")


def main() -> None:
    """Run the command. Ends the program."""
    stdout: object = sys.stdout
    if isinstance(stdout, io.TextIOWrapper):
        # Trials hold any text: what can't be written is spelled, as on standard error.
        cast("io.TextIOWrapper", stdout).reconfigure(errors="backslashreplace")
    try:
        app(prog_name="aiauto")
    except KeyboardInterrupt:  # before a command began
        raise SystemExit(exits.INTERRUPTED) from None
