"""Kafka and ClickHouse in memory, for tests that stop a worker between every pair of steps.

They pass the contract suite of `tests/contracts` beside the real ones. What makes the real ones dangerous is in here
too: a token can be remembered without its rows, and an answer can be lost after the rows landed.
"""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Any

import fastavro

from audit_consumers.batch import Container, Record
from audit_consumers.intent import CommitMetadata
from audit_consumers.ports import (
    Assignments,
    Bounds,
    Committed,
    LedgerRow,
    ProgressRow,
    QuarantineRow,
    Stored,
)
from audit_consumers.positions import Log, Range, TopicPartition
from audit_schemas.errors import ContractBroken, RowRejected


class CrashError(BaseException):
    """The process is gone: nothing in it may go on, so no handler of ordinary errors catches this."""


@dataclass(frozen=True)
class FakeRecord:
    """A Kafka record."""

    raw: bytes | None
    at: int
    stamp_ms: int
    name: bytes = b"w1"

    def value(self) -> bytes | None:
        return self.raw

    def key(self) -> bytes | None:
        return self.name

    def offset(self) -> int:
        return self.at

    def timestamp(self) -> tuple[int, int]:
        return 2, self.stamp_ms


@dataclass
class FakeClock:
    """Time that moves only when told to."""

    seconds: float = 1_000_000.0

    def monotonic(self) -> float:
        return self.seconds

    def now_ms(self) -> int:
        return int(self.seconds * 1000)

    def advance(self, seconds: float) -> None:
        self.seconds += seconds


class InlineExecutor(Executor):
    """Runs at once on the calling thread; a crash inside is a crash of all."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


@dataclass
class FakeKafka:
    """A cluster with one topic per entry of `ids`, one group, and its commits. `step` is called before every call."""

    clock: FakeClock
    ids: dict[str, str] = field(default_factory=dict)
    partitions: int = 1
    step: Callable[[str], None] = lambda _: None
    logs: dict[TopicPartition, list[FakeRecord]] = field(default_factory=lambda: defaultdict(list))
    starts: dict[TopicPartition, int] = field(default_factory=lambda: defaultdict(int))
    commits: dict[TopicPartition, Committed] = field(default_factory=dict)
    owner: object = None

    def produce(self, partition: TopicPartition, value: bytes | None) -> int:
        log = self.logs[partition]
        log.append(FakeRecord(value, len(log), self.clock.now_ms()))
        return len(log) - 1

    def recreate(self, topic: str, topic_id: str) -> None:
        """Deletes the topic with its commits and makes it again."""
        self.ids[topic] = topic_id
        for partition in [one for one in (*self.logs, *self.commits) if one.topic == topic]:
            self.logs.pop(partition, None)
            self.commits.pop(partition, None)
            self.starts.pop(partition, None)

    def cluster_id(self) -> str:
        return "fake-cluster"

    def topic_ids(self, topics: Iterable[str]) -> dict[str, tuple[str, int]]:
        self.step("topic_ids")
        return {topic: (self.ids[topic], self.partitions) for topic in topics if topic in self.ids}

    def bounds(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, Bounds]:
        self.step("bounds")
        return {one: Bounds(self.starts[one], len(self.logs[one])) for one in partitions}

    def missed(self, partition: TopicPartition, gaps: Sequence[Range]) -> list[int]:
        self.step("missed")
        if gaps[0].first < self.starts[partition]:
            return [gaps[0].first]
        return [offset for gap in gaps for offset in range(gap.first, min(gap.last + 1, len(self.logs[partition])))]


class FakeConsumer:
    """The only member of the group. A newer one takes everything over: the older may commit no more."""

    def __init__(self, kafka: FakeKafka, listener: Assignments) -> None:
        self._kafka, self._listener = kafka, listener
        self._at: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()
        self._assigned = False
        self._out_of_range: set[TopicPartition] = set()
        kafka.owner = self

    def poll(self, limit: int, timeout: float) -> list[tuple[TopicPartition, list[Record]]]:
        self._kafka.step("poll")
        if self._kafka.owner is not self:
            if self._assigned:
                self._assigned = False
                self._listener.lost(list(self._everything()))
                self._at.clear()
            return []
        if not self._assigned:
            self._assigned = True
            self._listener.assigned(list(self._everything()))
        found: list[tuple[TopicPartition, list[Record]]] = []
        for partition, at in list(self._at.items()):
            if partition in self._paused:
                continue
            log = self._kafka.logs[partition]
            if not self._kafka.starts[partition] <= at <= len(log):
                self._out_of_range.add(partition)
                continue
            records: list[Record] = list(log[at : at + limit])
            if records:
                self._at[partition] = records[-1].offset() + 1
                found.append((partition, records))
        if not found:
            self._kafka.clock.advance(timeout)
        return found

    def _everything(self) -> list[TopicPartition]:
        return [TopicPartition(topic, n) for topic in sorted(self._kafka.ids) for n in range(self._kafka.partitions)]

    def committed(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, Committed]:
        self._kafka.step("committed")
        return {one: self._kafka.commits.get(one, Committed(None, CommitMetadata())) for one in partitions}

    def commit(self, offsets: Mapping[TopicPartition, tuple[int, CommitMetadata]]) -> set[TopicPartition]:
        if strangers := set(offsets) - set(self._everything() if self._assigned else ()):
            raise ContractBroken(f"not ours to commit: {strangers}")
        self._kafka.step("commit")
        if self._kafka.owner is not self:
            return set()
        for partition, (offset, metadata) in offsets.items():
            assert metadata.fits()
            self._kafka.commits[partition] = Committed(offset, CommitMetadata.from_text(metadata.text()))
        self._kafka.step("committed it")
        return set(offsets)

    def resume_at(self, partition: TopicPartition, offset: int) -> None:
        self._at[partition] = offset
        self._paused.discard(partition)

    def pause(self, partition: TopicPartition) -> None:
        self._paused.add(partition)

    def resume(self, partition: TopicPartition) -> None:
        self._paused.discard(partition)

    def take_out_of_range(self) -> set[TopicPartition]:
        found, self._out_of_range = self._out_of_range, set()
        return found

    def close(self) -> None:
        if self._assigned and self._kafka.owner is self:
            self._listener.revoked(self._everything())
        self._assigned = False


@dataclass
class FakeStore:
    """The tables. Rows are kept as they land, so a position stored twice is seen twice."""

    step: Callable[[str], None] = lambda _: None
    events: list[dict[str, Any]] = field(default_factory=list)
    quarantined: dict[tuple[str, int, int], QuarantineRow] = field(default_factory=dict)
    sorted_out: dict[tuple[str, int, int], str] = field(default_factory=dict)
    tokens: set[str] = field(default_factory=set)
    ledger_rows: dict[tuple[Log, int, int], LedgerRow] = field(default_factory=dict)
    progress: list[ProgressRow] = field(default_factory=list)
    listed: set[tuple[str, int, int]] = field(default_factory=set)
    """The rows whose user is listed."""

    def insert(self, container: Container, token: str, comment: str) -> None:
        self.step("insert")
        rows = self._read(container)
        if token in self.tokens:
            return
        self.tokens.add(token)
        self.step("token written, no row yet")
        for number, row in enumerate(rows):
            if row["kafka_topic"].endswith("." + row["category"]):
                self.events.append(row)
            else:
                self.sorted_out[position(row)] = "category_unlike_topic"
            if number == len(rows) // 2:
                self.step("half of the rows landed")
        self.step("all rows landed, their users not listed")
        self._list({position(row) for row in rows})
        self.step("inserted")

    def readable(self, container: Container) -> bool:
        try:
            self._read(container)
        except RowRejected:
            return False
        return True

    def _read(self, container: Container) -> list[dict[str, Any]]:
        source = io.BytesIO(container.body)
        try:
            rows: list[dict[str, Any]] = list(fastavro.reader(source))  # type: ignore[arg-type]  # records, as built
        except (EOFError, ValueError, IndexError, OverflowError) as error:
            raise RowRejected(str(error)) from None
        if any(len(row["event_id"]) != 36 for row in rows):
            raise RowRejected("misaligned")
        return rows

    def running(self, comment: str) -> bool:
        self.step("running")
        return False

    def counts(self, log: Log, offsets: Range, since_ms: int) -> tuple[int, int]:
        self.step("counts")
        found = self._stored(log, offsets)
        return len(found.events), len(found.quarantine)

    def stored(self, log: Log, offsets: Range) -> Stored:
        self.step("stored")
        return self._stored(log, offsets)

    def _stored(self, log: Log, offsets: Range) -> Stored:
        def inside(topic_id: str, partition: int, offset: int) -> bool:
            return (topic_id, partition) == (log.topic_id, log.partition) and offset in offsets

        events = {
            row["kafka_offset"]
            for row in self.events
            if inside(row["kafka_topic_id"], row["kafka_partition"], row["kafka_offset"])
        }
        bare = {key[2]: why for key, why in self.sorted_out.items() if key not in self.quarantined and inside(*key)}
        full = {key[2] for key in self.quarantined if inside(*key)}
        return Stored(frozenset(events), frozenset(full | set(bare)), bare)

    def highest_stored(self, log: Log, above: int) -> int | None:
        self.step("highest_stored")
        found = self._stored(log, Range(above, 2**62))
        return max(found.events | found.quarantine, default=None)

    def quarantine(self, rows: Sequence[QuarantineRow]) -> None:
        self.step("quarantine")
        for row in rows:
            self.quarantined[row.log.topic_id, row.log.partition, row.offset] = row
        self.step("quarantined")

    def list_users(self, log: Log, offsets: Range) -> None:
        self.step("list_users")
        self._list({(log.topic_id, log.partition, offset) for offset in range(offsets.first, offsets.last + 1)})

    def _list(self, positions: set[tuple[str, int, int]]) -> None:
        self.listed |= positions & {position(row) for row in self.events}

    def ledger(self, logs: Mapping[Log, int]) -> dict[Log, list[LedgerRow]]:
        self.step("ledger")
        return {
            log: sorted(
                (row for row in self.ledger_rows.values() if row.log == log and row.offsets.last >= least),
                key=lambda row: row.offsets.first,
            )
            for log, least in logs.items()
        }

    def write_ledger(self, rows: Sequence[LedgerRow]) -> None:
        self.step("write_ledger")
        for row in rows:
            self.ledger_rows[row.log, row.offsets.first, row.offsets.last] = row
        self.step("ledger written")

    def write_progress(self, rows: Sequence[ProgressRow]) -> None:
        self.step("write_progress")
        self.progress.extend(rows)

    def columns(self, table: str) -> dict[str, str]:
        return {}

    def dedup_windows(self) -> dict[str, int]:
        return {}


@dataclass
class FakeDeadLetters:
    """Keeps what was published."""

    step: Callable[[str], None] = lambda _: None
    published: list[QuarantineRow] = field(default_factory=list)

    def publish(self, rows: Sequence[QuarantineRow]) -> None:
        self.step("publish")
        self.published.extend(rows)


def position(row: Mapping[str, Any]) -> tuple[str, int, int]:
    """Where in Kafka a row was."""
    return row["kafka_topic_id"], row["kafka_partition"], row["kafka_offset"]
