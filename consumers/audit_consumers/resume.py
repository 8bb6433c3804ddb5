"""Where to go on with a partition that was just assigned: from the commit, the ledger and the tables. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from audit_consumers.intent import Intent
from audit_consumers.ports import Bounds, Committed, LedgerRow
from audit_consumers.positions import Log, Range, contiguous_end, merged


@dataclass(frozen=True, slots=True)
class Plan:
    """How a partition goes on.

    `start`: first offset to read. `covered`: ranges beyond it that need no work. `intent`: the batch at `start` that an
    earlier worker may have sent. Offsets below `doubt_until` may be in the tables already.
    """

    log: Log
    partition_count: int
    start: int
    covered: tuple[Range, ...] = ()
    intent: Intent | None = None
    doubt_until: int = 0


@dataclass(frozen=True, slots=True)
class Stopped:
    """Why a partition can't go on until an operator decides; `missing` is the range Kafka no longer has."""

    log: Log
    reason: str
    missing: Range


def first_needed(log: Log, committed: Committed, ledger: Sequence[LedgerRow], bounds: Bounds) -> int:
    """The first offset that is neither committed nor in the ledger.

    A commit that was made for another incarnation of the topic counts in another log and says nothing here. Without a
    commit the ledger leads, and without a ledger the log's beginning.
    """
    covered = merged(row.offsets for row in ledger)
    if committed.offset is not None and committed.metadata.topic_id in ("", log.topic_id):
        return contiguous_end(covered, committed.offset)
    base = min(covered[0].first, bounds.start) if covered else bounds.start
    return contiguous_end(covered, base)


def plan(
    log: Log,
    partition_count: int,
    committed: Committed,
    ledger: Sequence[LedgerRow],
    highest_stored: int | None,
    bounds: Bounds,
) -> Plan | Stopped:
    """Decides. `highest_stored` is of offsets from `first_needed` on, `ledger` holds all rows that reach that far."""
    start = first_needed(log, committed, ledger, bounds)
    if start > bounds.end:
        return Stopped(log, "the log ends before what is committed or in the ledger", Range(bounds.end, start - 1))
    if start < bounds.start:
        return Stopped(log, "the log begins after the first offset that is needed", Range(start, bounds.start - 1))
    covered = tuple(part for part in merged(row.offsets for row in ledger) if part.first > start)
    intent = committed.metadata.intent
    doubt_until = start if highest_stored is None else max(start, highest_stored + 1)
    if intent is not None and (committed.metadata.topic_id != log.topic_id or intent.offsets.first != start):
        # Reached from another start, the intent's bytes can't be made again; its rows are found by looking.
        if committed.metadata.topic_id == log.topic_id:
            doubt_until = max(doubt_until, intent.offsets.last + 1)
        intent = None
    if intent is not None and any(part.first <= intent.offsets.last for part in covered):
        doubt_until, intent = max(doubt_until, intent.offsets.last + 1), None
    return Plan(log, partition_count, start, covered, intent, doubt_until)


__all__ = ["Plan", "Stopped", "first_needed", "plan"]
