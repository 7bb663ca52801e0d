"""`aiauto workspace`: what the server keeps for you, and how much that is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from aiauto.cli import reach
from aiauto.cli.output import (
    JsonOption,
    YesOption,
    confirm_by_name,
    note,
    print_facts,
    print_json,
    print_rows,
    size,
)
from aiauto.errors import NotFoundError

if TYPE_CHECKING:
    from aiauto.connection import Connection

app: typer.Typer = typer.Typer(
    help="Your workspace: what it holds, and its end.", no_args_is_help=True
)


@app.command("list")
def list_workspaces(*, as_json: JsonOption = False) -> None:
    """List your workspaces: none or one. JSON: a list of what `workspace show` has."""
    found = _workspaces(reach.server())
    if as_json:
        print_json(found)
        return
    columns = {
        "workspace": "workspace_name",
        "phase": "phase",
        "artifacts": "artifact_store_used",
        "artifact limit": "artifact_store_limit",
        "shared cache": "shared_cache_used",
        "cache limit": "shared_cache_limit",
        "created": "created_at",
    }
    print_rows(
        list(columns),
        [[one[key] for key in columns.values()] for one in found],
        empty="There is no workspace yet: whatever needs one makes it.",
        times={"created"},
        sizes={"artifacts", "artifact limit", "shared cache", "cache limit"},
    )


@app.command()
def show(*, as_json: JsonOption = False) -> None:
    """Show how much of your workspace is used, and where its parts are.

    JSON: {"workspace_name", "phase", "created_at", "artifact_store_used", "artifact_store_limit",
    "shared_cache_used", "shared_cache_limit", "journal_length", "shared_cache_dir", "journal_url",
    "dashboard_url"}; sizes in bytes, "journal_length" in entries. On this machine the dashboard's
    address logs you in.
    """
    one = _own(reach.server())
    if as_json:
        print_json(one)
        return
    facts = {
        "workspace": one["workspace_name"],
        "phase": one["phase"],
        "created": one["created_at"],
        "artifacts": f"{size(one['artifact_store_used'])} of {size(one['artifact_store_limit'])}",
        "shared cache": f"{size(one['shared_cache_used'])} of {size(one['shared_cache_limit'])}",
        "journal": f"{one['journal_length']} entries",
        "cache of workers": one["shared_cache_dir"],
        "address": one["journal_url"],
        "dashboard": one["dashboard_url"],
    }
    print_facts(facts)


@app.command()
def delete(*, yes: YesOption = False, as_json: JsonOption = False) -> None:
    """Delete your workspace: all studies, trials, artifacts, logs and files of the shared cache.

    What runs is stopped, and your tokens stay. It asks for the workspace's name. JSON: {"deleted"}.
    """
    from aiauto_gen.aiauto import v1  # noqa: PLC0415 - help needs none of it

    found = reach.server()
    name: str = _own(found)["workspace_name"]
    confirm_by_name(f"Delete workspace {name} with all that is in it for good?", name, yes=yes)
    found.service.delete_workspace(v1.DeleteWorkspaceRequest())
    if as_json:
        print_json({"deleted": name})
    else:
        note(f"Workspace {name} is deleted. Whatever needs one makes an empty one.")


def _own(found: Connection) -> dict[str, Any]:
    """The workspace.

    Raises:
        NotFoundError: There is none.
    """
    workspaces = _workspaces(found)
    if not workspaces:
        message = "There is no workspace yet: whatever needs one makes it, such as `aiauto whoami`."
        raise NotFoundError(message)
    return workspaces[0]


def _workspaces(found: Connection) -> list[dict[str, Any]]:
    from aiauto_gen.aiauto import v1  # noqa: PLC0415 - help needs none of it

    return [
        {
            "workspace_name": one.name,
            "phase": one.phase,
            "created_at": one.creation_timestamp,
            "artifact_store_used": one.artifact_store_used,
            "artifact_store_limit": one.artifact_store_limit,
            "shared_cache_used": one.shared_cache_used,
            "shared_cache_limit": one.shared_cache_limit,
            "journal_length": one.journal_length,
            "shared_cache_dir": one.shared_cache_dir,
            "journal_url": one.journal_url,
            "dashboard_url": one.dashboard_url,
        }
        for one in found.service.list_workspaces(v1.ListWorkspacesRequest()).workspaces
    ]
