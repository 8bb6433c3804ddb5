"""Commands for workspaces, their plans and their API keys."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from audit_cli.record import recording_changes

if TYPE_CHECKING:
    from audit_infra.access import Access

workspaces = typer.Typer(no_args_is_help=True, help="Workspaces and their plans.")
keys = typer.Typer(no_args_is_help=True, help="API keys.")
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _access() -> Access:
    from audit_infra.access import Access
    from audit_infra.settings import ControlSettings

    return Access.open(ControlSettings.load().control_database_url)


@workspaces.command("create")
def workspaces_create(workspace: str, plan: str, name: Annotated[str, typer.Option()] = "") -> None:
    """Create a workspace on a plan."""
    with recording_changes() as record:
        made = _access().create_workspace(workspace, plan, name)
        typer.echo(f"created {made.id} on {made.plan}")
        record("workspace_created", made.id, None, made.plan)


@workspaces.command("list")
def workspaces_list(as_json: AsJson = False) -> None:
    """List the workspaces."""
    found = _access().list_workspaces()
    if as_json:
        typer.echo(json.dumps([{"id": one.id, "name": one.name, "plan": one.plan} for one in found]))
    else:
        for one in found:
            typer.echo(f"{one.id}  {one.plan}  {one.name}".rstrip())


@workspaces.command("set-plan")
def workspaces_set_plan(workspace: str, plan: str) -> None:
    """Put a workspace on another plan; it holds at once."""
    with recording_changes() as record:
        access = _access()
        before = access.get_workspace(workspace)
        changed = access.set_plan(workspace, plan)
        typer.echo(f"{changed.id} is on {changed.plan}")
        record("plan_changed", changed.id, before.plan, changed.plan)


@keys.command("create")
def keys_create(
    workspace: str,
    scope: Annotated[list[str], typer.Option(help="Repeat for several, e.g. audit:read.")],
    name: Annotated[str, typer.Option()] = "",
    app_id: Annotated[str, typer.Option(help="The custom app that will use it.")] = "",
    expires: Annotated[
        str, typer.Option(help="A span such as 30d, or an instant; without it the key never does.")
    ] = "",
) -> None:
    """Create an API key and print it: it is shown this once."""
    from audit_infra.access.lifetimes import expiry
    from audit_infra.clock import utc_now

    with recording_changes() as record:
        expires_at = expiry(expires, utc_now()) if expires else None
        made = _access().create_key(workspace, scope, name, app_id, expires_at)
        typer.echo(made.secret)
        until = f", until {made.key.expires_at:%Y-%m-%dT%H:%M:%SZ}" if made.key.expires_at else ""
        typer.echo(f"key {made.key.id} of {workspace}: {' '.join(sorted(made.key.scopes))}{until}", err=True)
        record("key_created", workspace, None, made.key)


@keys.command("list")
def keys_list(workspace: Annotated[str | None, typer.Option()] = None, as_json: AsJson = False) -> None:
    """List the keys, of one workspace or of all."""
    found = _access().list_keys(workspace)
    rows = [
        {
            "id": one.id,
            "workspace": one.workspace_id,
            "prefix": one.prefix,
            "name": one.name,
            "scopes": sorted(one.scopes),
            "app_id": one.app_id,
            "expires_at": one.expires_at and one.expires_at.isoformat(),
            "revoked": one.revoked_at is not None,
        }
        for one in found
    ]
    if as_json:
        typer.echo(json.dumps(rows))
    else:
        for one in found:
            state = f"  until {one.expires_at:%Y-%m-%dT%H:%M:%SZ}" if one.expires_at else ""
            state += "  revoked" if one.revoked_at else ""
            typer.echo(
                f"{one.id}  {one.workspace_id}  {one.prefix}…  {' '.join(sorted(one.scopes))}  {one.name}{state}"
            )


@keys.command("revoke")
def keys_revoke(key_id: str) -> None:
    """Revoke a key; it opens nothing any more."""
    with recording_changes() as record:
        access = _access()
        known = next((one for one in access.list_keys() if one.id == key_id), None)
        access.revoke_key(key_id)
        typer.echo(f"revoked {key_id}")
        if known is not None and known.revoked_at is None:
            record("key_revoked", known.workspace_id, known, None)


def register(parent: typer.Typer) -> None:
    """Adds these commands to `audit-log`."""
    parent.add_typer(workspaces, name="workspaces")
    parent.add_typer(keys, name="keys")
