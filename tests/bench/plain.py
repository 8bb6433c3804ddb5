"""The peer everybody writes first: poll, decode with fastavro, insert the rows, commit. At least once, at best."""

from __future__ import annotations

import io
import sys
from datetime import UTC, datetime
from typing import Any

import clickhouse_connect
import fastavro
from confluent_kafka import Consumer

from audit_schemas.registry import StaticRegistry

BATCH = 50_000
NAMES = (
    *("event_id", "workspace_id", "category", "event_type", "label", "occurred_at", "received_at", "actor"),
    *("on_behalf_of", "source", "ip", "user_agent", "targets", "outcome", "outcome_reason", "changes", "metadata"),
    *("request_id", "session_id", "app_id", "producer"),
)
POSITION = ("kafka_topic", "kafka_topic_id", "kafka_partition", "kafka_offset", "kafka_timestamp", "kafka_schema_id")


def main(bootstrap_servers: str, topic: str, host: str, port: str, database: str) -> None:
    schema = fastavro.parse_schema(StaticRegistry().schema(1))
    client = clickhouse_connect.get_client(host=host, port=int(port), database=database)
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": "plain",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([topic])
    rows: list[list[Any]] = []
    while True:
        message = consumer.poll(0.2)
        if message is not None and message.error() is None:
            record: Any = fastavro.schemaless_reader(io.BytesIO((message.value() or b"")[5:]), schema, None)
            at = datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC)
            position = [topic, "plain", message.partition(), message.offset(), at, 1]
            rows.append(position + [record[name] for name in NAMES])
        if len(rows) >= BATCH or (message is None and rows):
            client.insert("audit_ingest", rows, column_names=[*POSITION, *NAMES], settings={"async_insert": 0})
            consumer.commit(asynchronous=False)
            rows = []


if __name__ == "__main__":
    main(*sys.argv[1:])
