"""The worker's command, and those by which an operator holds a partition in the workers that run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from audit_consumers.pauses import Pauses
    from audit_consumers.positions import TopicPartition
    from audit_consumers.settings import PipelineSettings
    from audit_producers import EventFields

app = typer.Typer()
_LONGEST_REASON = 500
"""As a value in an event's metadata may be."""
_PATIENCE_S = 3.0


@app.callback(invoke_without_command=True)
def worker(
    context: typer.Context,
    check: Annotated[bool, typer.Option("--check", help="Print the effective settings and exit.")] = False,
) -> None:
    """Bring events from Kafka into ClickHouse, each exactly once, until told to stop."""
    if context.invoked_subcommand is not None:
        return
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
def pause(
    topic: str,
    partition: int,
    reason: Annotated[str, typer.Option(help="Why, for those who find it paused.")] = "",
) -> None:
    """Hold a partition within about a second, in whichever worker owns it, until it is resumed; also over restarts."""
    from audit_cli.operator import recording, user
    from audit_consumers.kafka import KafkaCluster
    from audit_consumers.pauses import refuse_unknown
    from audit_consumers.positions import TopicPartition
    from audit_consumers.settings import PipelineSettings
    from audit_schemas.errors import Transient
    from audit_schemas.topics import event_topics

    if len(reason) > _LONGEST_REASON:
        raise typer.BadParameter(f"the reason is longer than {_LONGEST_REASON} characters")
    settings, wanted = PipelineSettings.load(), TopicPartition(topic, partition)
    names = event_topics(settings.topic_prefix)
    try:
        found = KafkaCluster(settings.kafka_bootstrap_servers, timeout_s=_PATIENCE_S).topic_ids(names)
    except Transient as error:
        # Whoever pauses while Kafka is away may have good reason to; a pause of nothing does no harm.
        typer.echo(f"whether {wanted} exists can't be checked now: {error}", err=True)
    else:
        refuse_unknown(wanted, {name: found[name][1] for name in names if name in found}, names)
    with recording() as record:
        with _pauses(settings) as pauses:
            pauses.pause(wanted, user(), reason)
        typer.echo(f"paused: {wanted}")
        record("worker.partition_paused", **_about(settings, wanted, {"reason": reason} if reason else {}))


@app.command()
def resume(topic: str, partition: int) -> None:
    """Let a paused partition go on."""
    from audit_cli.operator import recording, user
    from audit_consumers.positions import TopicPartition
    from audit_consumers.settings import PipelineSettings

    settings, wanted = PipelineSettings.load(), TopicPartition(topic, partition)
    with recording() as record:
        with _pauses(settings) as pauses:
            ended = pauses.resume(wanted, user())
        typer.echo(f"resumed: {wanted}")
        why = {"reason": ended.why} if ended.why else {}
        record("worker.partition_resumed", **_about(settings, wanted, {"paused_by": ended.who} | why))


@app.command("list")
def list_paused() -> None:
    """List the paused partitions: since when, by whom and why."""
    from audit_consumers.settings import PipelineSettings

    with _pauses(PipelineSettings.load()) as pauses:
        typer.echo("\n".join(map(str, pauses.all())) or "no partition is paused")


def _about(settings: PipelineSettings, partition: TopicPartition, metadata: dict[str, str]) -> EventFields:
    return {
        "workspace_id": settings.operator_workspace,
        "targets": [{"type": "partition", "id": str(partition)}],
        "metadata": metadata,
    }


@contextmanager
def _pauses(settings: PipelineSettings) -> Iterator[Pauses]:
    from audit_consumers.clickhouse import ClickHouseStore
    from audit_consumers.pauses import Pauses

    store = ClickHouseStore(settings)
    try:
        yield Pauses(store)
    finally:
        store.close()


def register(parent: typer.Typer) -> None:
    """Adds these commands to `audit-log`."""
    parent.add_typer(app, name="worker")
