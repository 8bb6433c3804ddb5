"""What the worker knows about one assigned partition, and the one batch of it that is on its way. No I/O."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum

from audit_consumers.batch import Batch
from audit_consumers.feed import Feed, Past
from audit_consumers.intent import CommitMetadata, Intent
from audit_consumers.limits import BadRecords
from audit_consumers.ports import LedgerRow
from audit_consumers.positions import TopicPartition, contiguous_end
from audit_consumers.progress import Progress

RESEND_AGE_MS = 3_600_000
"""After an hour a token may have left ClickHouse's deduplication window, so a resend could store rows again."""


class Status(Enum):
    """Whether records of the partition are read."""

    RESOLVING = "resolving"
    RUNNING = "running"
    STOPPED = "stopped"
    """The log lacks a range that is needed; asked again until an operator accepts the loss."""
    HALTED = "halted"
    """Too many bad records; stays so until the worker is started again."""


class Stage(Enum):
    """How far a batch is. Its intent is committed from `SENT` on."""

    NEEDS_INTENT = "needs intent"
    SENT = "sent"
    LANDED = "landed"
    LEDGERED = "ledgered"


@dataclass(slots=True)
class Work:
    """A batch on its way: intent → insert → ledger → commit, each step confirmed before the next."""

    batch: Batch
    past: Past
    formed_at: float
    stage: Stage = Stage.NEEDS_INTENT
    intent: Intent | None = None
    born_ms: int = 0
    retry_at: float = 0.0
    attempts: int = 0
    cancelled: bool = False
    row: LedgerRow | None = None

    def intent_at(self, now_ms: int) -> Intent:
        """The intent to commit before anything is sent."""
        return Intent(self.batch.offsets, self.batch.excluded, self.batch.hash, now_ms)

    def resend(self, now_ms: int) -> bool:
        """Whether the same bytes may be sent again under the same token."""
        return self.past is Past.SAME_BYTES and now_ms - self.born_ms < RESEND_AGE_MS


@dataclass(slots=True)
class Assigned:
    """One partition that is ours. `number` is the assignment's: results that carry an older one are dropped."""

    partition: TopicPartition
    number: int
    bad: BadRecords
    progress: Progress
    status: Status = Status.RESOLVING
    why: str = ""
    ask_again_at: float = 0.0
    asking: bool = False
    gone: bool = False
    """Not ours any more."""
    held: bool = False
    """An operator paused it: no more of it is read."""
    feed: Feed | None = None
    work: Work | None = None
    committed: int | None = None
    ledgered_end: int = 0
    line: deque[Work] = field(default_factory=deque)
    """Batches taken from the feed that wait for their intent: the next one, or those an exclusion split."""

    @property
    def topic_id(self) -> str:
        """The id the current feed reads under."""
        return self.feed.plan.log.topic_id if self.feed else ""

    @property
    def size(self) -> int:
        """Bytes in memory."""
        waiting = self.feed.size if self.feed else 0
        return waiting + (self.work.batch.size if self.work else 0) + sum(work.batch.size for work in self.line)

    @property
    def backlog(self) -> int:
        """Sealed batches that wait for their intent."""
        return len(self.line) + (len(self.feed.sealed) if self.feed else 0)

    def waiting_work(self, now: float) -> Work | None:
        """The batch that goes next, None when none is sealed. It stays first in line until `started`."""
        if not self.line and self.feed is not None and self.feed.sealed:
            sealed = self.feed.sealed.popleft()
            work = Work(sealed.batch, sealed.past, now)
            if sealed.past is Past.SAME_BYTES and self.feed.plan.intent is not None:
                work.born_ms = self.feed.plan.intent.at_ms
            self.line.append(work)
        return self.line[0] if self.line else None

    def started(self, work: Work) -> None:
        """The intent of this batch is committed."""
        if self.line and self.line[0] is work:
            self.line.popleft()
        self.work = work

    def ledgered_to(self, end: int) -> None:
        """Everything before `end` needs no work; ranges that were in the ledger beforehand follow on."""
        covered = self.feed.plan.covered if self.feed is not None else ()
        self.ledgered_end = contiguous_end(covered, end)

    def metadata(self, intent: Intent | None) -> CommitMetadata:
        """What to say beside a commit."""
        return CommitMetadata(self.topic_id, intent)

    def forget(self) -> None:
        """Drops all that is in memory; what Kafka and the tables hold is enough to go on from."""
        if self.work is not None:
            self.work.cancelled = True
        self.feed = self.work = None
        self.line.clear()
        self.status = Status.RESOLVING
        self.ask_again_at = 0.0
        self.progress = Progress(self.progress.margin_ms)


__all__ = ["RESEND_AGE_MS", "Assigned", "Stage", "Status", "Work"]
