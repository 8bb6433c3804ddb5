"""The SDK against a real broker."""

from __future__ import annotations

import uuid
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Consumer, TopicPartition

from audit_consumers.kafka import create_topics
from audit_consumers.settings import PipelineSettings
from audit_producers import AuditLog, BufferFull, NotDelivered, ProducerSettings, Receipt
from audit_schemas.codec import decode, unframe
from audit_schemas.errors import AuditError
from audit_schemas.event import Event

if TYPE_CHECKING:
    from tests.conftest import StartKafka
    from tests.support.servers import KafkaServer

ADA = {"type": "internal_user", "id": "u1", "name": "Ada"}


def emit(log: AuditLog, number: int = 0) -> Receipt:
    return log.emit("file.downloaded", workspace_id=f"w{number % 3}", actor=ADA, source="web")


def stored(bootstrap_servers: str, topic: str) -> list[tuple[bytes, Event]]:
    """Everything in the topic's only partition."""
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": uuid.uuid4().hex})
    end = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=20)[1]
    consumer.assign([TopicPartition(topic, 0, 0)])
    found: list[tuple[bytes, Event]] = []
    while len(found) < end:
        for message in consumer.consume(1000, 1.0):
            key, value = message.key(), message.value()
            assert isinstance(key, bytes)
            assert isinstance(value, bytes)
            found.append((key, decode(unframe(value)[1])))
    consumer.close()
    return found


def test_events_arrive_framed_keyed_and_in_order(kafka: KafkaServer, topic_prefix: str) -> None:
    """Every receipt is acknowledged with the position Kafka gave the event."""
    create_topics(
        PipelineSettings(kafka_bootstrap_servers=kafka.bootstrap_servers, topic_prefix=topic_prefix), partitions=1
    )
    settings = ProducerSettings(kafka_bootstrap_servers=kafka.bootstrap_servers, topic_prefix=topic_prefix)
    with AuditLog("files", version="1", settings=settings) as log:
        receipts = [emit(log, number) for number in range(300)]
        positions = [receipt.wait(30) for receipt in receipts]
    assert [position.offset for position in positions] == list(range(300))
    events = stored(kafka.bootstrap_servers, f"{topic_prefix}.files")
    assert [event.event_id for _, event in events] == [receipt.event_id for receipt in receipts]
    assert [event.producer.seq for _, event in events] == list(range(300))
    assert all(key.decode() == event.workspace_id for key, event in events)


@pytest.mark.timeout(120)
def test_a_killed_broker_costs_time_but_no_event(start_kafka: StartKafka, topic_prefix: str) -> None:
    """Events emitted before, during and after the outage are each in the topic once."""
    kafka = start_kafka()
    create_topics(
        PipelineSettings(kafka_bootstrap_servers=kafka.bootstrap_servers, topic_prefix=topic_prefix), partitions=1
    )
    settings = ProducerSettings(kafka_bootstrap_servers=kafka.bootstrap_servers, topic_prefix=topic_prefix)
    with AuditLog("files", settings=settings) as log:
        receipts = [emit(log) for _ in range(2_000)]
        receipts[0].wait(30)
        receipts += [emit(log) for _ in range(2_000)]
        kafka.kill()
        receipts += [emit(log) for _ in range(2_000)]
        kafka.start()
        receipts += [emit(log) for _ in range(2_000)]
        for receipt in receipts:
            receipt.wait(60)
    found = Counter(event.event_id for _, event in stored(kafka.bootstrap_servers, f"{topic_prefix}.files"))
    assert found == Counter(receipt.event_id for receipt in receipts)


def test_without_a_broker_events_wait_then_the_caller_hears_of_it() -> None:
    """Events are taken until the buffer is full; what is given up reaches the receipt and the callback."""
    failures: list[tuple[Receipt, AuditError]] = []
    settings = ProducerSettings(kafka_bootstrap_servers="127.0.0.1:9", buffer_events=100, delivery_timeout_s=1)
    log = AuditLog("files", settings=settings, on_delivery_failure=lambda receipt, why: failures.append((receipt, why)))
    receipts = [emit(log) for _ in range(100)]
    with pytest.raises(BufferFull):
        emit(log)
    for receipt in receipts:
        with pytest.raises(NotDelivered):
            receipt.wait(30)
    assert log.close(5) == 0
    assert {receipt.event_id for receipt, _ in failures} == {receipt.event_id for receipt in receipts}
