"""Where parts begin and end, and what an export fixes when it starts, as queries. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from audit_query.exports.form import Form
from audit_query.exports.part import Key, Positions, Slice
from audit_query.filters import Filter
from audit_query.sql import FIRST_COPY, Query, where_first


def piece(form: Form, first: Key | None, last: Key | None, positions: Positions) -> Slice:
    """The slice from the first to the last row of a part, in the order of the form; None where it is open."""
    newest, oldest = (last, first) if form.ascending else (first, last)
    return Slice(newest, oldest, positions)


def cut(workspace_id: str, filter_: Filter, form: Form, rest: Slice, rows: int) -> Query:
    """(occurred_at in µs, event id) of the last of the next `rows` events and of the one behind it, as far as they are.

    One thread, reading no further than that.
    """
    base = where_first(workspace_id, filter_, rest.condition())
    order = "ASC" if form.ascending else "DESC"
    return Query(
        "SELECT toUnixTimestamp64Micro(occurred_at), toString(event_id) FROM audit_events"
        f" WHERE {base.sql} ORDER BY occurred_at {order}, event_id {order}, {FIRST_COPY}"
        " LIMIT 1 BY occurred_at, event_id LIMIT 2 OFFSET {skipped:UInt64}"
        " SETTINGS max_threads = 1, read_in_order_use_buffering = 0",
        {**base.values, "skipped": rows - 1},
        stops_early=True,
    )


def ends(found: Sequence[Sequence[Any]]) -> tuple[Key | None, Key | None]:
    """From the rows of `cut`: the last key of the part, and the first of the next; None where the export ends."""
    keys = [Key(at, event_id) for at, event_id in found]
    return (keys[0], keys[1]) if len(keys) == 2 else (None, None)


def count(workspace_id: str, filter_: Filter, positions: Positions) -> Query:
    """How many events there are in all."""
    base = where_first(workspace_id, filter_, Slice(positions=positions).condition())
    return Query(
        "SELECT count() FROM (SELECT 1 FROM audit_events"
        f" WHERE {base.sql} GROUP BY occurred_at, event_id)"
        " SETTINGS max_threads = 1, optimize_aggregation_in_order = 1",
        base.values,
    )


def topics(names: Sequence[str]) -> Query:
    """(topic id, topic) of every incarnation of these topics that a worker has told about."""
    return Query(
        "SELECT DISTINCT kafka_topic_id, toString(kafka_topic) FROM audit_progress"
        " WHERE kafka_topic IN {topics:Array(String)}",
        {"topics": list(names)},
    )


def quarantined(workspace_id: str, filter_: Filter, positions: Positions) -> Query:
    """How many records of the workspace are in quarantine that Kafka accepted within the range; copies don't count."""
    log = "concat(kafka_topic_id, ':', toString(kafka_partition))"
    conditions, values = ["workspace_id = {workspace:String}", "reason != 'duplicate'"], {}
    conditions.append(f"kafka_offset < transform({log}, {{logs:Array(String)}}, {{ends:Array(Int64)}}, toInt64(0))")
    for name, operator, bound in (("since", ">=", filter_.since), ("until", "<", filter_.until)):
        if bound is not None:
            conditions.append(f"kafka_timestamp {operator} fromUnixTimestamp64Micro({{{name}:Int64}}, 'UTC')")
            values[name] = bound
    return Query(
        f"SELECT count() FROM audit_quarantine FINAL WHERE {' AND '.join(conditions)} SETTINGS max_threads = 1",
        {
            "workspace": workspace_id,
            "logs": [f"{one.topic_id}:{one.partition}" for one in positions],
            "ends": [one.end for one in positions],
            **values,
        },
    )


def gaps_of_all_workspaces(filter_: Filter, before_ms: int) -> Query:
    """(holes, missing events) in the producers' numbers that are open since a moment, noticed within the range or later.

    They have no workspace: a missing event has none.
    """
    return Query(
        "SELECT count(), sum(toInt128(events)) FROM audit_gaps WHERE since <= fromUnixTimestamp64Milli({before:Int64}, 'UTC')"
        " AND since >= fromUnixTimestamp64Micro({since:Int64}, 'UTC') SETTINGS max_threads = 1",
        {"before": before_ms, "since": filter_.since or 0},
    )


def time_zones() -> Query:
    """The version of the engine's time-zone data, which local times are made with."""
    return Query("SELECT value FROM system.build_options WHERE name = 'TZDATA_VERSION'", {})


__all__ = [
    "count",
    "cut",
    "ends",
    "gaps_of_all_workspaces",
    "piece",
    "quarantined",
    "time_zones",
    "topics",
]
