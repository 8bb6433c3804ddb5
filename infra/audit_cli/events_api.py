"""The command that runs the Events API."""

from __future__ import annotations

from typing import Annotated

import typer


def events_api(
    check: Annotated[bool, typer.Option("--check", help="Print the effective settings and exit.")] = False,
) -> None:
    """Take events from custom apps over HTTP."""
    from audit_producers.events_api.settings import EventsApiSettings

    settings = EventsApiSettings.load()
    if check:
        typer.echo(settings.effective())
        return
    from audit_infra.telemetry import configure_logging
    from audit_producers.events_api.process import run

    configure_logging()
    run(settings)


def register(parent: typer.Typer) -> None:
    """Adds this command to `audit-log`."""
    parent.command(name="events-api")(events_api)


__all__ = ["events_api", "register"]
