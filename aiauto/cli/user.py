"""`aiauto user`: who may use the server. For admins."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

from aiauto.cli import reach
from aiauto.cli.output import JsonOption, YesOption, confirm, note, print_json, print_rows
from aiauto.errors import NotFoundError

app: typer.Typer = typer.Typer(
    help="Make, list and remove the users of a server (admins).", no_args_is_help=True
)

NameArgument: TypeAlias = Annotated[
    str, typer.Argument(help="Their name, as `aiauto user list` shows it.")
]


@app.command()
def add(
    name: Annotated[
        str,
        typer.Argument(
            help="Up to 32 lowercase letters, digits, '_', '-' and '.', beginning with a letter."
        ),
    ],
    *,
    admin: Annotated[
        bool, typer.Option("--admin", help="They may make and remove users, too.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a user, and print their first token. It is shown this once.

    JSON: {"id", "name", "admin", "token"}.
    """
    from aiauto_gen.aiauto import v1  # noqa: PLC0415 - help needs none of it

    request = v1.CreateUserRequest(name=name, is_admin=admin)
    made = reach.connection().users.create_user(request)
    user = made.user or v1.UserInfo()
    if as_json:
        print_json({"id": user.id, "name": user.name, "admin": user.is_admin, "token": made.token})
    else:
        print(made.token)
        note(f"This is the token of {user.name}: hand it over, it is not shown again.")


@app.command("list")
def list_users(*, as_json: JsonOption = False) -> None:
    """List all users, oldest first.

    JSON: [{"id", "name", "admin", "disabled", "created_at", "tokens"}]; tokens is how many valid
    ones they have.
    """
    from aiauto_gen.aiauto import v1  # noqa: PLC0415 - help needs none of it

    users = [
        {
            "id": one.id,
            "name": one.name,
            "admin": one.is_admin,
            "disabled": one.disabled,
            "created_at": one.created_at,
            "tokens": one.token_count,
        }
        for one in reach.connection().users.list_users(v1.ListUsersRequest()).users
    ]
    if as_json:
        print_json(users)
        return
    columns = ["id", "name", "admin", "disabled", "created_at", "tokens"]
    print_rows(
        columns,
        [list(one.values()) for one in users],
        empty="There are no users.",
        times={"created_at"},
    )


@app.command()
def token(
    name: NameArgument,
    *,
    revoke: Annotated[
        bool, typer.Option("--revoke", help="Revoke the tokens that they had.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Issue a token for a user who has lost theirs. It is shown this once. JSON: {"token"}."""
    from aiauto_gen.aiauto import v1  # noqa: PLC0415 - help needs none of it

    request = v1.IssueUserTokenRequest(name=name, revoke_others=revoke)
    made = reach.connection().users.issue_user_token(request).token
    if as_json:
        print_json({"token": made})
    else:
        print(made)


@app.command()
def disable(name: NameArgument, *, yes: YesOption = False, as_json: JsonOption = False) -> None:
    """Keep a user out: their batches are ended, what they have stays. JSON: {"disabled"}."""
    from aiauto_gen.aiauto import v1  # noqa: PLC0415 - help needs none of it

    confirm(f"Keep {name} out, and end what they run?", yes=yes)
    reach.connection().users.disable_user(v1.DisableUserRequest(name=name))
    if as_json:
        print_json({"disabled": name})
    else:
        note(f"{name} is kept out: `aiauto user enable {name}` lets them in again.")


@app.command()
def enable(name: NameArgument, *, as_json: JsonOption = False) -> None:
    """Let a user in again, with the tokens that they had. JSON: {"enabled"}."""
    from aiauto_gen.aiauto import v1  # noqa: PLC0415 - help needs none of it

    reach.connection().users.enable_user(v1.EnableUserRequest(name=name))
    if as_json:
        print_json({"enabled": name})
    else:
        note(f"{name} may come in again.")


@app.command()
def remove(name: NameArgument, *, yes: YesOption = False, as_json: JsonOption = False) -> None:
    """Delete a user with all studies, files and tokens that they have. JSON: {"removed"}."""
    from aiauto_gen.aiauto import v1  # noqa: PLC0415 - help needs none of it

    confirm(f"Delete {name} with all of their studies and files?", yes=yes)
    if not reach.connection().users.delete_user(v1.DeleteUserRequest(name=name)).found:
        message = f"There is no user {name!r}: `aiauto user list` shows those there are."
        raise NotFoundError(message)
    if as_json:
        print_json({"removed": name})
    else:
        note(f"{name} is deleted.")
