"""Moves later copies of events that a producer sent twice from the table to quarantine.

Readers show only the first copy anyway; this keeps the table small and names copies whose content differs. It may be
stopped and repeated at any point: the copies are in quarantine before they leave the table, and a run begins with what
an interrupted one left in both tables. Two runs must not go at the same time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from audit_consumers.clickhouse import ClickHouseStore
from audit_consumers.decoding import Stamp
from audit_consumers.ports import QuarantineRow
from audit_consumers.positions import Log
from audit_schemas.codec import frame
from audit_schemas.errors import ClickHouseBusy
from audit_schemas.row import SELECT, datum_of_row, record_of_row, schema_id_of_row

BATCH = 1000
_POSITION = (
    "kafka_topic",
    "kafka_topic_id",
    "kafka_partition",
    "kafka_offset",
    "toUnixTimestamp64Milli(kafka_timestamp)",
)
_COPIED = (
    "SELECT workspace_id, occurred_at, event_id FROM audit_events"
    " GROUP BY workspace_id, occurred_at, event_id HAVING uniqExact(kafka_topic_id, kafka_partition, kafka_offset) > 1"
    f" ORDER BY workspace_id, occurred_at, event_id LIMIT {BATCH}"
)
_UNFINISHED = (
    "SELECT count() FROM system.mutations WHERE database = currentDatabase() AND table = 'audit_events' AND NOT is_done"
)
_IN_BOTH = (
    "SELECT DISTINCT kafka_topic_id, kafka_partition, kafka_offset FROM audit_events"
    " WHERE (kafka_topic_id, kafka_partition, kafka_offset) IN (SELECT kafka_topic_id, kafka_partition, kafka_offset"
    " FROM audit_quarantine WHERE reason IN ('duplicate', 'conflict')) ORDER BY ALL"
)
_AT_POSITIONS = "(kafka_topic_id, kafka_partition, kafka_offset) IN {positions:Array(Tuple(String, Int32, Int64))}"
Position = tuple[str, int, int]
"""Topic id, partition and offset, as the tables' columns have them."""
# What the producer's stamp says is no difference: a resend by another process is the same event.
_CONTENT = tuple(name for name in SELECT if not name.startswith("producer_") and name != "kafka_schema_id")


@dataclass(frozen=True, slots=True)
class Moved:
    """How many copies went to quarantine: equal ones, and ones whose content differs from the first."""

    duplicates: int = 0
    conflicts: int = 0


def dedupe(store: ClickHouseStore) -> Moved:
    """Moves all later copies there are; returns how many.

    Raises `ClickHouseBusy` while the deletion of an interrupted run is still going on.
    """
    moved = Moved()
    if left := _left_behind(store):
        _remove(store, left)
    while copies := _copies(store):
        store.quarantine(copies)
        _remove(store, _positions(copies))
        conflicts = sum(copy.reason == "conflict" for copy in copies)
        moved = Moved(moved.duplicates + len(copies) - conflicts, moved.conflicts + conflicts)
    return moved


def _copies(store: ClickHouseStore) -> list[QuarantineRow]:
    rows = store.rows(
        f"SELECT {', '.join((*_POSITION, *SELECT))} FROM audit_events"
        f" WHERE (workspace_id, occurred_at, event_id) IN ({_COPIED})"
        " ORDER BY workspace_id, occurred_at, event_id, kafka_timestamp, kafka_topic_id, kafka_partition, kafka_offset"
        " LIMIT 1 BY workspace_id, occurred_at, event_id, kafka_topic_id, kafka_partition, kafka_offset",
        {},
    )
    compared = [len(_POSITION) + SELECT.index(name) for name in _CONTENT]
    at = len(_POSITION)
    identity = [
        at + SELECT.index(name)
        for name in ("workspace_id", "toUnixTimestamp64Micro(occurred_at)", "toString(event_id)")
    ]
    first: Sequence[Any] | None = None
    found = []
    for row in rows:
        if first is None or any(row[index] != first[index] for index in identity):
            first = row
            continue
        producer = record_of_row(row[at:])["producer"]
        same = all(row[index] == first[index] for index in compared)
        found.append(
            QuarantineRow(
                log=Log(row[0], row[1], row[2]),
                offset=row[3],
                timestamp_ms=row[4],
                reason="duplicate" if same else "conflict",
                detail=f"the first is {first[0]}[{first[2]}] offset {first[3]}",
                raw=frame(datum_of_row(row[at:]), schema_id_of_row(row[at:])),
                stamp=Stamp(producer["service"], producer["instance"], producer["seq"]),
            )
        )
    return found


def _left_behind(store: ClickHouseStore) -> list[Position]:
    """The copies of an interrupted run that still are in the table: all of its last batch, or none of it.

    A deletion goes on by itself once the engine has accepted it, so none of a batch is seen half deleted here.
    """
    if store.rows(_UNFINISHED, {})[0][0]:
        raise ClickHouseBusy("an earlier deletion from audit_events still goes on")
    return [(row[0], row[1], row[2]) for row in store.rows(_IN_BOTH, {})]


def _remove(store: ClickHouseStore, positions: Sequence[Position]) -> None:
    store.command(f"DELETE FROM audit_events WHERE {_AT_POSITIONS}", parameters={"positions": positions})


def _positions(copies: Sequence[QuarantineRow]) -> list[Position]:
    return sorted((copy.log.topic_id, copy.log.partition, copy.offset) for copy in copies)


__all__ = ["Moved", "dedupe"]
