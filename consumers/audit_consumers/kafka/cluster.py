"""Questions to the Kafka cluster, and the topics we make in it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
)
from confluent_kafka import TopicPartition as KafkaTopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._listoffsets import OffsetSpec
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.cimpl import NewTopic

from audit_consumers.intent import CommitMetadata
from audit_consumers.kafka.common import OUT_OF_RANGE, QUIET, TIMEOUT_S, native, ours, translate, translated
from audit_consumers.ports import Bounds, Committed
from audit_consumers.positions import Range, TopicPartition
from audit_infra.settings import KafkaSettings
from audit_schemas.errors import ContractBroken, KafkaUnavailable
from audit_schemas.topics import dead_letter_topic, event_topics

_EARLIEST: OffsetSpec = OffsetSpec.earliest()  # type: ignore[no-untyped-call]  # the client has no types here
_LATEST: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # the client has no types here
_DAY_MS = 86_400_000
_READ_S = 0.1


class KafkaCluster:
    """`Cluster` through the admin client."""

    def __init__(self, bootstrap_servers: str, *, timeout_s: float = TIMEOUT_S) -> None:
        self._bootstrap_servers, self._timeout_s = bootstrap_servers, timeout_s
        with translated():
            self._admin = AdminClient({"bootstrap.servers": bootstrap_servers, "logger": QUIET})

    def cluster_id(self) -> str:
        """See `Cluster`."""
        with translated():
            return str(self._admin.list_topics(timeout=self._timeout_s).cluster_id)

    def topic_ids(self, topics: Iterable[str]) -> dict[str, tuple[str, int]]:
        """See `Cluster`."""
        found = {}
        names = sorted(set(topics))
        if not names:
            return {}
        for name, future in self._admin.describe_topics(
            TopicCollection(names), request_timeout=self._timeout_s
        ).items():
            try:
                described = future.result()
            except KafkaException as error:
                if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                    continue
                raise translate(error.args[0]) from None
            found[name] = (str(described.topic_id), len(described.partitions))
        return found

    def bounds(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, Bounds]:
        """See `Cluster`."""
        if not partitions:
            return {}
        firsts = self._list(partitions, _EARLIEST)
        ends = self._list(partitions, _LATEST)
        return {partition: Bounds(firsts[partition], ends[partition]) for partition in partitions}

    def missed(self, partition: TopicPartition, gaps: Sequence[Range]) -> list[int]:
        """See `Cluster`."""
        with translated():
            consumer = Consumer(
                {
                    "bootstrap.servers": self._bootstrap_servers,
                    "group.id": "audit-log-gaps",  # demanded by the client; nothing is committed
                    "enable.auto.commit": False,
                    "enable.partition.eof": True,
                    "auto.offset.reset": "error",
                    "isolation.level": "read_committed",
                    "logger": QUIET,
                }
            )
            try:
                consumer.assign([KafkaTopicPartition(partition.topic, partition.partition, gaps[0].first)])
                return self._found(consumer, gaps)
            finally:
                consumer.close()

    def _found(self, consumer: Consumer, gaps: Sequence[Range]) -> list[int]:
        found: list[int] = []
        at = 0  # the first gap that is not behind what was read; both are in order
        deadline = time.monotonic() + self._timeout_s
        while time.monotonic() < deadline:
            for message in consumer.consume(1000, _READ_S):
                offset = int(message.offset() or 0)
                if (error := message.error()) is not None:
                    if error.code() == KafkaError._PARTITION_EOF:
                        return found
                    if error.code() in OUT_OF_RANGE:
                        return [gaps[0].first]
                    raise translate(error)
                while at < len(gaps) and gaps[at].last < offset:
                    at += 1
                if at == len(gaps):
                    return found
                if offset in gaps[at]:
                    found.append(offset)
                deadline = time.monotonic() + self._timeout_s
        raise KafkaUnavailable("Kafka: a part of the log can't be read again yet")

    def group_offsets(self, group: str, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, Committed]:
        """What a group committed, asked from outside the group."""
        if not partitions:
            return {}
        request = [ConsumerGroupTopicPartitions(group, [native(partition) for partition in partitions])]
        found = {}
        with translated():
            answer = self._admin.list_consumer_group_offsets(request, request_timeout=self._timeout_s)[group].result()
        for one in answer.topic_partitions:
            if one.error is not None:
                raise translate(one.error)
            offset = one.offset if one.offset >= 0 else None
            found[ours(one)] = Committed(offset, CommitMetadata.from_text(one.metadata or ""))
        return found

    def session_timeout_ms(self, group: str) -> int:
        """How long the brokers wait for a silent member of the group."""
        resource = ConfigResource(ResourceType.GROUP, group)
        with translated():
            answer = self._admin.describe_configs([resource], request_timeout=self._timeout_s)[resource].result()
        return int(answer["consumer.session.timeout.ms"].value)

    def _list(self, partitions: Sequence[TopicPartition], spec: OffsetSpec) -> dict[TopicPartition, int]:
        found = {}
        futures = self._admin.list_offsets(
            {native(partition): spec for partition in partitions},
            isolation_level=IsolationLevel.READ_COMMITTED,
            request_timeout=self._timeout_s,
        )
        for partition, future in futures.items():
            with translated():
                found[ours(partition)] = future.result().offset
        return found


def create_topics(
    settings: KafkaSettings, *, partitions: int, replication: int = 1, retention_days: int = 30
) -> list[str]:
    """Creates the topics that are missing and returns their names.

    Raises `ContractBroken` when one exists with other partitions or without LogAppendTime: progress counts on the
    broker's clock, and partitions are added only with their registration.
    """
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap_servers, "logger": QUIET})
    config = {
        "message.timestamp.type": "LogAppendTime",
        "cleanup.policy": "delete",
        "retention.ms": str(retention_days * _DAY_MS),
        "max.message.bytes": "1048576",
    }
    letters = {**config, "retention.ms": str(365 * _DAY_MS), "max.message.bytes": "2097152"}
    wanted = [
        NewTopic(name, num_partitions=partitions, replication_factor=replication, config=config)
        for name in event_topics(settings.topic_prefix)
    ]
    wanted.append(
        NewTopic(
            dead_letter_topic(settings.topic_prefix),
            num_partitions=1,
            replication_factor=replication,
            config=letters,
        )
    )
    created = []
    for name, future in admin.create_topics(wanted, request_timeout=TIMEOUT_S).items():
        try:
            future.result()
            created.append(name)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise translate(error.args[0]) from None
    # What was made just now is as it should be, and the broker may not know of it yet.
    _check(admin, [name for name in event_topics(settings.topic_prefix) if name not in created], partitions)
    return created


def _check(admin: AdminClient, names: Sequence[str], partitions: int) -> None:
    if not names:
        return
    try:
        metadata = admin.list_topics(timeout=TIMEOUT_S).topics
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
        configs = {resource.name: future.result() for resource, future in admin.describe_configs(resources).items()}
    except KafkaException as error:
        raise translate(error.args[0]) from None
    faults = [
        f"{name} has {len(metadata[name].partitions)} partitions, not {partitions}"
        for name in names
        if name in metadata and len(metadata[name].partitions) != partitions
    ]
    faults += [
        f"{name} does not stamp records with LogAppendTime"
        for name, config in configs.items()
        if config["message.timestamp.type"].value != "LogAppendTime"
    ]
    if faults:
        raise ContractBroken("; ".join(faults))


__all__ = ["KafkaCluster", "create_topics"]
