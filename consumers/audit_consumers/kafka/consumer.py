"""A member of the consumer group."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from confluent_kafka import OFFSET_END, Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as KafkaTopicPartition

from audit_consumers.batch import Record
from audit_consumers.intent import CommitMetadata
from audit_consumers.kafka.common import (
    OUT_OF_RANGE,
    QUIET,
    REBALANCING,
    REFUSED,
    TIMEOUT_S,
    native,
    ours,
    translate,
    translated,
)
from audit_consumers.ports import Assignments, Committed
from audit_consumers.positions import TopicPartition
from audit_schemas.errors import AuditError, ContractBroken

_SEEK_S = 0.2


class KafkaGroupConsumer:
    """`GroupConsumer` on KIP-848 groups (brokers ≥ 4.0)."""

    def __init__(self, bootstrap_servers: str, group: str, topics: Sequence[str], listener: Assignments) -> None:
        self._listener = listener
        self._owned: set[TopicPartition] = set()
        self._paused: set[TopicPartition] = set()
        self._start: dict[TopicPartition, int] = {}
        self._out_of_range: set[TopicPartition] = set()
        self._fatal: AuditError | None = None
        with translated():
            self._consumer = Consumer(
                {
                    "bootstrap.servers": bootstrap_servers,
                    "group.id": group,
                    "group.protocol": "consumer",
                    "enable.auto.commit": False,
                    "enable.auto.offset.store": False,
                    "auto.offset.reset": "error",
                    "isolation.level": "read_committed",
                    "max.poll.interval.ms": 300_000,
                    "fetch.wait.max.ms": 50,
                    "fetch.queue.backoff.ms": 20,
                    "queued.max.messages.kbytes": 65_536,
                    "topic.metadata.refresh.interval.ms": 30_000,
                    "error_cb": self._on_error,
                    "logger": QUIET,
                }
            )
            self._consumer.subscribe(
                list(topics), on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost
            )

    def poll(self, limit: int, timeout: float) -> list[tuple[TopicPartition, list[Record]]]:
        """See `GroupConsumer`."""
        with translated():
            messages = self._consumer.consume(limit, timeout)
        if self._fatal is not None:
            raise self._fatal
        found: dict[tuple[str, int], list[Record]] = {}
        records: list[Record] = []
        topic, number = "", -1
        for message in messages:
            if (error := message.error()) is not None:
                self._note(error, message)
                continue
            if message.partition() != number or message.topic() != topic:
                topic, number = str(message.topic()), int(message.partition() or 0)
                records = found.setdefault((topic, number), [])
            records.append(cast(Record, message))
        return [
            (partition, self._from_start(partition, found[key]))
            for key in found
            if (partition := TopicPartition(*key)) in self._start
        ]

    def _from_start(self, partition: TopicPartition, records: list[Record]) -> list[Record]:
        """Leaves out what was on its way when the position was set."""
        start = self._start[partition]
        if records[0].offset() >= start:
            return records
        return [record for record in records if record.offset() >= start]

    def _note(self, error: KafkaError, message: Any) -> None:
        if error.code() in OUT_OF_RANGE:
            self._out_of_range.add(TopicPartition(message.topic(), message.partition()))
        elif error.code() in REFUSED or error.fatal():
            raise translate(error)

    def committed(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, Committed]:
        """See `GroupConsumer`."""
        with translated():
            answers = self._consumer.committed([native(part) for part in partitions], timeout=TIMEOUT_S)
        found = {}
        for answer in answers:
            if answer.error is not None:
                raise translate(answer.error)
            offset = answer.offset if answer.offset >= 0 else None
            found[ours(answer)] = Committed(offset, CommitMetadata.from_text(answer.metadata or ""))
        return found

    def commit(self, offsets: Mapping[TopicPartition, tuple[int, CommitMetadata]]) -> set[TopicPartition]:
        """See `GroupConsumer`."""
        if strangers := set(offsets) - self._owned:
            raise ContractBroken(f"not ours to commit: {', '.join(map(str, sorted(strangers)))}")
        wanted = [
            KafkaTopicPartition(part.topic, part.partition, offset, metadata.text())
            for part, (offset, metadata) in offsets.items()
        ]
        try:
            answers = self._consumer.commit(offsets=wanted, asynchronous=False)
        except KafkaException as error:
            if error.args[0].code() in REBALANCING:
                return set()
            raise translate(error.args[0]) from None
        taken = set()
        for answer in answers or []:
            if answer.error is None:
                taken.add(ours(answer))
            elif answer.error.code() not in REBALANCING:
                raise translate(answer.error)
        return taken

    def resume_at(self, partition: TopicPartition, offset: int) -> None:
        """See `GroupConsumer`."""
        target = KafkaTopicPartition(partition.topic, partition.partition, offset)
        if not self._seek(target):
            with translated():
                self._consumer.incremental_unassign([native(partition)])
                self._consumer.incremental_assign([target])
        self._start[partition] = offset
        self._out_of_range.discard(partition)
        self._paused.add(partition)
        self.resume(partition)

    def _seek(self, target: KafkaTopicPartition) -> bool:
        """False when the client does not fetch the partition.

        Right after an assignment it has not begun to, which passes. After an error that it takes for final, such as a
        position outside the log, it has given the partition up, and only an assignment begins it anew.
        """
        deadline = time.monotonic() + _SEEK_S
        while True:
            try:
                self._consumer.seek(target)
                return True
            except KafkaException as error:
                if error.args[0].code() != KafkaError._STATE:
                    raise translate(error.args[0]) from None
                if time.monotonic() > deadline:
                    return False
                time.sleep(0.005)

    def pause(self, partition: TopicPartition) -> None:
        """See `GroupConsumer`."""
        if partition not in self._paused:
            with translated():
                self._consumer.pause([native(partition)])
            self._paused.add(partition)

    def resume(self, partition: TopicPartition) -> None:
        """See `GroupConsumer`."""
        if partition in self._paused:
            with translated():
                self._consumer.resume([native(partition)])
            self._paused.discard(partition)

    def take_out_of_range(self) -> set[TopicPartition]:
        """See `GroupConsumer`."""
        found, self._out_of_range = self._out_of_range, set()
        return found

    def close(self) -> None:
        """See `GroupConsumer`."""
        self._consumer.close()

    def _assigned(self, consumer: Consumer, partitions: list[KafkaTopicPartition]) -> None:
        consumer.incremental_assign([KafkaTopicPartition(p.topic, p.partition, OFFSET_END) for p in partitions])
        consumer.pause(partitions)
        mine = [ours(partition) for partition in partitions]
        self._owned.update(mine)
        self._paused.update(mine)
        self._listener.assigned(mine)

    def _revoked(self, consumer: Consumer, partitions: list[KafkaTopicPartition]) -> None:
        mine = [ours(partition) for partition in partitions]
        self._listener.revoked(mine)
        self._forget(mine)
        consumer.incremental_unassign(partitions)

    def _lost(self, consumer: Consumer, partitions: list[KafkaTopicPartition]) -> None:
        mine = [ours(partition) for partition in partitions]
        self._listener.lost(mine)
        self._forget(mine)
        consumer.incremental_unassign(partitions)

    def _forget(self, partitions: Iterable[TopicPartition]) -> None:
        for partition in partitions:
            self._owned.discard(partition)
            self._paused.discard(partition)
            self._start.pop(partition, None)

    def _on_error(self, error: KafkaError) -> None:
        """Called by the client from inside `poll`. What it can mend itself it does; only the hopeless ends the worker."""
        if error.fatal() or error.code() in REFUSED:
            self._fatal = translate(error)


__all__ = ["KafkaGroupConsumer"]
