"""What stands in a topic of dead letters."""

from __future__ import annotations

import uuid

from confluent_kafka import Consumer, TopicPartition


def dead_letters(bootstrap_servers: str, topic: str) -> list[tuple[bytes | None, int]]:
    """The bytes of each and the offset its header names, in the order of publication."""
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": uuid.uuid4().hex})
    end = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=10)[1]
    consumer.assign([TopicPartition(topic, 0, 0)])
    found: list[tuple[bytes | None, int]] = []
    while len(found) < end:
        for message in consumer.consume(100, 0.2):
            offset = dict(message.headers() or [])["audit-offset"]
            assert isinstance(offset, bytes)
            found.append((message.value(), int(offset)))
    consumer.close()
    return found
