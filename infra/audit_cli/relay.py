"""The command that empties the spools of emitting processes that are gone."""

from __future__ import annotations

from typing import Annotated

import typer


def relay(
    once: Annotated[bool, typer.Option("--once", help="Empty what is there now, and end.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Print the effective settings and exit.")] = False,
) -> None:
    """Bring the spools of dead processes to Kafka, until told to stop; for hosts on which no service emits any more."""
    import signal

    from audit_infra.telemetry import configure_logging
    from audit_producers.adoption import Adopter
    from audit_producers.folder import prepare
    from audit_producers.kafka import KafkaTransport
    from audit_producers.settings import ProducerSettings

    settings = ProducerSettings.load()
    if check:
        typer.echo(settings.effective())
        return
    configure_logging()
    prepare(settings.spool_dir)
    adopter = Adopter(settings, lambda: KafkaTransport(settings))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: adopter.stop())
    if once:
        adopter.look()
    else:
        adopter.run()
    typer.echo(f"{adopter.adopted} events of dead processes brought to Kafka, {adopter.damaged} damaged spools")


def register(parent: typer.Typer) -> None:
    """Adds this command to `audit-log`."""
    parent.command()(relay)
