"""`aiauto user`: who may use the server. For admins."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

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

SubjectArgument: TypeAlias = Annotated[
    str,
    typer.Argument(
        help="The issuer's name for them: the log-in page shows it to who may not come in, and "
        "`aiauto user list --json` that of who may."
    ),
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

    JSON: [{"id", "name", "admin", "disabled", "created_at", "tokens", "openid"}]; tokens is how
    many valid ones they have, openid a list of {"issuer", "subject", "email", "last_login_at",
    "linked"}, which is empty where they do not log in by OpenID Connect.
    """
    from aiauto_gen.aiauto import v1  # noqa: PLC0415 - help needs none of it

    users: list[dict[str, Any]] = [
        {
            "id": one.id,
            "name": one.name,
            "admin": one.is_admin,
            "disabled": one.disabled,
            "created_at": one.created_at,
            "tokens": one.token_count,
            "openid": [
                {
                    "issuer": known.issuer,
                    "subject": known.subject,
                    "email": known.email,
                    "last_login_at": known.last_login_at,
                    "linked": known.linked,
                }
                for known in one.identities
            ],
        }
        for one in reach.connection().users.list_users(v1.ListUsersRequest()).users
    ]
    if as_json:
        print_json(users)
        return
    columns = ["id", "name", "admin", "disabled", "created_at", "tokens", "openid"]
    print_rows(
        columns,
        [[*list(one.values())[:-1], _known_as(one["openid"])] for one in users],
        empty="There are no users.",
        times={"created_at"},
    )


def _known_as(identities: list[dict[str, Any]]) -> str:
    """As whom an issuer knows a user: what an admin can tell people by."""
    return ", ".join(one["email"] or one["subject"] for one in identities)


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


@app.command()
def link(name: NameArgument, subject: SubjectArgument, *, as_json: JsonOption = False) -> None:
    """Let somebody log in as a user by the server's issuer of OpenID Connect. JSON: {"linked"}."""
    from aiauto_gen.aiauto import v1  # noqa: PLC0415 - help needs none of it

    request = v1.LinkIdentityRequest(name=name, subject=subject)
    reach.connection().users.link_identity(request)
    if as_json:
        print_json({"linked": name})
    else:
        note(f"Who the issuer calls {subject} logs in as {name} from now on.")


@app.command()
def unlink(
    subject: SubjectArgument, *, yes: YesOption = False, as_json: JsonOption = False
) -> None:
    """Forget which user somebody is by OpenID Connect: their sessions end. JSON: {"unlinked"}."""
    from aiauto_gen.aiauto import v1  # noqa: PLC0415 - help needs none of it

    confirm(f"Forget which user {subject} is?", yes=yes)
    request = v1.UnlinkIdentityRequest(subject=subject)
    if not reach.connection().users.unlink_identity(request).found:
        message = f"Nothing is known of {subject!r}: `aiauto user list --json` shows who is known."
        raise NotFoundError(message)
    if as_json:
        print_json({"unlinked": subject})
    else:
        note(f"{subject} is nobody here until they log in anew, or you link them.")
