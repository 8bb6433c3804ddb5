"""From the records of one assigned partition to sealed batches, cut where the past demands it. Pure.

The past is a `Plan`: an open intent must be made again byte for byte, ranges in the ledger are left out, and what may
be stored already is kept apart from what can't be.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from audit_consumers.batch import Batch, FormingBatch, Limits, Record, Schemas
from audit_consumers.resume import Plan


class Past(Enum):
    """What may have happened to a batch before."""

    NONE = "none"
    SAME_BYTES = "same bytes"
    """An earlier worker may have sent exactly this, under the same token."""
    UNKNOWN = "unknown"
    """Some of its rows may be stored, under tokens nobody knows: look before inserting."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A batch and its past."""

    batch: Batch
    past: Past


class Feed:
    """Forms batches for one partition.

    `behind` holds records that wait because the registry could not be asked; offer them again with `add(())`.
    """

    def __init__(self, plan: Plan, schemas: Schemas, limits: Limits) -> None:
        self.plan = plan
        self.sealed: deque[Sealed] = deque()
        self.behind: list[Record] = []
        self._schemas = schemas
        self._limits = limits
        self._covered = deque(plan.covered)
        self._intent = plan.intent
        self._forming = self._new(plan.start)

    @property
    def next_offset(self) -> int:
        """The first offset not yet taken in."""
        return max(self._forming.last + 1, self._forming.first)

    @property
    def opened_at(self) -> float | None:
        """When the batch that forms got its first record, None when it has none."""
        return self._forming.opened_at

    @property
    def size(self) -> int:
        """Bytes held in memory."""
        return self._forming.size + sum(sealed.batch.size for sealed in self.sealed)

    @property
    def idle(self) -> bool:
        """Whether nothing waits in here."""
        return not self.sealed and not len(self._forming) and not self.behind

    def add(self, records: Sequence[Record], now: float) -> int | None:
        """Takes in records in order of offset; returns the offset to jump to when a covered range follows.

        Raises `RegistryUnavailable` after keeping the rest in `behind`.
        """
        pending = [*self.behind, *records] if self.behind else list(records)
        self.behind = []
        jump: int | None = None
        while pending:
            edge = self._edge()
            cut = len(pending) if edge is None or pending[-1].offset() < edge else _index_of(pending, edge)
            self._take(pending[:cut], pending, now)
            pending = pending[cut:]
            if edge is not None and (pending or self._forming.last == edge - 1):
                self._seal(edge - 1)
                jump = self._skip()
                if jump is not None:
                    pending = [record for record in pending if record.offset() >= jump]
            elif self._forming.full(self._limits) and self._intent is None:
                self._seal(None)
        return jump

    def waited(self, now: float) -> float:
        """How long the batch that forms has waited for company, in seconds; a batch of an open intent never does."""
        opened = self._forming.opened_at
        return 0.0 if opened is None or self._intent is not None else now - opened

    def seal(self) -> None:
        """Ends the batch that forms, as it is; one of an open intent waits for its end."""
        if self._forming.opened_at is not None and self._intent is None:
            self._seal(None)

    def _take(self, records: list[Record], pending: list[Record], now: float) -> None:
        if not records:
            return
        if self._forming.opened_at is None:
            self._forming.opened_at = now
        try:
            self._forming.add(records)
        except BaseException:
            last = self._forming.last
            self.behind = [record for record in pending if record.offset() > last]
            raise

    def _edge(self) -> int | None:
        """The first offset the forming batch must not hold."""
        if self._intent is not None:
            return self._intent.offsets.last + 1
        edges = [part.first for part in list(self._covered)[:1]]
        if self._forming.first < self.plan.doubt_until:
            edges.append(self.plan.doubt_until)
        return min(edges, default=None)

    def _seal(self, last: int | None) -> None:
        """Seals up to `last`, or up to what was taken in; what did not fit begins the next batch."""
        if last is not None and last < self._forming.first:
            return
        forming, intent = self._forming, self._intent
        batch = forming.seal(last)
        past = Past.NONE
        if intent is not None:
            past = Past.SAME_BYTES if batch.hash == intent.hash and batch.offsets == intent.offsets else Past.UNKNOWN
        elif forming.first < self.plan.doubt_until:
            past = Past.UNKNOWN
        self._intent = None
        self.sealed.append(Sealed(batch, past))
        self._forming = self._new(batch.offsets.last + 1)
        left = [record for record in forming.records if record.offset() > batch.offsets.last]
        if left:
            self._forming.opened_at = forming.opened_at
            self._forming.add(left)
        if last is not None and batch.offsets.last < last:
            self._seal(last)

    def _skip(self) -> int | None:
        jump = None
        while self._covered and self._covered[0].first <= self._forming.first and not len(self._forming):
            jump = max(self._covered.popleft().last + 1, self._forming.first)
            self._forming = self._new(jump)
        return jump

    def _new(self, first: int) -> FormingBatch:
        forced = self._intent.excluded.reasons if self._intent is not None else None
        return FormingBatch(self.plan.log, first, self._schemas, forced)


def _index_of(records: Sequence[Record], edge: int) -> int:
    """How many records lie before `edge`."""
    return next((index for index, record in enumerate(records) if record.offset() >= edge), len(records))


__all__ = ["Feed", "Past", "Sealed"]
