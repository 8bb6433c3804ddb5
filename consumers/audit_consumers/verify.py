"""The proof: every offset is in exactly one place.

What operators run after an incident, and what the fault tests run. It reads the tables, never the tokens or counters.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from audit_consumers.clickhouse import ClickHouseStore
from audit_consumers.inspection import PartitionState
from audit_consumers.ports import LANDED, LedgerRow
from audit_consumers.positions import Log, Range, holes

WINDOW = 5_000_000
"""Offsets looked at in one query."""
_COPIES = "('duplicate', 'conflict')"
_COUNTS = (
    "SELECT ledger.first, countIf(e), countIf(NOT e AND c), countIf(q), countIf(e AND (q OR c)) FROM"
    " (SELECT 1 AS k, kafka_offset AS o, max(t = 1) AS e, max(t = 2) AS q, max(t = 3) AS c FROM"
    " (SELECT kafka_offset, 1 AS t FROM audit_events WHERE {where} UNION ALL"
    f" SELECT kafka_offset, if(reason IN {_COPIES}, 3, 2) AS t FROM audit_quarantine WHERE {{where}})"
    " GROUP BY kafka_offset) AS stored ASOF LEFT JOIN"
    " (SELECT 1 AS k, arrayJoin({firsts:Array(Int64)}) AS first) AS ledger"
    " ON stored.k = ledger.k AND stored.o >= ledger.first GROUP BY ledger.first"
)
_WHERE = (
    "kafka_topic_id = {topic_id:String} AND kafka_partition = {partition:Int32}"
    " AND kafka_offset BETWEEN {low:Int64} AND {high:Int64}"
)


@dataclass(slots=True)
class Report:
    """What was looked at and what is wrong; no faults means that the promise holds."""

    logs: int = 0
    ledger_rows: int = 0
    events: int = 0
    quarantined: int = 0
    lost: int = 0
    copies: int = 0
    faults: list[str] = field(default_factory=list)


def verify(store: ClickHouseStore, states: Sequence[PartitionState]) -> Report:
    """Checks every log the ledger or Kafka knows. Batches on their way are no fault: they are still uncommitted."""
    report = Report()
    ledgers = _ledgers(store)
    current = {state.log: state for state in states}
    for log in sorted(set(ledgers) | set(current)):
        rows = ledgers.get(log, [])
        report.logs += 1
        report.ledger_rows += len(rows)
        report.faults += _tiling(log, rows, current.get(log))
        for fault in _contents(store, log, rows, report):
            report.faults.append(fault)
    report.faults += _strays(store, ledgers)
    return report


def _ledgers(store: ClickHouseStore) -> dict[Log, list[LedgerRow]]:
    logs = [
        Log(*row)
        for row in store.rows("SELECT DISTINCT kafka_topic, kafka_topic_id, kafka_partition FROM audit_ledger", {})
    ]
    return store.ledger(dict.fromkeys(logs, 0))


def _tiling(log: Log, rows: Sequence[LedgerRow], state: PartitionState | None) -> Iterator[str]:
    """The ranges follow one another, and reach as far as what is committed."""
    for before, after in pairwise(rows):
        if after.offsets.first <= before.offsets.last:
            yield f"{log}: ledger rows {before.offsets} and {after.offsets} overlap"
        elif after.offsets.first > before.offsets.last + 1:
            yield f"{log}: no ledger row for {Range(before.offsets.last + 1, after.offsets.first - 1)}"
    if state is None or state.committed.offset is None or state.committed.metadata.topic_id not in ("", log.topic_id):
        return
    start = rows[0].offsets.first if rows else min(state.bounds.start, state.committed.offset)
    if state.committed.offset > start:
        whole = Range(start, state.committed.offset - 1)
        for hole in holes([row.offsets for row in rows], whole):
            if not rows or hole.first > rows[-1].offsets.last:
                yield f"{log}: committed, but no ledger row for {hole}"


def _contents(store: ClickHouseStore, log: Log, rows: Sequence[LedgerRow], report: Report) -> Iterator[str]:
    """Events and quarantine hold exactly the offsets each ledger row says."""
    for chunk in _chunks(rows):
        found = {
            row[0]: tuple(row[1:])
            for row in store.rows(
                _COUNTS.replace("{where}", _WHERE),
                {
                    "topic_id": log.topic_id,
                    "partition": log.partition,
                    "low": chunk[0].offsets.first,
                    "high": chunk[-1].offsets.last,
                    "firsts": [row.offsets.first for row in chunk],
                },
            )
        }
        for row in chunk:
            events, copies, quarantined, both = found.get(row.offsets.first, (0, 0, 0, 0))
            report.events += events
            report.copies += copies
            report.quarantined += quarantined
            if row.kind != LANDED:
                report.lost += len(row.offsets)
            expected = len(row.offsets) - sum(map(len, row.gaps)) if row.kind == LANDED else 0
            if events + copies + quarantined != expected:
                yield f"{log} {row.offsets}: {expected} records, but {events + copies + quarantined} are stored"
            if events + copies != row.rows_events or quarantined != row.rows_quarantine:
                yield (
                    f"{log} {row.offsets}: the ledger says {row.rows_events} events and {row.rows_quarantine} in"
                    f" quarantine, the tables {events + copies} and {quarantined}"
                )
            if both:
                yield f"{log} {row.offsets}: {both} offsets are in events and in quarantine"


def _chunks(rows: Sequence[LedgerRow]) -> Iterator[list[LedgerRow]]:
    chunk: list[LedgerRow] = []
    for row in rows:
        if chunk and row.offsets.last - chunk[0].offsets.first >= WINDOW:
            yield chunk
            chunk = []
        chunk.append(row)
    if chunk:
        yield chunk


def _strays(store: ClickHouseStore, ledgers: dict[Log, list[LedgerRow]]) -> Iterator[str]:
    """Rows below the ledger's first offset belong to no batch. Beyond its end they belong to one on its way."""
    lowest: dict[tuple[str, int], int] = defaultdict(lambda: 2**63 - 1)
    for log, rows in ledgers.items():
        if rows:
            lowest[log.topic_id, log.partition] = rows[0].offsets.first
    for table in ("audit_events", "audit_quarantine"):
        for topic_id, partition, least in store.rows(
            f"SELECT kafka_topic_id, kafka_partition, min(kafka_offset) FROM {table} GROUP BY 1, 2", {}
        ):
            if (topic_id, partition) in lowest and least < lowest[topic_id, partition]:
                yield f"{table} holds offset {least} of {topic_id}[{partition}], which is in no ledger row"


__all__ = ["Report", "verify"]
