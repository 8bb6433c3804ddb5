"""The command that runs the query service."""

from __future__ import annotations

from typing import Annotated

import typer


def query(
    check: Annotated[bool, typer.Option("--check", help="Print the effective settings and exit.")] = False,
) -> None:
    """Serve the API, the audit-log page and exports."""
    from audit_query.settings import QuerySettings

    settings = QuerySettings.load()
    if check:
        typer.echo(settings.effective())
        return
    from audit_infra.telemetry import configure_logging
    from audit_query.process import run

    configure_logging()
    run(settings)


def register(parent: typer.Typer) -> None:
    """Adds this command to `audit-log`."""
    parent.command()(query)
