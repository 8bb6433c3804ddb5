"""The contracts of `GroupConsumer`, `Cluster` and `DeadLetters`, held against a real broker and against the fakes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import pytest
from confluent_kafka import Producer
from confluent_kafka import TopicPartition as KafkaTopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from audit_consumers.batch import Record
from audit_consumers.intent import CommitMetadata, Excluded, Intent
from audit_consumers.kafka import KafkaCluster, KafkaDeadLetters, KafkaGroupConsumer
from audit_consumers.ports import Assignments, Bounds, Cluster, Committed, DeadLetters, GroupConsumer, QuarantineRow
from audit_consumers.positions import Log, Range, TopicPartition
from audit_schemas.errors import ContractBroken, KafkaUnavailable
from tests.fakes import FakeClock, FakeConsumer, FakeDeadLetters, FakeKafka
from tests.support.dead_letters import dead_letters
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from tests.support.servers import KafkaServer


class System(Protocol):
    """A cluster with two topics of one partition each, and a topic for dead letters."""

    files: TopicPartition
    crm: TopicPartition
    cluster: Cluster
    letters: DeadLetters

    def produce(self, partition: TopicPartition, *values: bytes | None) -> None: ...
    def forget(self, partition: TopicPartition, before: int) -> None: ...
    def join(self, listener: Assignments) -> GroupConsumer: ...
    def dead_letters(self) -> list[tuple[bytes | None, int]]: ...


class FakeSystem:
    def __init__(self) -> None:
        self.files, self.crm = TopicPartition("t.files", 0), TopicPartition("t.crm", 0)
        self.kafka = FakeKafka(FakeClock(), {"t.files": "A", "t.crm": "B"})
        self.cluster: Cluster = self.kafka
        self.fake_letters = FakeDeadLetters()
        self.letters: DeadLetters = self.fake_letters

    def produce(self, partition: TopicPartition, *values: bytes | None) -> None:
        for value in values:
            self.kafka.produce(partition, value)

    def forget(self, partition: TopicPartition, before: int) -> None:
        self.kafka.starts[partition] = before

    def join(self, listener: Assignments) -> GroupConsumer:
        return FakeConsumer(self.kafka, listener)

    def dead_letters(self) -> list[tuple[bytes | None, int]]:
        return [(row.raw, row.offset) for row in self.fake_letters.published]


class RealSystem:
    def __init__(self, server: KafkaServer, prefix: str) -> None:
        self._server, self._prefix = server, prefix
        self.files, self.crm = TopicPartition(f"{prefix}.files", 0), TopicPartition(f"{prefix}.crm", 0)
        self._admin = AdminClient({"bootstrap.servers": server.bootstrap_servers})
        config = {"message.timestamp.type": "LogAppendTime"}
        names = [self.files.topic, self.crm.topic, f"{prefix}.letters"]
        for made in self._admin.create_topics([NewTopic(name, 1, 1, config=config) for name in names]).values():
            made.result()
        self._producer = Producer({"bootstrap.servers": server.bootstrap_servers, "acks": "all"})
        self.cluster: Cluster = KafkaCluster(server.bootstrap_servers)
        self.letters: DeadLetters = KafkaDeadLetters(server.bootstrap_servers, names[2])

    def produce(self, partition: TopicPartition, *values: bytes | None) -> None:
        for value in values:
            self._producer.produce(partition.topic, value=value, key=b"w1", partition=partition.partition)
        assert self._producer.flush(30) == 0

    def forget(self, partition: TopicPartition, before: int) -> None:
        last = KafkaTopicPartition(partition.topic, partition.partition, before)
        self._admin.delete_records([last])[last].result()

    def join(self, listener: Assignments) -> GroupConsumer:
        topics = [self.files.topic, self.crm.topic]
        return KafkaGroupConsumer(self._server.bootstrap_servers, f"{self._prefix}-g", topics, listener)

    def dead_letters(self) -> list[tuple[bytes | None, int]]:
        return dead_letters(self._server.bootstrap_servers, f"{self._prefix}.letters")


@pytest.fixture(params=["fake", "kafka"])
def system(request: pytest.FixtureRequest) -> System:
    """Both implementations, empty."""
    if request.param == "fake":
        return FakeSystem()
    return RealSystem(request.getfixturevalue("kafka"), request.getfixturevalue("topic_prefix"))


@dataclass
class Member:
    """A member of the group, and what it was told."""

    system: System
    told: list[tuple[str, frozenset[TopicPartition]]] = field(default_factory=list)
    got: dict[TopicPartition, list[Record]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.consumer = self.system.join(self)

    def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        self.told.append(("assigned", frozenset(partitions)))

    def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        self.told.append(("revoked", frozenset(partitions)))

    def lost(self, partitions: Sequence[TopicPartition]) -> None:
        self.told.append(("lost", frozenset(partitions)))

    def owned(self) -> set[TopicPartition]:
        """What was assigned and not taken away since."""
        found: set[TopicPartition] = set()
        for what, partitions in self.told:
            found = found | partitions if what == "assigned" else found - partitions
        return found

    def turn(self) -> None:
        for partition, records in self.consumer.poll(1000, 0.02):
            self.got.setdefault(partition, []).extend(records)

    def until(self, check: Callable[[], bool], what: str) -> None:
        def turned() -> bool:
            self.turn()
            return check()

        eventually(turned, 30, what, interval_seconds=0)

    def idle(self, turns: int = 15) -> None:
        """Polls for a while: what is not handed out now is not on its way."""
        for _ in range(turns):
            self.turn()

    def offsets(self, partition: TopicPartition) -> list[int]:
        return [record.offset() for record in self.got.get(partition, [])]


@pytest.fixture
def member(system: System) -> Iterator[Member]:
    """A member that owns both partitions; it has read nothing yet."""
    made = Member(system)
    made.until(lambda: made.owned() == {system.files, system.crm}, "both partitions are assigned")
    yield made
    made.consumer.close()


def test_nothing_is_handed_out_before_the_position_is_set(system: System, member: Member) -> None:
    """Partitions come paused; then records from the position on come in order, each once, as they were sent."""
    system.produce(system.files, *(b"%d" % number for number in range(10)), None)
    member.idle()
    assert member.got == {}
    member.consumer.resume_at(system.files, 4)
    member.until(lambda: len(member.offsets(system.files)) >= 7, "the records come")
    member.idle()
    records = member.got[system.files]
    assert [record.offset() for record in records] == list(range(4, 11))
    assert [record.value() for record in records] == [b"4", b"5", b"6", b"7", b"8", b"9", None]
    assert {record.key() for record in records} == {b"w1"}
    assert all(record.timestamp()[1] > 0 for record in records)
    assert system.crm not in member.got


def test_a_position_can_be_set_again(system: System, member: Member) -> None:
    """Forwards and backwards; nothing from before the new position follows."""
    system.produce(system.files, *(b"%d" % number for number in range(20)))
    member.consumer.resume_at(system.files, 0)
    member.until(lambda: len(member.offsets(system.files)) >= 20, "all come")
    for position in (15, 3):
        member.got.clear()
        member.consumer.resume_at(system.files, position)
        member.until(lambda: 19 in member.offsets(system.files), "the last comes")
        assert member.offsets(system.files) == list(range(position, 20))


def test_a_paused_partition_goes_on_where_it_was(system: System, member: Member) -> None:
    """Repeating either does nothing; the other partition goes on meanwhile."""
    for partition in (system.files, system.crm):
        system.produce(partition, b"0", b"1")
        member.consumer.resume_at(partition, 0)
    member.until(lambda: all(len(member.offsets(one)) == 2 for one in (system.files, system.crm)), "both are read")
    member.consumer.pause(system.files)
    member.consumer.pause(system.files)
    system.produce(system.files, b"2", b"3")
    system.produce(system.crm, b"2")
    member.until(lambda: member.offsets(system.crm) == [0, 1, 2], "the other goes on")
    member.idle()
    assert member.offsets(system.files) == [0, 1]
    member.consumer.resume(system.files)
    member.consumer.resume(system.files)
    member.until(lambda: len(member.offsets(system.files)) >= 4, "it goes on")
    assert member.offsets(system.files) == [0, 1, 2, 3]


def test_commits_come_back_with_all_they_say(system: System, member: Member) -> None:
    """Offset, topic id and intent; a partition that never committed has none; the last commit counts."""
    assert member.consumer.committed([system.files])[system.files].offset is None
    intent = Intent(Range(5, 9), Excluded({6: "framing", 8: "tombstone"}), "abc", 1234)
    for offset, metadata in ((3, CommitMetadata("id", None)), (5, CommitMetadata("id", intent))):
        assert member.consumer.commit({system.files: (offset, metadata)}) == {system.files}
    found = member.consumer.committed([system.files, system.crm])
    assert found[system.files] == Committed(5, CommitMetadata("id", intent))
    assert found[system.crm].offset is None


def test_only_what_is_ours_can_be_committed(system: System, member: Member) -> None:
    """A stranger among the partitions: nothing is committed."""
    stranger = TopicPartition(system.files.topic, 7)
    with pytest.raises(ContractBroken, match="not ours to commit"):
        member.consumer.commit({system.files: (1, CommitMetadata()), stranger: (1, CommitMetadata())})
    assert member.consumer.committed([system.files])[system.files].offset is None


def test_a_position_outside_the_log_is_told_once(system: System, member: Member) -> None:
    """It is never moved silently to either end."""
    system.produce(system.files, b"0", b"1")
    member.consumer.resume_at(system.files, 100)
    told: set[TopicPartition] = set()

    def is_told() -> bool:
        told.update(member.consumer.take_out_of_range())
        return bool(told)

    member.until(is_told, "the position is refused")
    assert told == {system.files}
    assert member.got == {}
    member.consumer.resume_at(system.files, 1)
    member.until(lambda: member.offsets(system.files) == [1], "a good position works")
    assert member.consumer.take_out_of_range() == set()


def test_the_next_member_finds_what_was_committed(system: System) -> None:
    """Leaving reports the revocation first, while committing is still allowed; the next one gets the partitions."""
    first = Member(system)
    first.until(lambda: first.owned() == {system.files, system.crm}, "both are assigned")
    first.consumer.commit({system.crm: (11, CommitMetadata("id"))})
    first.consumer.close()
    assert first.owned() == set()
    assert {what for what, _ in first.told} == {"assigned", "revoked"}
    second = Member(system)
    second.until(lambda: second.owned() == {system.files, system.crm}, "both are assigned again")
    assert second.consumer.committed([system.crm])[system.crm] == Committed(11, CommitMetadata("id"))
    second.consumer.close()


def test_the_cluster_tells_ids_and_bounds(system: System) -> None:
    """A topic that does not exist is left out; the end is one beyond the last record."""
    ids = system.cluster.topic_ids([system.files.topic, system.crm.topic, "nothing"])
    assert set(ids) == {system.files.topic, system.crm.topic}
    assert {count for _, count in ids.values()} == {1}
    assert len({topic_id for topic_id, _ in ids.values()}) == 2
    assert system.cluster.topic_ids([]) == {}
    system.produce(system.files, b"0", b"1", b"2")
    both = [system.files, system.crm]
    bounds = eventually(lambda: system.cluster.bounds(both), 10, "leaders answer", ignore=(KafkaUnavailable,))
    assert bounds == {system.files: Bounds(0, 3), system.crm: Bounds(0, 0)}
    assert system.cluster.bounds([]) == {}
    assert system.cluster.cluster_id()


def test_the_cluster_knows_whether_a_gap_holds_records(system: System) -> None:
    """Of several ranges exactly the offsets that can be read; beyond the end is nothing, before the start anything."""
    system.produce(system.files, *(b"%d" % number for number in range(10)))

    def missed(*gaps: Range) -> list[int]:
        return eventually(
            lambda: [system.cluster.missed(system.files, gaps)], 20, "it is read", ignore=(KafkaUnavailable,)
        )[0]

    assert missed(Range(2, 3), Range(7, 7)) == [2, 3, 7]
    assert missed(Range(8, 20)) == [8, 9]
    assert missed(Range(10, 20)) == []
    system.forget(system.files, 5)
    assert missed(Range(3, 4), Range(6, 7)) == [3]


def test_dead_letters_are_there_when_published(system: System) -> None:
    """Bytes as they were, also none at all; repeating publishes again."""
    log = Log(system.files.topic, "A", 0)
    rows = [
        QuarantineRow(log, 3, 1234, "framing", raw=b"\x00\xff", key=b"w1"),
        QuarantineRow(log, 4, 1234, "tombstone", raw=None),
    ]
    system.letters.publish([])
    system.letters.publish(rows)
    assert system.dead_letters() == [(b"\x00\xff", 3), (None, 4)]
    system.letters.publish(rows[:1])
    assert system.dead_letters() == [(b"\x00\xff", 3), (None, 4), (b"\x00\xff", 3)]
