"""Commands of the pipeline: the tables and topics it needs, and the operator's questions to it."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True)
topics = typer.Typer(no_args_is_help=True, help="The Kafka topics.")
lost = typer.Typer(no_args_is_help=True, help="Ranges that Kafka lost.")
app.add_typer(topics, name="topics")
app.add_typer(lost, name="lost")


@app.command()
def migrate() -> None:
    """Create or update the tables in ClickHouse and in the control database."""
    from audit_consumers.inspection import open_intents
    from audit_consumers.migrate import migrate as apply
    from audit_consumers.settings import PipelineSettings

    settings = PipelineSettings.load()
    applied = apply(settings, lambda: [str(one) for one in open_intents(settings)])
    for migration in applied:
        typer.echo(f"applied {migration.number:04} {migration.name}")
    revisions = _migrate_control_database()
    for revision in revisions:
        typer.echo(f"applied {revision} of the control database")
    if not applied and not revisions:
        typer.echo("nothing to apply")


def _migrate_control_database() -> list[str]:
    """Which revisions were applied. The worker's installation can't open it, and needs nothing of it."""
    from importlib.util import find_spec

    if find_spec("sqlalchemy") is None:
        return []
    from audit_infra.access.database import open_engine
    from audit_infra.access.migrations import migrate as apply
    from audit_infra.settings import ControlSettings

    engine = open_engine(ControlSettings.load().control_database_url)
    try:
        return apply(engine)
    finally:
        engine.dispose()


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


@app.command()
def verify(as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False) -> None:
    """Prove that every offset is in exactly one place; exit 1 when not."""
    import dataclasses
    import json

    from audit_consumers.clickhouse import ClickHouseStore
    from audit_consumers.inspection import states
    from audit_consumers.settings import PipelineSettings
    from audit_consumers.verify import verify as prove

    settings = PipelineSettings.load()
    report = prove(ClickHouseStore(settings, timeout_s=600), states(settings))
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(report), indent=2))
    else:
        typer.echo(
            f"{report.logs} logs, {report.ledger_rows} ledger rows: {report.events} events, {report.quarantined} in"
            f" quarantine, {report.copies} copies set aside, {report.lost} accepted as lost"
        )
        typer.echo("\n".join(report.faults) or "every offset is in exactly one place")
    raise typer.Exit(1 if report.faults else 0)


@app.command()
def gaps(as_json: Annotated[bool, typer.Option("--json", help="Print the gaps as JSON.")] = False) -> None:
    """Name the events that producers numbered but that are stored nowhere; exit 1 when there are some."""
    import dataclasses
    import json

    from audit_consumers.clickhouse import ClickHouseStore
    from audit_consumers.gaps import Gaps
    from audit_consumers.process import SystemClock
    from audit_consumers.settings import PipelineSettings

    settings = PipelineSettings.load()
    found = Gaps(ClickHouseStore(settings, timeout_s=600))
    through = found.fold_all()
    open_ = found.gaps(SystemClock().now_ms() - int(settings.gap_after_s * 1000))
    unwatched = found.unwatched()
    if as_json:
        report = {
            "gaps": [dataclasses.asdict(one) for one in open_],
            "unwatched": [dataclasses.asdict(one) for one in unwatched],
            "through_ms": through,
        }
        typer.echo(json.dumps(report, indent=2))
    else:
        lines = [*map(str, open_), *map(str, unwatched)]
        typer.echo("\n".join(lines) or "no number of any producer is missing")
    raise typer.Exit(1 if open_ or unwatched else 0)


@app.command()
def dedupe() -> None:
    """Move later copies of resent events to quarantine, as duplicate or as conflict."""
    from audit_consumers.clickhouse import ClickHouseStore
    from audit_consumers.dedupe import dedupe as move
    from audit_consumers.settings import PipelineSettings

    moved = move(ClickHouseStore(PipelineSettings.load(), timeout_s=600))
    typer.echo(f"{moved.duplicates} duplicates and {moved.conflicts} conflicts moved to quarantine")


@app.command()
def lag(
    intents: Annotated[
        bool, typer.Option("--intents", help="Only batches on their way; exit 1 when there are.")
    ] = False,
) -> None:
    """Show how far each partition is."""
    from audit_consumers.inspection import states
    from audit_consumers.settings import PipelineSettings

    found = states(PipelineSettings.load())
    if intents:
        found = [state for state in found if state.intent is not None]
    for state in found:
        committed = "-" if state.committed.offset is None else state.committed.offset
        on_its_way = f"  intent {state.intent.offsets}" if state.intent else ""
        typer.echo(
            f"{state.log.topic_partition}  committed {committed}  end {state.bounds.end}  lag {state.lag}{on_its_way}"
        )
    if intents and found:
        raise typer.Exit(1)


@lost.command("accept")
def lost_accept(topic: str, partition: int, first: int, last: int) -> None:
    """Accept that Kafka lost the offsets FIRST to LAST of a stopped partition, so that it goes on behind them."""
    from audit_consumers.inspection import accept_loss
    from audit_consumers.positions import Range, TopicPartition
    from audit_consumers.settings import PipelineSettings

    accept_loss(PipelineSettings.load(), TopicPartition(topic, partition), Range(first, last))
    typer.echo(f"accepted as lost: {topic}[{partition}] {first}-{last}")


def register(parent: typer.Typer) -> None:
    """Adds these commands to `audit-log`."""
    parent.add_typer(app)
