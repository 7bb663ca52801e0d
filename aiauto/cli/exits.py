"""How the command ends: its exit codes, and errors as one sentence."""

from __future__ import annotations

import os
import sys
from typing import Any, Final

import typer
import typer.core

from aiauto.errors import (
    AIAutoError,
    ArgumentError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
)

FAILURE: Final = 1
USAGE: Final = 2
NOT_FOUND: Final = 4
UNAUTHENTICATED: Final = 5
INTERRUPTED: Final = 130

EPILOG: Final = (
    "Exit codes: 0 success, 1 failure, 2 wrong usage, 3 another server uses the folder (serve), "
    "4 not found, 5 not logged in or not allowed, 130 Ctrl-C."
)


class Commands(typer.core.TyperGroup):
    """Commands whose errors are sentences on standard error, and whose Ctrl-C is quiet."""

    # The context is click's, which typer brings along under another name by its version.
    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401
        """Run a command."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except AIAutoError as error:
            raise fail(str(error), code_of(error)) from None
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        except (EOFError, typer.Abort):
            # Ctrl-C or Ctrl-D where something was asked: the shell goes on in a line of its own.
            print(file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            # Whoever reads has seen enough, as in `| head`. Python would complain at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(FAILURE) from None
        except OSError as error:
            raise fail(_named(error)) from None
        return result


def code_of(error: AIAutoError) -> int:
    """The exit code for an error."""
    if isinstance(error, NotFoundError):
        return NOT_FOUND
    if isinstance(error, (UnauthenticatedError, PermissionDeniedError)):
        return UNAUTHENTICATED
    return USAGE if isinstance(error, ArgumentError) else FAILURE


def _named(error: OSError) -> str:
    """What is wrong with a file, as programs of a shell say it."""
    if error.filename is None or error.strerror is None:
        return str(error)
    return f"{os.fsdecode(error.filename)}: {error.strerror}."


def fail(message: str, code: int = FAILURE) -> typer.Exit:
    """Say what is wrong, and give what is to be raised to end the program."""
    print(message.rstrip(), file=sys.stderr)
    return typer.Exit(code)
