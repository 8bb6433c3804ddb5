"""The adapter to Kafka, where its answers decide."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Producer

from audit_consumers.inspection import states
from audit_consumers.kafka import KafkaCluster, create_topics
from audit_consumers.positions import Range, TopicPartition
from audit_consumers.settings import PipelineSettings
from audit_schemas.errors import ContractBroken, KafkaUnavailable
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from tests.conftest import StartKafka
    from tests.support.servers import KafkaServer


def test_topics_are_made_once_and_checked(kafka: KafkaServer, topic_prefix: str) -> None:
    """Twelve and the dead letters; a second run makes none; another number of partitions is refused by name."""
    settings = PipelineSettings(kafka_bootstrap_servers=kafka.bootstrap_servers, topic_prefix=topic_prefix)
    assert len(create_topics(settings, partitions=2)) == 13
    eventually(
        lambda: create_topics(settings, partitions=2) == [], 10, "the broker knows them", ignore=(KafkaUnavailable,)
    )
    with pytest.raises(ContractBroken, match="files has 2 partitions, not 3"):
        create_topics(settings, partitions=3)
    found = eventually(lambda: states(settings), 10, "each has a leader", ignore=(KafkaUnavailable,))
    assert len(found) == 24
    assert all((state.lag, state.intent, state.committed.offset) == (0, None, None) for state in found)


def test_the_cluster_answers_afresh(kafka: KafkaServer, topic_prefix: str) -> None:
    """Ids, bounds, and nothing for topics that don't exist."""
    settings = PipelineSettings(kafka_bootstrap_servers=kafka.bootstrap_servers, topic_prefix=topic_prefix)
    create_topics(settings, partitions=1)
    cluster = KafkaCluster(kafka.bootstrap_servers)
    ids = cluster.topic_ids([f"{topic_prefix}.files", f"{topic_prefix}.nothing"])
    assert list(ids) == [f"{topic_prefix}.files"]
    assert ids[f"{topic_prefix}.files"][1] == 1
    partition = TopicPartition(f"{topic_prefix}.files", 0)
    bounds = eventually(lambda: cluster.bounds([partition]), 10, "it has a leader", ignore=(KafkaUnavailable,))
    assert [(one.start, one.end) for one in bounds.values()] == [(0, 0)]
    assert cluster.cluster_id()


def test_a_marker_is_no_record(kafka: KafkaServer, topic_prefix: str) -> None:
    """Transactions leave offsets without records, committed and aborted; only what can be read counts as missed."""
    settings = PipelineSettings(kafka_bootstrap_servers=kafka.bootstrap_servers, topic_prefix=topic_prefix)
    create_topics(settings, partitions=1)
    topic = f"{topic_prefix}.files"
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "transactional.id": topic_prefix})
    producer.init_transactions(30)
    for end in (producer.commit_transaction, producer.abort_transaction, producer.commit_transaction):
        producer.begin_transaction()
        producer.produce(topic, b"one")
        producer.produce(topic, b"two")
        producer.flush(30)
        end()
    cluster = KafkaCluster(kafka.bootstrap_servers)
    # Records 0 and 1, a marker, two aborted records with their marker, records 6 and 7, a marker.
    assert cluster.missed(TopicPartition(topic, 0), [Range(2, 5), Range(8, 8)]) == []
    assert cluster.missed(TopicPartition(topic, 0), [Range(1, 6)]) == [1, 6]


def test_the_session_of_the_group_is_known(start_kafka: StartKafka) -> None:
    """So that a worker can say that its replacement would take long."""
    assert KafkaCluster(start_kafka(session_timeout_ms=4000).bootstrap_servers).session_timeout_ms("g") == 4000


def test_an_absent_cluster_is_a_state_that_may_pass() -> None:
    """The caller tries again."""
    with pytest.raises(KafkaUnavailable):
        KafkaCluster("127.0.0.1:9", timeout_s=1).cluster_id()
