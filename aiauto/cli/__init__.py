"""The `aiauto` command."""

from __future__ import annotations

import typer

from aiauto.cli.backup import backup, restore
from aiauto.cli.serve import serve
from aiauto.version import __version__

__all__ = ["main"]

app: typer.Typer = typer.Typer(
    name="aiauto",
    help="Run an Optuna objective on many workers in parallel.",
    no_args_is_help=True,
    # Our errors are sentences, and a traceback that shows local variables may show a token.
    pretty_exceptions_enable=False,
)
app.command()(serve)
app.command()(backup)
app.command()(restore)


@app.command()
def version() -> None:
    """Print the version."""
    print(f"aiauto {__version__}")


def main() -> None:
    """Run the command. Ends the program."""
    app()
