"""Batches: a contiguous run of offsets of one log, spliced as it grows, sealed into what is inserted.

Pure: no clock, no driver. What can be refused without decoding is excluded here, with its reason.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from audit_consumers.container import PositionEncoder, build
from audit_consumers.decoding import datum_fault
from audit_consumers.intent import Excluded, longest_fitting
from audit_consumers.positions import Log, Range
from audit_schemas.codec import DATUM_START, HEADER_BYTES, unframe
from audit_schemas.errors import UnknownSchema, WireError
from audit_schemas.event import MAX_EVENT_BYTES

TOMBSTONE, FRAMING, OVERSIZED, UNKNOWN_SCHEMA, UNDECODABLE = (
    "tombstone",
    "framing",
    "oversized",
    UnknownSchema.reason,
    WireError.reason,
)
Schemas = Callable[[int], dict[str, Any]]
"""Writer schema of an id; raises `UnknownSchema` or `RegistryUnavailable`."""


class Record(Protocol):
    """A Kafka record as the client hands it out; methods, because wrapping each would cost more than the splice."""

    def value(self) -> bytes | None:
        """The record's bytes, None for a tombstone."""

    def key(self) -> bytes | str | None:
        """The record's key."""

    def offset(self) -> int:
        """Its offset in the partition."""

    def timestamp(self) -> tuple[int, int]:
        """(type, milliseconds since 1970); with LogAppendTime the broker's clock."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When a batch is full."""

    rows: int = 50_000
    size: int = 32 * 2**20


@dataclass(frozen=True, slots=True)
class Container:
    """What one insert carries: the records of a batch that share a writer schema."""

    schema_id: int
    offsets: tuple[int, ...]
    body: bytes

    @property
    def rows(self) -> int:
        """How many records it holds."""
        return len(self.offsets)


@dataclass(frozen=True, slots=True)
class Batch:
    """A sealed batch. Sealing the same records again gives the same bytes and the same hash."""

    log: Log
    offsets: Range
    records: Sequence[Record]
    excluded: Excluded
    gaps: tuple[Range, ...]
    containers: tuple[Container, ...]
    hash: str
    highest_append: int

    @property
    def rows(self) -> int:
        """Records to be found in events or quarantine once it has landed."""
        return len(self.records)

    @property
    def size(self) -> int:
        """Bytes to send."""
        return sum(len(container.body) for container in self.containers)

    def record_at(self, offset: int) -> Record:
        """The record of an offset of this batch. Raises `KeyError` for gaps."""
        for record in self.records:
            if record.offset() == offset:
                return record
        raise KeyError(offset)


class FormingBatch:
    """A batch that still grows. `first` is the offset after the previous batch, so that gaps are part of a batch.

    `forced` are exclusions known beforehand: those of an open intent, or culprits found in an earlier attempt.
    """

    def __init__(self, log: Log, first: int, schemas: Schemas, forced: Mapping[int, str] | None = None) -> None:
        self.log = log
        self.first = first
        self.records: list[Record] = []
        self.size = 0
        self.opened_at: float | None = None
        self._schemas = schemas
        self._forced = dict(forced or {})
        self._excluded: dict[int, str] = {}
        self._pieces: dict[int, list[bytes]] = {}
        self._offsets: dict[int, list[int]] = {}
        self._encoders: dict[int, PositionEncoder] = {}
        self._highest = 0

    def __len__(self) -> int:
        return len(self.records)

    @property
    def last(self) -> int:
        """The last offset taken in, `first` − 1 when there is none."""
        return self.records[-1].offset() if self.records else self.first - 1

    def full(self, limits: Limits) -> bool:
        """Whether it should be sent without waiting for more."""
        return len(self.records) >= limits.rows or self.size >= limits.size

    def add(self, records: Sequence[Record]) -> None:
        """Takes in further records, in order of offset.

        When the registry can't be reached it raises `RegistryUnavailable` and has taken in those before: `last` says
        how far it came.
        """
        head = b""
        pieces: list[bytes] = []
        offsets: list[int] = []
        encoder: PositionEncoder | None = None
        forced = self._forced
        size = highest = 0
        taken = 0
        try:
            for record in records:
                value = record.value()
                offset = record.offset()
                stamp = record.timestamp()[1]
                if (
                    encoder is None
                    or value is None
                    or value[:HEADER_BYTES] != head
                    or not HEADER_BYTES < len(value) <= MAX_EVENT_BYTES
                    or value[HEADER_BYTES] != DATUM_START
                    or (forced and offset in forced)
                ):
                    reason, schema_id = self._look(value, offset)
                    if reason:
                        self._excluded[offset] = reason
                        highest = max(highest, stamp)
                        taken += 1
                        continue
                    assert value is not None  # noqa: S101 - a missing value has a reason
                    head = value[:HEADER_BYTES]
                    encoder = self._encoders[schema_id]
                    pieces, offsets = self._pieces[schema_id], self._offsets[schema_id]
                pieces.append(encoder(offset, stamp))
                pieces.append(value[HEADER_BYTES:])
                offsets.append(offset)
                size += len(value)
                if stamp > highest:
                    highest = stamp
                taken += 1
        finally:
            self.records.extend(records[:taken])
            self.size += size
            self._highest = max(self._highest, highest)

    def _look(self, value: bytes | None, offset: int) -> tuple[str, int]:
        """Why a record is excluded, or "" and its schema id."""
        if offset in self._forced:
            return self._forced[offset], 0
        if value is None:
            return TOMBSTONE, 0
        if len(value) > MAX_EVENT_BYTES:
            return OVERSIZED, 0
        try:
            schema_id, datum = unframe(value)
            if schema_id not in self._encoders:
                self._schemas(schema_id)
                self._encoders[schema_id] = PositionEncoder(self.log, schema_id)
                self._pieces[schema_id], self._offsets[schema_id] = [], []
        except WireError as error:
            return error.reason, 0
        return ("", schema_id) if datum[0] == DATUM_START else (UNDECODABLE, 0)

    def seal(self, last: int | None = None) -> Batch:
        """The batch as it will be sent, cut shorter when its intent would not fit into a commit; look at its end.

        `last` is given when the batch is known to end beyond its last record (an intent that ends in a gap).
        """
        whole = Range(self.first, self.last if last is None else last)
        fitting = longest_fitting(self.log.topic_id, whole, self._excluded)
        if fitting != whole:
            shorter = FormingBatch(self.log, self.first, self._schemas, self._forced)
            shorter.add([record for record in self.records if record.offset() <= fitting.last])
            return shorter.seal(fitting.last)
        faults = self._faults_of_last_datums()
        if faults:
            stricter = FormingBatch(self.log, self.first, self._schemas, self._excluded | faults)
            stricter.add(self.records)
            return stricter.seal(whole.last)
        containers = tuple(
            Container(
                schema_id, tuple(self._offsets[schema_id]), build(self._schemas(schema_id), len(pieces) // 2, pieces)
            )
            for schema_id, pieces in sorted(self._pieces.items())
            if pieces
        )
        digest = hashlib.sha256()
        for container in containers:
            digest.update(container.body)
        seen = [record.offset() for record in self.records]
        gaps = _gaps(whole, seen) if len(seen) != len(whole) else ()
        return Batch(
            log=self.log,
            offsets=whole,
            records=tuple(self.records),
            excluded=Excluded(dict(self._excluded)),
            gaps=gaps,
            containers=containers,
            hash=digest.hexdigest()[:32],
            highest_append=self._highest,
        )

    def _faults_of_last_datums(self) -> dict[int, str]:
        """The engine swallows bytes left after the last datum of a block, so that one is read here in full."""
        return {
            self._offsets[schema_id][-1]: UNDECODABLE
            for schema_id, pieces in self._pieces.items()
            if pieces and datum_fault(self._schemas(schema_id), pieces[-1])
        }


def reseal(
    log: Log, offsets: Range, records: Sequence[Record], schemas: Schemas, excluded: Mapping[int, str]
) -> list[Batch]:
    """These records again with other exclusions: one batch, or several where the intent of one would not fit."""
    found: list[Batch] = []
    first = offsets.first
    while first <= offsets.last:
        forming = FormingBatch(log, first, schemas, excluded)
        forming.add([record for record in records if record.offset() >= first])
        found.append(forming.seal(offsets.last))
        first = found[-1].offsets.last + 1
    return found


def _gaps(whole: Range, seen: Sequence[int]) -> tuple[Range, ...]:
    """Offsets the log never handed out: transaction markers, compacted or aborted records."""
    found, at = [], whole.first
    for offset in seen:
        if offset > at:
            found.append(Range(at, offset - 1))
        at = offset + 1
    if at <= whole.last:
        found.append(Range(at, whole.last))
    return tuple(found)


__all__ = [
    "FRAMING",
    "OVERSIZED",
    "TOMBSTONE",
    "UNDECODABLE",
    "UNKNOWN_SCHEMA",
    "Batch",
    "Container",
    "FormingBatch",
    "Limits",
    "Record",
    "Schemas",
    "reseal",
]
