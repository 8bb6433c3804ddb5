"""Reads what stands in the topics of a prefix, as a consumer without the project's own code would find it."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from confluent_kafka import Consumer, Message, TopicPartition

from audit_consumers.kafka import create_topics
from audit_consumers.settings import PipelineSettings
from audit_schemas.codec import decode, unframe
from audit_schemas.topics import event_topics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from audit_schemas.event import Event


def make_topics(bootstrap_servers: str, prefix: str) -> None:
    """The topics of a prefix, with one partition each."""
    create_topics(PipelineSettings(kafka_bootstrap_servers=bootstrap_servers, topic_prefix=prefix), partitions=1)


def stored_messages(bootstrap_servers: str, *topics: str) -> Iterator[Message]:
    """Everything that stands in the topics now, partition by partition in order."""
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": uuid.uuid4().hex})
    try:
        known = consumer.list_topics(timeout=20).topics
        for partition in [
            TopicPartition(topic, each, 0) for topic in topics for each in sorted(known[topic].partitions)
        ]:
            end = consumer.get_watermark_offsets(partition, timeout=20)[1]
            if end > 0:
                consumer.assign([partition])
            read = 0
            while read < end:
                for message in consumer.consume(1000, 0.2):
                    offset = message.offset()
                    assert offset is not None
                    read = offset + 1
                    yield message
    finally:
        consumer.close()


def event_of(message: Message) -> Event:
    """What it says."""
    value = message.value()
    assert isinstance(value, bytes)
    return decode(unframe(value)[1])


def stored_events(bootstrap_servers: str, prefix: str) -> list[Event]:
    """Every event that stands in the topics now, in order per topic."""
    return [event_of(message) for message in stored_messages(bootstrap_servers, *event_topics(prefix))]


__all__ = ["event_of", "make_topics", "stored_events", "stored_messages"]
