"""`aiauto login`, `logout` and `whoami`: which server is meant, and as whom."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from aiauto.cli import reach
from aiauto.cli.output import JsonOption, note, print_facts, print_json
from aiauto.errors import UnauthenticatedError

if TYPE_CHECKING:
    from aiauto_gen.aiauto import v1

    from aiauto.connection import Connection


def login(
    base_url: Annotated[
        str | None,
        typer.Argument(
            help="Address of the server. Default: --base-url, AIAUTO_BASE_URL, else the hosted "
            "service."
        ),
    ] = None,
    *,
    token: Annotated[
        str | None,
        typer.Option(help="The token, where it may stay in the history of your shell."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Store an address and a token for this user, once the server has accepted them.

    The token is asked for without showing it, or read from standard input:
    `aiauto login http://127.0.0.1:8787 < token.txt`. From then on the command and
    AIAutoController() use that server where neither arguments nor variables name one. JSON:
    {"base_url", "file"}; the file holds the token, which is not shown.
    """
    import os  # noqa: PLC0415 - help needs none of it

    from aiauto import config  # noqa: PLC0415 - as above
    from aiauto import login as stored  # noqa: PLC0415 - as above
    from aiauto.connection import connect_to  # noqa: PLC0415 - as above

    named = base_url or reach.chosen.base_url or os.environ.get(config.BASE_URL_VARIABLE)
    url = config.checked_url(named or config.HOSTED_URL, "base_url")
    secret = token or reach.chosen.token or _ask_for_token(url)
    # Also inside a worker, and whatever is stored: it is these two that are checked.
    target = config.resolve(secret, url)
    connect_to(target).workspace()
    file = stored.store(stored.Login(url, secret))
    if as_json:
        print_json({"base_url": url, "file": str(file)})
    else:
        note(f"Logged in to {url}. The token is kept in {file}.")
    for variable in (config.TOKEN_VARIABLE, config.BASE_URL_VARIABLE):
        if os.environ.get(variable):
            note(f"{variable} is set and counts before it.")


def _ask_for_token(url: str) -> str:
    import getpass  # noqa: PLC0415 - help needs none of it

    if sys.stdin.isatty():
        return getpass.getpass(f"Token for {url}: ", stream=sys.stderr).strip()
    return sys.stdin.readline().strip()


def logout(
    *,
    revoke: Annotated[
        bool, typer.Option("--revoke", help="Revoke the token on the server, too.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Forget the stored login. The token stays valid unless --revoke is given.

    JSON: {"logged_out", "revoked"}: whether there was a login, and whether its token is not valid
    any more.
    """
    from aiauto import config  # noqa: PLC0415 - help needs none of it
    from aiauto import login as stored  # noqa: PLC0415 - as above
    from aiauto.connection import connect_to  # noqa: PLC0415 - as above

    revoked = False
    if revoke and (kept := stored.stored()) is not None:
        from aiauto_gen.aiauto import v1  # noqa: PLC0415 - as above

        connection = connect_to(config.Remote(kept.base_url, kept.token))
        with contextlib.suppress(UnauthenticatedError):  # it is not valid any more
            connection.service.delete_token(v1.DeleteTokenRequest())
        revoked = True
    forgotten = stored.forget()
    if as_json:
        print_json({"logged_out": forgotten, "revoked": revoked})
    else:
        note("Logged out." if forgotten else "There was no stored login.")


def whoami(*, as_json: JsonOption = False) -> None:
    """Show which server is meant, what named it, and which token it gets.

    JSON: {"base_url", "source", "user_id", "user", "admin", "workspace", "server_version", "token":
    {"name", "hint", "created_at", "expires_at"}}; expires_at is empty for a token that does not
    expire.
    """
    from aiauto_gen.aiauto import v1  # noqa: PLC0415 - help needs none of it

    found = reach.connection()
    active = found.service.get_active_token(v1.GetActiveTokenRequest())
    facts, token = _facts(found, active), _token(found, active)
    if as_json:
        print_json({**facts, "token": token})
    else:
        print_facts({**facts, **{f"token {name}": value for name, value in token.items()}})


def _facts(found: Connection, active: v1.GetActiveTokenResponse) -> dict[str, object]:
    from aiauto_gen.aiauto import v1  # noqa: PLC0415 - help needs none of it

    from aiauto import config  # noqa: PLC0415 - as above

    workspaces = found.service.list_workspaces(v1.ListWorkspacesRequest()).workspaces
    target = reach.target()  # connections are kept, whatever named them first
    return {
        "base_url": found.base_url,
        "source": target.source
        if isinstance(target, config.Remote)
        else f"the server of this machine ({target.data_dir})",
        "user_id": workspaces[0].user_id if workspaces else "",
        "user": active.user_name,
        "admin": active.is_admin,
        "workspace": found.workspace().workspace_name,
        "server_version": found.workspace().server_version,
    }


def _token(found: Connection, active: v1.GetActiveTokenResponse) -> dict[str, object]:
    from aiauto_gen.aiauto import v1  # noqa: PLC0415 - as above

    tokens = found.service.list_tokens(v1.ListTokensRequest()).tokens
    current = next((one for one in tokens if one.current), v1.TokenInfo())
    return {
        "name": current.name,
        "hint": current.hint,
        "created_at": active.created_at,
        "expires_at": active.expires_at,
    }
