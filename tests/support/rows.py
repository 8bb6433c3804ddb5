"""Events straight into the tables, at Kafka positions of the test's choosing: what reading needs of the pipeline."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import clickhouse_connect

from audit_schemas.migrations import migrations
from audit_schemas.topics import CATEGORIES, topic_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clickhouse_connect.driver.client import Client

    from audit_schemas.event import Event

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TOPIC_ID = "topic-one"
_PLAIN = (
    *("event_id", "workspace_id", "category", "event_type", "label", "source", "ip", "user_agent", "outcome"),
    *("outcome_reason", "changes", "metadata", "request_id", "session_id", "app_id"),
)
_COLUMNS = (
    *("kafka_topic", "kafka_topic_id", "kafka_partition", "kafka_offset", "kafka_timestamp", "kafka_schema_id"),
    *_PLAIN,
    *("occurred_at", "received_at", "actor", "on_behalf_of", "targets", "producer"),
)


@dataclass
class Tables:
    """The tables of one database, and the next free Kafka offset."""

    url: str
    database: str
    prefix: str = "audit"
    offset: int = 0
    _client: Client | None = field(default=None, repr=False)

    @property
    def client(self) -> Client:
        if self._client is None:
            self._client = clickhouse_connect.get_client(
                dsn=self.url, database=self.database, autogenerate_session_id=False
            )
        return self._client

    def migrate(self) -> None:
        for migration in migrations():
            for statement in migration.statements:
                self.client.command(statement)

    def put(
        self,
        *events: Event,
        accepted_at: datetime | None = None,
        partition: int = 0,
        offset: int | None = None,
        topic_id: str = TOPIC_ID,
    ) -> None:
        """One Kafka record each; without `accepted_at` Kafka took them a second after they happened."""
        rows = []
        for event in events:
            at = self.offset if offset is None else offset
            self.offset = max(self.offset, at + 1)
            accepted = accepted_at or event.occurred_at + timedelta(seconds=1)
            rows.append(self._row(event, accepted, topic_id, partition, at))
        self.client.insert("audit_ingest", rows, column_names=_COLUMNS)

    def multiply(self, times: int) -> None:
        """So many further events like each one that is there, a millisecond apart, in audit_events alone."""
        self.client.command(
            "INSERT INTO audit_events SELECT e.* REPLACE (generateUUIDv4(number) AS event_id,"
            " e.occurred_at - toIntervalMillisecond(number) AS occurred_at)"
            f" FROM audit_events AS e, numbers({times}) AS n"
        )

    def land(self, *records: tuple[Event, datetime, int, int]) -> None:
        """Events at their acceptance, partition and offset, in one insert."""
        rows = [
            self._row(event, accepted, TOPIC_ID, partition, offset) for event, accepted, partition, offset in records
        ]
        self.client.insert("audit_ingest", rows, column_names=_COLUMNS)

    def _row(self, event: Event, accepted: datetime, topic_id: str, partition: int, offset: int) -> Sequence[Any]:
        values = event.model_dump()
        actor, behalf, producer = values["actor"], values["on_behalf_of"], values["producer"]
        return [
            *(topic_of(self.prefix, event.category), topic_id, partition, offset, accepted, 1),
            *(values[name] for name in _PLAIN),
            *(event.occurred_at, event.received_at),
            (actor["type"], actor["id"], actor["name"], actor["email"]),
            (behalf["type"], behalf["id"], behalf["name"]),
            [(target["type"], target["id"], target["name"]) for target in values["targets"]],
            (producer["service"], producer["instance"], producer["version"], producer["seq"]),
        ]

    def progress(
        self,
        through: datetime,
        *,
        categories: Sequence[str] = CATEGORIES,
        partition: int = 0,
        partitions: int = 1,
        topic_id: str = TOPIC_ID,
        at: datetime | None = None,
        end: int = 1,
    ) -> None:
        """What the worker says about its topics: complete through this moment, and ledgered up to the offset `end`."""
        rows = [
            (topic_of(self.prefix, category), topic_id, partition, partitions, through, end, at or through)
            for category in categories
        ]
        self.client.insert("audit_progress", rows)

    def ledger(
        self, *ranges: tuple[int, int], category: str = "files", partition: int = 0, topic_id: str = TOPIC_ID
    ) -> None:
        """The worker has landed these ranges of offsets, each a batch."""
        topic = topic_of(self.prefix, category)
        rows = [(topic, topic_id, partition, first, last, "landed") for first, last in ranges]
        names = ("kafka_topic", "kafka_topic_id", "kafka_partition", "first", "last", "kind")
        if rows:
            self.client.insert("audit_ledger", rows, column_names=names)

    def close(self) -> None:
        if self._client is not None:
            with contextlib.suppress(OSError):
                self._client.close()


__all__ = ["EPOCH", "TOPIC_ID", "Tables"]
