"""`aiauto token`: issue, list, revoke and replace tokens."""

from __future__ import annotations

from typing import Annotated

import typer

from aiauto.cli import reach
from aiauto.cli.output import JsonOption, YesOption, confirm, note, print_json, print_rows
from aiauto.errors import NotFoundError

app: typer.Typer = typer.Typer(help="Issue, list and revoke tokens.", no_args_is_help=True)


@app.command()
def issue(
    name: Annotated[str, typer.Argument(help="What it is for, to tell it from others.")] = "",
    *,
    days: Annotated[
        int | None, typer.Option(min=1, help="Days until it expires. Default: it does not.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Issue a token. It is shown this once. JSON: {"token"}."""
    from aiauto_gen.aiauto import v1  # noqa: PLC0415 - help needs none of it

    request = v1.CreateTokenRequest(name=name, expiry_days="" if days is None else str(days))
    made = reach.connection().service.create_token(request).token
    if as_json:
        print_json({"token": made})
    else:
        print(made)


@app.command("list")
def list_tokens(*, as_json: JsonOption = False) -> None:
    """List your valid tokens, oldest first.

    JSON: [{"id", "name", "hint", "created_at", "expires_at", "last_used_at", "current"}].
    """
    from aiauto_gen.aiauto import v1  # noqa: PLC0415 - help needs none of it

    tokens = [
        {
            "id": one.id,
            "name": one.name,
            "hint": one.hint,
            "created_at": one.created_at,
            "expires_at": one.expires_at,
            "last_used_at": one.last_used_at,
            "current": one.current,
        }
        for one in reach.connection().service.list_tokens(v1.ListTokensRequest()).tokens
    ]
    if as_json:
        print_json(tokens)
        return
    columns = ["id", "name", "hint", "created_at", "expires_at", "last_used_at", "current"]
    print_rows(
        columns,
        [list(one.values()) for one in tokens],
        empty="There are no tokens.",
        times={"created_at", "expires_at", "last_used_at"},
    )


@app.command()
def revoke(
    token_id: Annotated[str, typer.Argument(help="Its id, as `aiauto token list` shows it.")],
    *,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Revoke a token: it is not valid any more. JSON: {"revoked"}."""
    from aiauto_gen.aiauto import v1  # noqa: PLC0415 - help needs none of it

    confirm(f"Revoke token {token_id}?", yes=yes)
    service = reach.connection().service
    if not service.revoke_token(v1.RevokeTokenRequest(token_id=token_id)).found:
        message = f"There is no token {token_id!r}: `aiauto token list` shows those there are."
        raise NotFoundError(message)
    if as_json:
        print_json({"revoked": token_id})
    else:
        note(f"Token {token_id} is revoked.")


@app.command()
def rotate(
    *,
    keep: Annotated[
        int | None,
        typer.Option(min=0, help="Seconds for which the old one stays valid. Default: 300."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Issue a token in place of the one in use; a stored login gets the new one.

    JSON: {"token", "old_expires_at"}.
    """
    from aiauto_gen.aiauto import v1  # noqa: PLC0415 - help needs none of it

    from aiauto import config, login  # noqa: PLC0415 - as above

    found = reach.connection()
    answer = found.service.rotate_token(v1.RotateTokenRequest(keep_seconds=keep))
    # Shown whatever comes after: the server will not show it again.
    if as_json:
        print_json({"token": answer.token, "old_expires_at": answer.old_expires_at})
    else:
        print(answer.token)
    stored, target = login.stored(), found.target
    if (
        stored is not None
        and isinstance(target, config.Remote)
        and (stored.base_url, stored.token) == (target.url, target.token)
    ):
        login.store(login.Login(stored.base_url, answer.token))
        note("The stored login has the new token.")
