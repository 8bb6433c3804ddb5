"""The local broker keeps what it acknowledged, and is set up as the pipeline needs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from confluent_kafka import Consumer, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.cimpl import NewTopic

from tests.support.waiting import eventually

if TYPE_CHECKING:
    from tests.conftest import StartKafka
    from tests.support.servers import KafkaServer


def make_topic(server: KafkaServer, name: str) -> None:
    admin = AdminClient({"bootstrap.servers": server.bootstrap_servers})
    admin.create_topics([NewTopic(name, num_partitions=1)])[name].result(10)


def produce(server: KafkaServer, topic: str, values: list[bytes]) -> None:
    producer = Producer({"bootstrap.servers": server.bootstrap_servers, "acks": "all", "enable.idempotence": True})
    for value in values:
        producer.produce(topic, value)
    assert producer.flush(20) == 0


def read_from(server: KafkaServer, topic: str, offset: int, count: int) -> list[Message]:
    consumer = Consumer({"bootstrap.servers": server.bootstrap_servers, "group.id": "reader"})
    consumer.assign([TopicPartition(topic, 0, offset)])
    found: list[Message] = []

    def enough() -> bool:
        found.extend(consumer.consume(count - len(found), 0.2))
        return len(found) >= count

    try:
        eventually(enough, 20, f"{count} messages of {topic}")
    finally:
        consumer.close()
    return found


def broker_config(server: KafkaServer, *names: str) -> dict[str, str]:
    admin = AdminClient({"bootstrap.servers": server.bootstrap_servers})
    resource = ConfigResource(ResourceType.BROKER, "1")
    entries = admin.describe_configs([resource])[resource].result(10)
    return {name: entries[name].value for name in names}


def test_acknowledged_messages_and_commits_survive_a_kill(start_kafka: StartKafka) -> None:
    """After SIGKILL and a start on the same folder and port, messages and committed offsets are there."""
    server = start_kafka()
    make_topic(server, "kept")
    produce(server, "kept", [b"one", b"two"])
    committer = Consumer({"bootstrap.servers": server.bootstrap_servers, "group.id": "g"})
    committer.commit(offsets=[TopicPartition("kept", 0, 2, "note")], asynchronous=False)
    committer.close()
    cluster = AdminClient({"bootstrap.servers": server.bootstrap_servers}).list_topics(timeout=10).cluster_id

    server.kill()
    server.start()

    assert [message.value() for message in read_from(server, "kept", 0, 2)] == [b"one", b"two"]
    reader = Consumer({"bootstrap.servers": server.bootstrap_servers, "group.id": "g"})
    (committed,) = reader.committed([TopicPartition("kept", 0)], timeout=20)
    reader.close()
    assert (committed.offset, committed.metadata) == (2, "note")
    assert AdminClient({"bootstrap.servers": server.bootstrap_servers}).list_topics(timeout=10).cluster_id == cluster


def test_an_orderly_stop_needs_no_recovery(start_kafka: StartKafka) -> None:
    """After SIGTERM the broker ends soon and serves the same messages when it is started again."""
    server = start_kafka()
    make_topic(server, "kept")
    produce(server, "kept", [b"one"])
    server.stop()
    server.start()
    assert [message.value() for message in read_from(server, "kept", 0, 1)] == [b"one"]


def test_topics_carry_the_append_time_and_are_never_made_by_accident(kafka: KafkaServer, topic_prefix: str) -> None:
    """A message's timestamp is the broker's clock, and producing to an unknown topic fails."""
    make_topic(kafka, topic_prefix)
    produce(kafka, topic_prefix, [b"x"])
    kind, _ = read_from(kafka, topic_prefix, 0, 1)[0].timestamp()
    assert kind == 2  # TIMESTAMP_LOG_APPEND_TIME
    assert broker_config(kafka, "auto.create.topics.enable") == {"auto.create.topics.enable": "false"}


def test_sessions_of_six_seconds_are_the_default(kafka: KafkaServer) -> None:
    """A killed worker's partitions move within one session, so the broker allows and hands out short ones."""
    assert broker_config(
        kafka,
        "group.consumer.session.timeout.ms",
        "group.consumer.min.session.timeout.ms",
        "group.consumer.heartbeat.interval.ms",
        "log.message.timestamp.type",
        "log.retention.hours",
    ) == {
        "group.consumer.session.timeout.ms": "6000",
        "group.consumer.min.session.timeout.ms": "6000",
        "group.consumer.heartbeat.interval.ms": "1500",
        "log.message.timestamp.type": "LogAppendTime",
        "log.retention.hours": "168",
    }
