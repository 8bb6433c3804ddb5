"""The export worker's command, and those for the keys that it signs with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pathlib import Path

    from audit_query.exports.keys import Keys, PublicKey

keys_app = typer.Typer(no_args_is_help=True, help="The keys that the manifests of exports are signed with.")


def export_worker(
    check: Annotated[bool, typer.Option("--check", help="Print the effective settings and exit.")] = False,
) -> None:
    """Make the files of export jobs, sign their manifests, and delete what is outdated, until told to stop."""
    from audit_query.settings import ExportWorkerSettings

    settings = ExportWorkerSettings.load()
    if check:
        typer.echo(settings.effective())
        return
    from audit_infra.telemetry import configure_logging
    from audit_query.exports.process import run

    configure_logging()
    run(settings)


@keys_app.command("create")
def create(
    if_none: Annotated[bool, typer.Option("--if-none", help="Do nothing when a key can sign already.")] = False,
) -> None:
    """Make the first key; its private half stays in the folder AUDIT_EXPORT_KEYS_DIR."""
    from audit_infra.clock import utc_now
    from audit_query.exports.keys import KeyProblem

    with _keys() as (keys, folder):
        try:
            known = keys.signing(folder)
        except KeyProblem:
            made = keys.create(folder, utc_now())
            typer.echo(f"created {made.key_id}")
            return
    if not if_none:
        raise KeyProblem(f"{known.key_id} signs already: `audit-log signing-keys rotate` replaces it")
    typer.echo(f"{known.key_id} signs already")


@keys_app.command("list")
def list_keys(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with the public keys.")] = False,
) -> None:
    """List the keys, newest first, retired ones too."""
    from audit_query.exports.answers import key_body

    with _keys() as (keys, folder):
        found = keys.all()
        here = {one.key_id for one in found if (folder / f"{one.key_id}.pem").exists()}
    if as_json:
        typer.echo(json.dumps([key_body(one) for one in found], indent=2))
    else:
        typer.echo("\n".join(_line(one, one.key_id in here) for one in found) or "there is no signing key")


@keys_app.command("rotate")
def rotate() -> None:
    """Make a new key and retire those before it; what they signed stays verifiable."""
    from audit_infra.clock import utc_now

    with _keys() as (keys, folder):
        made, retired = keys.rotate(folder, utc_now())
    typer.echo(f"created {made.key_id}; retired {', '.join(one.key_id for one in retired) or 'none'}")


@keys_app.command("retire")
def retire(key_id: str) -> None:
    """Let a key sign nothing more, and delete its private half."""
    from audit_infra.clock import utc_now

    with _keys() as (keys, folder):
        typer.echo(f"retired {keys.retire(folder, key_id, utc_now()).key_id}")


@contextmanager
def _keys() -> Iterator[tuple[Keys, Path]]:
    from audit_infra.access.migrations import open_migrated
    from audit_query.exports.keys import Keys
    from audit_query.settings import SigningKeySettings

    settings = SigningKeySettings.load()
    engine = open_migrated(settings.control_database_url)
    try:
        yield Keys(engine), settings.export_keys_dir
    finally:
        engine.dispose()


def _line(key: PublicKey, here: bool) -> str:
    state = f"retired {key.retired_at:%Y-%m-%dT%H:%M:%SZ}" if key.retired_at else "signs" if here else "is not here"
    return f"{key.key_id}  created {key.created_at:%Y-%m-%dT%H:%M:%SZ}  {state}"


def register(parent: typer.Typer) -> None:
    """Adds these commands to `audit-log`."""
    parent.command("export-worker")(export_worker)
    parent.add_typer(keys_app, name="signing-keys")
