"""The topic that gets a copy of every quarantined record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from audit_consumers.kafka.common import QUIET, translate, translated
from audit_consumers.ports import QuarantineRow
from audit_schemas.errors import KafkaUnavailable


class KafkaDeadLetters:
    """`DeadLetters` through an idempotent producer."""

    def __init__(self, bootstrap_servers: str, topic: str) -> None:
        self._topic = topic
        with translated():
            self._producer = Producer(
                {
                    "bootstrap.servers": bootstrap_servers,
                    "enable.idempotence": True,
                    "acks": "all",
                    "compression.type": "lz4",
                    "message.max.bytes": 16 * 2**20,
                    "delivery.timeout.ms": 30_000,
                    "logger": QUIET,
                }
            )

    def publish(self, rows: Sequence[QuarantineRow]) -> None:
        """See `DeadLetters`."""
        failures: list[KafkaError] = []
        acknowledged = 0

        def delivered(error: KafkaError | None, _message: Any) -> None:
            nonlocal acknowledged
            if error is None:
                acknowledged += 1
            else:
                failures.append(error)

        for row in rows:
            while True:
                try:
                    self._producer.produce(
                        self._topic, value=row.raw, key=row.key, headers=dead_letter_headers(row), on_delivery=delivered
                    )
                    break
                except BufferError:
                    self._producer.poll(0.1)
                except KafkaException as error:
                    raise translate(error.args[0]) from None
        self._producer.flush(60)
        if failures:
            raise translate(failures[0])
        if acknowledged != len(rows):
            raise KafkaUnavailable(f"{len(rows) - acknowledged} dead letters are not acknowledged yet")


def dead_letter_headers(row: QuarantineRow) -> list[tuple[str, str | bytes | None]]:
    """Where a dead letter came from and why, as text."""
    headers = {
        "audit-reason": row.reason,
        "audit-detail": row.detail,
        "audit-topic": row.log.topic,
        "audit-topic-id": row.log.topic_id,
        "audit-partition": row.log.partition,
        "audit-offset": row.offset,
        "audit-timestamp-ms": row.timestamp_ms,
    }
    return [(name, str(value).encode()) for name, value in headers.items()]


__all__ = ["KafkaDeadLetters", "dead_letter_headers"]
