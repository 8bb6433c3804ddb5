"""One attempt to land a batch, and what is known afterwards. Runs on a pool thread; commits are the poller's business.

A clean first success is checked by counting. Everything else is doubt, and doubt is settled by looking at the tables:
a token makes a repeat cheap, it proves nothing, because ClickHouse writes the token down before the part is in place.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from audit_consumers.batch import UNDECODABLE, Batch, Container, Record, Schemas, reseal
from audit_consumers.container import PositionEncoder, build
from audit_consumers.decoding import Stamp, datum_fault, stamp_of
from audit_consumers.intent import token_base
from audit_consumers.ports import LANDED, Clock, DeadLetters, LedgerRow, QuarantineRow, Store
from audit_consumers.positions import Range
from audit_schemas.codec import unframe
from audit_schemas.errors import (
    AuditError,
    ClickHouseBusy,
    ClickHouseUnavailable,
    RowRejected,
    Transient,
    WireError,
)

HEAL_ROUNDS = 5
_CLOCK_SLACK_MS = 60_000


@dataclass(frozen=True, slots=True)
class Landed:
    """Every offset of the batch is in events or quarantine. `insert_s`: what the inserts alone took, in seconds."""

    row: LedgerRow
    insert_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Doubtful:
    """The rows may or may not be there; settle it after a fresh intent."""

    cause: AuditError


@dataclass(frozen=True, slots=True)
class TooLate:
    """The intent was too old to send anything; commit it again first."""


@dataclass(frozen=True, slots=True)
class Culprits:
    """Rows the engine can't read, with reasons; nothing of the batch was stored. Commit an intent without them."""

    reasons: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Impossible:
    """Tables, schema or permissions are wrong: stop."""

    cause: AuditError


Outcome = Landed | Doubtful | TooLate | Culprits | Impossible
Fresh = Callable[[], bool]
"""Whether the intent is still young enough, and the partition still ours, to send something under it."""


class _NotFreshError(Exception):
    """The intent grew too old between two steps."""


@dataclass(frozen=True, slots=True)
class Lander:
    """Lands batches through a store. Thread-safe when its parts are."""

    store: Store
    dead_letters: DeadLetters
    schemas: Schemas
    cluster_id: str
    clock: Clock

    def land(self, batch: Batch, fresh: Fresh, now_ms: int) -> Outcome:
        """The first attempt, when no earlier one can have happened."""
        return self._outcome(lambda: self._first(batch, fresh, now_ms), batch)

    def settle(self, batch: Batch, fresh: Fresh, *, resend: bool) -> Outcome:
        """An attempt in doubt. `resend` when the batch is known to be byte for byte the earlier one."""
        return self._outcome(lambda: self._settled(batch, fresh, resend=resend), batch)

    def _outcome(self, attempt: Callable[[], Landed], batch: Batch) -> Outcome:
        try:
            return attempt()
        except _NotFreshError:
            return TooLate()
        except RowRejected as error:
            return self._culprits(batch, error)
        except Transient as error:
            return Doubtful(error)
        except AuditError as error:
            return Impossible(error)

    def _first(self, batch: Batch, fresh: Fresh, now_ms: int) -> Landed:
        begun = self.clock.monotonic()
        self._insert_all(batch, fresh)
        insert_s = self.clock.monotonic() - begun
        self._quarantine_excluded(batch)
        events, quarantined = self.store.counts(batch.log, batch.offsets, now_ms - _CLOCK_SLACK_MS)
        if events + quarantined != batch.rows:
            raise ClickHouseUnavailable(
                f"{batch.log} {batch.offsets}: {batch.rows} rows sent, {events} + {quarantined} found"
            )
        if quarantined > len(batch.excluded):
            self._keep_bytes(batch)
        return Landed(_ledger_row(batch, events, quarantined), insert_s)

    def _settled(self, batch: Batch, fresh: Fresh, *, resend: bool) -> Landed:
        """Looks, and sends what is missing, until everything is there.

        While nothing is stored, the whole batch goes again under its first token, which is safe beside an older attempt
        that still runs. Once some rows are stored only the rest may go, and only when no older attempt runs any more.
        """
        self._quarantine_excluded(batch)
        comment = self._comment(batch)
        expected = frozenset(record.offset() for record in batch.records)
        for attempt in range(1, HEAL_ROUNDS + 1):
            stored = self.store.stored(batch.log, batch.offsets)
            missing = expected - stored.events - stored.quarantine
            if missing and resend and len(missing) == sum(container.rows for container in batch.containers):
                self._insert_all(batch, fresh)
                resend = False
                continue
            if self.store.running(comment):
                raise ClickHouseUnavailable(f"{batch.log} {batch.offsets}: an older attempt still runs")
            if not missing:
                self._keep_bytes(batch)
                self.store.list_users(batch.log, batch.offsets)
                return Landed(_ledger_row(batch, len(stored.events), len(stored.quarantine - stored.events)))
            self._heal(batch, missing, fresh, attempt)
        raise ClickHouseUnavailable(f"{batch.log} {batch.offsets}: rows are still missing after {HEAL_ROUNDS} rounds")

    def _insert_all(self, batch: Batch, fresh: Fresh) -> None:
        base = token_base(self.cluster_id, batch.log.topic_id, batch.log.partition, batch.offsets)
        for container in batch.containers:
            _require(fresh)
            self.store.insert(container, f"{base}:s{container.schema_id}:{batch.hash}", self._comment(batch))

    def _heal(self, batch: Batch, missing: frozenset[int], fresh: Fresh, attempt: int) -> None:
        """Inserts just the missing rows. The token holds their hash, since equal tokens must mean equal bytes."""
        base = token_base(self.cluster_id, batch.log.topic_id, batch.log.partition, batch.offsets)
        for whole in batch.containers:
            offsets = [offset for offset in whole.offsets if offset in missing]
            if offsets:
                part = self._part(batch, whole.schema_id, offsets)
                digest = hashlib.sha256(part.body).hexdigest()[:32]
                _require(fresh)
                self.store.insert(part, f"{base}:s{whole.schema_id}:r{attempt}:{digest}", self._comment(batch))

    def _part(self, batch: Batch, schema_id: int, offsets: list[int]) -> Container:
        wanted = set(offsets)
        return self._container(batch, schema_id, [record for record in batch.records if record.offset() in wanted])

    def _container(self, batch: Batch, schema_id: int, records: list[Record]) -> Container:
        encode = PositionEncoder(batch.log, schema_id)
        pieces: list[bytes] = []
        for record in records:
            pieces += (encode(record.offset(), record.timestamp()[1]), (record.value() or b"")[5:])
        body = build(self.schemas(schema_id), len(records), pieces)
        return Container(schema_id, tuple(record.offset() for record in records), body)

    def _comment(self, batch: Batch) -> str:
        return f"audit-log {token_base(self.cluster_id, batch.log.topic_id, batch.log.partition, batch.offsets)}"

    def _quarantine_excluded(self, batch: Batch) -> None:
        if len(batch.excluded):
            self._quarantine(batch, batch.excluded.reasons)

    def _keep_bytes(self, batch: Batch) -> None:
        """The views know a bad row's values, only the worker has its bytes."""
        bare = self.store.stored(batch.log, batch.offsets).bare
        if bare:
            self._quarantine(batch, bare)

    def _quarantine(self, batch: Batch, reasons: Mapping[int, str]) -> None:
        rows = [
            QuarantineRow(
                log=batch.log,
                offset=record.offset(),
                timestamp_ms=record.timestamp()[1],
                reason=reasons[record.offset()],
                raw=record.value(),
                key=_bytes(record.key()),
                stamp=self._stamp(record.value()),
            )
            for record in batch.records
            if record.offset() in reasons
        ]
        self.dead_letters.publish(rows)
        self.store.quarantine(rows)

    def _stamp(self, value: bytes | None) -> Stamp | None:
        """A quarantined event is stored, so its number must not look like a lost one."""
        try:
            schema_id, datum = unframe(value or b"")
            return stamp_of(self.schemas(schema_id), datum)
        except WireError:
            return None

    def _culprits(self, batch: Batch, rejected: RowRejected) -> Outcome:
        """Which rows made the engine refuse the insert: by decoding them, and where that finds none by asking it."""
        try:
            reasons = self._undecodable(batch) or self._unreadable(batch)
        except AuditError as error:
            return Doubtful(error) if error.retriable else Impossible(error)
        if reasons:
            return Culprits(reasons)
        # Nothing was stored and nothing is at fault, so nothing may be dropped: wait, and let the alarm speak.
        return Doubtful(ClickHouseBusy(f"{batch.log} {batch.offsets}: refused, but no row is at fault: {rejected}"))

    def _undecodable(self, batch: Batch) -> dict[int, str]:
        inside = {offset: container.schema_id for container in batch.containers for offset in container.offsets}
        return {
            record.offset(): UNDECODABLE
            for record in batch.records
            if record.offset() in inside
            and datum_fault(self.schemas(inside[record.offset()]), (record.value() or b"")[5:])
        }

    def _unreadable(self, batch: Batch) -> dict[int, str]:
        """Halves each container until the rows the engine can't read stand alone."""
        found: dict[int, str] = {}
        for container in batch.containers:
            pending = [list(container.offsets)]
            while pending:
                offsets = pending.pop()
                if self.store.readable(self._part(batch, container.schema_id, offsets)):
                    continue
                if len(offsets) == 1:
                    found[offsets[0]] = UNDECODABLE
                else:
                    middle = len(offsets) // 2
                    pending += (offsets[:middle], offsets[middle:])
        return found


def without(batch: Batch, culprits: Mapping[int, str], schemas: Schemas) -> list[Batch]:
    """The batch again with the culprits excluded; several where one intent can't name them all."""
    return reseal(batch.log, batch.offsets, batch.records, schemas, batch.excluded.plus(culprits).reasons)


def _require(fresh: Fresh) -> None:
    if not fresh():
        raise _NotFreshError


def _bytes(key: bytes | str | None) -> bytes | None:
    return key.encode() if isinstance(key, str) else key


def _ledger_row(batch: Batch, events: int, quarantined: int) -> LedgerRow:
    return LedgerRow(
        log=batch.log,
        offsets=Range(batch.offsets.first, batch.offsets.last),
        kind=LANDED,
        excluded=batch.excluded.text(batch.offsets.first),
        gaps=batch.gaps,
        rows_events=events,
        rows_quarantine=quarantined,
        hash=batch.hash,
        highest_append_ms=batch.highest_append,
    )


__all__ = ["Culprits", "Doubtful", "Fresh", "Impossible", "Landed", "Lander", "Outcome", "TooLate", "without"]
