"""Commands of the pipeline: the worker, the tables and topics it needs, and the operator's questions to it."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True)
topics = typer.Typer(no_args_is_help=True, help="The Kafka topics.")
app.add_typer(topics, name="topics")


@app.command()
def worker(
    check: Annotated[bool, typer.Option("--check", help="Print the effective settings and exit.")] = False,
) -> None:
    """Bring events from Kafka into ClickHouse, each exactly once, until told to stop."""
    from audit_consumers.settings import WorkerSettings

    settings = WorkerSettings.load()
    if check:
        typer.echo(settings.effective())
        return
    from audit_consumers.process import run
    from audit_infra.telemetry import configure_logging

    configure_logging()
    run(settings)


@app.command()
def migrate() -> None:
    """Create or update the ClickHouse tables."""
    from audit_consumers.inspection import open_intents
    from audit_consumers.migrate import migrate as apply
    from audit_consumers.settings import PipelineSettings

    settings = PipelineSettings.load()
    applied = apply(settings, lambda: [str(one) for one in open_intents(settings)])
    for migration in applied:
        typer.echo(f"applied {migration.number:04} {migration.name}")
    if not applied:
        typer.echo("nothing to apply")


@topics.command("create")
def topics_create(
    partitions: Annotated[int, typer.Option(min=1, max=1000, help="Partitions of each event topic.")] = 1,
    replication: Annotated[int, typer.Option(min=1, max=10)] = 1,
    retention_days: Annotated[int, typer.Option(min=1, max=36_500)] = 30,
) -> None:
    """Create the topics that are missing; complain about those that are not as they should be."""
    from audit_consumers.kafka import create_topics
    from audit_consumers.settings import PipelineSettings

    created = create_topics(
        PipelineSettings.load(), partitions=partitions, replication=replication, retention_days=retention_days
    )
    typer.echo("\n".join(f"created {name}" for name in created) or "all topics exist")
