"""Reads what stands in the topics of a prefix, as a consumer without the project's own code would find it."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from confluent_kafka import Consumer, TopicPartition

from audit_consumers.kafka import create_topics
from audit_consumers.settings import PipelineSettings
from audit_schemas.codec import decode, unframe
from audit_schemas.topics import event_topics

if TYPE_CHECKING:
    from audit_schemas.event import Event


def make_topics(bootstrap_servers: str, prefix: str) -> None:
    """The topics of a prefix, with one partition each."""
    create_topics(PipelineSettings(kafka_bootstrap_servers=bootstrap_servers, topic_prefix=prefix), partitions=1)


def stored_events(bootstrap_servers: str, prefix: str) -> list[Event]:
    """Every event that stands in the topics now, in order per topic."""
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": uuid.uuid4().hex})
    try:
        partitions = [TopicPartition(topic, 0, 0) for topic in event_topics(prefix)]
        left = sum(consumer.get_watermark_offsets(one, timeout=20)[1] for one in partitions)
        consumer.assign(partitions)
        found: list[Event] = []
        while len(found) < left:
            for message in consumer.consume(1000, 0.5):
                value = message.value()
                assert isinstance(value, bytes)
                found.append(decode(unframe(value)[1]))
        return found
    finally:
        consumer.close()


__all__ = ["make_topics", "stored_events"]
