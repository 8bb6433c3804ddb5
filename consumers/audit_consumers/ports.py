"""What the worker needs from Kafka and ClickHouse, as contracts. One test suite holds the real ones and the fakes to them.

Every call may raise the errors of `audit_schemas.errors` and nothing else on purpose: `Transient` means try again,
`Refused` and `ContractBroken` mean stop.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from audit_consumers.batch import Container, Record
from audit_consumers.decoding import Stamp
from audit_consumers.intent import CommitMetadata
from audit_consumers.positions import Log, Range, TopicPartition


class Clock(Protocol):
    """Time comes in from outside."""

    def monotonic(self) -> float:
        """Seconds that only grow."""

    def now_ms(self) -> int:
        """Milliseconds since 1970, UTC."""


@dataclass(frozen=True, slots=True)
class Committed:
    """What the group holds for a partition: `offset` is None when it never committed or the commit expired."""

    offset: int | None
    metadata: CommitMetadata


@dataclass(frozen=True, slots=True)
class Bounds:
    """`start`: first offset Kafka still has. `end`: one beyond the last."""

    start: int
    end: int


class Assignments(Protocol):
    """Who is told of rebalances. Called on the polling thread, from inside `GroupConsumer.poll` and `close`."""

    def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """These are ours from now on; they are paused and hand out nothing until `resume_at`."""

    def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """These go to another member when this returns; until then they are ours and may be committed."""

    def lost(self, partitions: Sequence[TopicPartition]) -> None:
        """These went to another member some time ago; nothing may be committed."""


class GroupConsumer(Protocol):
    """A member of the consumer group. All calls on one thread, the polling one."""

    def poll(self, limit: int, timeout: float) -> list[tuple[TopicPartition, list[Record]]]:
        """Up to `limit` records in order of offset per partition; waits at most `timeout` seconds for the first.

        Rebalances are reported from in here. A partition whose position Kafka refuses appears in `out_of_range`.
        """

    def committed(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, Committed]:
        """What the group committed last. Blocks for a round trip."""

    def commit(self, offsets: Mapping[TopicPartition, tuple[int, CommitMetadata]]) -> set[TopicPartition]:
        """Commits and waits; returns the partitions whose commit was taken.

        The rest was refused because a rebalance is going on or the session expired: poll, and try again while they are
        still assigned. Only assigned partitions may be passed: the broker itself takes commits of others.
        """

    def resume_at(self, partition: TopicPartition, offset: int) -> None:
        """Hands out records from `offset` on; nothing from before is handed out afterwards."""

    def pause(self, partition: TopicPartition) -> None:
        """Hands out no more for now. Repeating it does nothing."""

    def resume(self, partition: TopicPartition) -> None:
        """Goes on where it paused."""

    def take_out_of_range(self) -> set[TopicPartition]:
        """Partitions whose position lies outside the log, since the last call."""

    def close(self) -> None:
        """Leaves the group; reports the revocation first."""


class Cluster(Protocol):
    """Questions to the Kafka cluster. Thread-safe; every call is a fresh answer, never a cached one."""

    def cluster_id(self) -> str:
        """The cluster's id."""

    def topic_ids(self, topics: Iterable[str]) -> dict[str, tuple[str, int]]:
        """Id and number of partitions of each topic that exists."""

    def bounds(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, Bounds]:
        """First and end offset of each partition."""

    def missed(self, partition: TopicPartition, gaps: Sequence[Range]) -> list[int]:
        """The offsets of these ranges, in order, at which the log holds a record after all; reads the log again.

        Transaction markers, aborted and compacted records are none. When the log has lost the beginning meanwhile, the
        first offset counts as missed: nobody can say any more. Blocks for as long as reading from the first gap to the
        last takes.
        """


@dataclass(frozen=True, slots=True)
class QuarantineRow:
    """A record that is not in events. `raw` is its Kafka value, None for a tombstone; `stamp` is None if unreadable."""

    log: Log
    offset: int
    timestamp_ms: int
    reason: str
    detail: str = ""
    raw: bytes | None = None
    key: bytes | None = None
    stamp: Stamp | None = None


class DeadLetters(Protocol):
    """The topic that gets a copy of every quarantined record. Thread-safe."""

    def publish(self, rows: Sequence[QuarantineRow]) -> None:
        """Returns when all are acknowledged. Repeating it publishes again: readers tell copies by their position."""


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """A range of offsets that needs no further work, and why."""

    log: Log
    offsets: Range
    kind: str
    excluded: str = ""
    gaps: tuple[Range, ...] = ()
    rows_events: int = 0
    rows_quarantine: int = 0
    hash: str = ""
    highest_append_ms: int = 0


LANDED, LOST, SKIPPED = "landed", "lost", "skipped"


@dataclass(frozen=True, slots=True)
class Stored:
    """Offsets of a range that are in the tables; `bare` are those in quarantine without their bytes, with reasons."""

    events: frozenset[int]
    quarantine: frozenset[int]
    bare: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class ProgressRow:
    """Every record of `log` appended before `complete_through_ms` is stored."""

    log: Log
    partition_count: int
    complete_through_ms: int
    end_offset: int
    at_ms: int


class Store(Protocol):
    """The tables. Thread-safe; every call blocks until ClickHouse answered and none is retried inside."""

    def insert(self, container: Container, token: str, comment: str) -> None:
        """Sends a container into `audit_ingest`.

        Returning says that ClickHouse reported success, not that the rows are there: under a token it has seen before
        it inserts nothing. Any error but `RowRejected` leaves open whether the rows landed. Safe to repeat under the
        same token with the same bytes, also beside an older attempt that still runs. Under the same token with other
        bytes rows would be lost. `comment` is how `running` finds the attempt.
        """

    def readable(self, container: Container) -> bool:
        """Whether the engine can read every row of the container; stores nothing."""

    def running(self, comment: str) -> bool:
        """Whether an insert with this comment still runs on the server."""

    def counts(self, log: Log, offsets: Range, since_ms: int) -> tuple[int, int]:
        """How many distinct offsets of the range are in events and in quarantine, in rows written after `since_ms`."""

    def stored(self, log: Log, offsets: Range) -> Stored:
        """Which offsets of the range are in the tables, whenever they were written."""

    def highest_stored(self, log: Log, above: int) -> int | None:
        """The highest stored offset ≥ `above`, None when there is none."""

    def quarantine(self, rows: Sequence[QuarantineRow]) -> None:
        """Writes rows with their bytes; a row of the same position is replaced. Safe to repeat."""

    def list_users(self, log: Log, offsets: Range) -> None:
        """Adds who acted in the range to the list of users, which an insert that broke off may not have reached.

        Safe to repeat.
        """

    def ledger(self, logs: Mapping[Log, int]) -> dict[Log, list[LedgerRow]]:
        """Ledger rows of each log that reach to the given offset or beyond, by first offset."""

    def write_ledger(self, rows: Sequence[LedgerRow]) -> None:
        """Adds rows; durable when it returns. Safe to repeat."""

    def write_progress(self, rows: Sequence[ProgressRow]) -> None:
        """Publishes progress. Safe to repeat; readers take the greatest."""

    def columns(self, table: str) -> dict[str, str]:
        """Name and type of the columns an insert into the table fills, in order. Raises `ContractBroken` if absent."""

    def dedup_windows(self) -> dict[str, int]:
        """The deduplication window of every table that an insert reaches."""


__all__ = [
    "LANDED",
    "LOST",
    "SKIPPED",
    "Assignments",
    "Bounds",
    "Clock",
    "Cluster",
    "Committed",
    "DeadLetters",
    "GroupConsumer",
    "LedgerRow",
    "ProgressRow",
    "QuarantineRow",
    "Store",
    "Stored",
]
