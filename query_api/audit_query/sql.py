"""The queries: text with bound parameters. None over events can be made without a workspace. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from audit_query.budgets import Budget
from audit_query.conditions import Condition, conditions
from audit_query.cursor import Cursor
from audit_query.filters import Filter
from audit_schemas.row import SELECT

POSITION = ("kafka_topic_id", "kafka_partition", "kafka_offset")
EXTRA = (
    "toUnixTimestamp64Milli(kafka_timestamp)",
    *POSITION,
    "toUnixTimestamp64Milli(ingested_at)",
)
COLUMNS: tuple[str, ...] = (*SELECT, *EXTRA)
"""What a page reads of each row: the event as `audit_schemas.row` takes it, then where and when it was stored."""
PLACE = (
    "toUnixTimestamp64Micro(occurred_at)",
    "toString(event_id)",
    "toUnixTimestamp64Milli(kafka_timestamp)",
    *POSITION,
)
"""Which event a row is a copy of, and where it came."""
_DEAR: Mapping[str, tuple[str, str]] = {
    **{name: (name, "''") for name in ("changes", "metadata", "user_agent", "request_id", "session_id")},
    **{f"`targets.{leaf}`": ("targets", "emptyArrayString()") for leaf in ("type", "id", "name")},
    **{f"producer_{leaf}": ("producer", "''") for leaf in ("service", "instance", "version")},
    "producer_seq": ("producer", "0"),
}
"""The columns that cost most to read: their field, and what stands for them when it was not asked for."""
FIRST_COPY = ", ".join(("kafka_timestamp", *POSITION))
"""The order among copies of one event: the first is the one that is shown."""


@dataclass(frozen=True, slots=True)
class Query:
    """A statement and the values of its parameters; it may cost its own `budget`, or what any query may.

    `stops_early`: it reads in the order of the table and ends at its LIMIT, so that few of the rows which ClickHouse
    plans to read are read.
    """

    sql: str
    values: Mapping[str, Any]
    stops_early: bool = False
    budget: Budget | None = None


def where(workspace_id: str, filter_: Filter) -> Query:
    """The condition that every query over events has: the workspace first, then the bounds and the filter."""
    bounds = _bounds(workspace_id, filter_)
    parts, values = [bounds.sql], dict(bounds.values)
    for condition in conditions(filter_):
        parts.append(condition.sql)
        values |= condition.values
    return Query(" AND ".join(parts), values)


def where_first(workspace_id: str, filter_: Filter, among: Condition | None = None) -> Query:
    """`where`, without events of which only a later copy matches; as if there were only the rows `among` is true of.

    A later copy may say something else; the first is what counts. Copies are neighbours in the sort order, so that
    finding those few events that have any reads the key once, without keeping it.
    """
    base, asked, bounds = where(workspace_id, filter_), conditions(filter_), _bounds(workspace_id, filter_).sql
    if among is not None:
        base = Query(f"{base.sql} AND {among.sql}", {**base.values, **among.values})
        bounds = f"{bounds} AND {among.sql}"
    if not asked:
        return base
    matches = " AND ".join(condition.sql for condition in asked)
    events = f"SELECT occurred_at, event_id FROM audit_events WHERE {bounds}"
    by_event = "GROUP BY occurred_at, event_id HAVING"
    copied = f"{events} {by_event} count() > 1"
    others = f"{events} AND (occurred_at, event_id) IN ({copied}) {by_event} argMin({matches}, ({FIRST_COPY})) = 0"
    return Query(f"{base.sql} AND (occurred_at, event_id) NOT IN ({others})", base.values)


def _bounds(workspace_id: str, filter_: Filter) -> Query:
    parts, values = ["workspace_id = {workspace:String}"], {"workspace": _required(workspace_id)}
    bounds: dict[str, Any] = {}
    for name, operator, bound in (("since", ">=", filter_.since), ("until", "<", filter_.until)):
        if bound is not None:
            parts.append(f"occurred_at {operator} {instant(name)}")
            bounds[name] = bound
    return Query(" AND ".join(parts), values | bounds)


def instant(name: str) -> str:
    """A bound parameter in microseconds as an instant of the table's type."""
    return f"fromUnixTimestamp64Micro({{{name}:Int64}}, 'UTC')"


def columns(fields: Sequence[str]) -> tuple[str, ...]:
    """`COLUMNS`, with constants in place of what only fields need that are not asked for; all when none is named."""
    if not fields:
        return COLUMNS
    left_out = {name: constant for name, (field, constant) in _DEAR.items() if field not in fields}
    return tuple(left_out.get(name, name) for name in COLUMNS)


_REACHES: Final = {"newer": (">=", ">"), "older": ("<=", "<"), "from": ("<=", "<=")}


def page(
    workspace_id: str, filter_: Filter, cursor: Cursor | None, rows: int, selected: Sequence[str] = COLUMNS
) -> Query:
    """The next rows in the cursor's direction; newest first without one.

    The first comparison is implied by the second, but only it can use the index (ClickHouse issue 75086).
    """
    base = where(workspace_id, filter_)
    sql, values = base.sql, dict(base.values)
    newer = cursor is not None and cursor.direction == "newer"
    if cursor is not None:
        bound, tuple_ = _REACHES[cursor.direction]
        at = instant("at")
        sql += f" AND occurred_at {bound} {at} AND (occurred_at, event_id) {tuple_} ({at}, {{event_id:UUID}})"
        values |= {"at": cursor.occurred_at, "event_id": cursor.event_id}
    order = "ASC" if newer else "DESC"
    return Query(
        f"SELECT {', '.join(selected)} FROM audit_events WHERE {sql}"
        f" ORDER BY occurred_at {order}, event_id {order} LIMIT {{rows:UInt32}}"
        " SETTINGS read_in_order_use_buffering = 0",
        values | {"rows": rows},
        stops_early=True,
    )


def copies(workspace_id: str, identities: Sequence[tuple[int, str]], selected: Sequence[str] = PLACE) -> Query:
    """All copies of some events, whatever they say; at first what tells them apart."""
    moments, ids = zip(*identities, strict=True)
    return Query(
        f"SELECT {', '.join(selected)} FROM audit_events WHERE workspace_id = {{workspace:String}}"
        " AND occurred_at IN (SELECT fromUnixTimestamp64Micro(arrayJoin({moments:Array(Int64)}), 'UTC'))"
        " AND event_id IN {ids:Array(UUID)}",
        {"workspace": _required(workspace_id), "moments": list(moments), "ids": list(ids)},
    )


def one(workspace_id: str, filter_: Filter, event_id: str) -> Query:
    """The first copy of one event."""
    base = where(workspace_id, filter_)
    return Query(
        f"SELECT {', '.join(COLUMNS)} FROM audit_events WHERE {base.sql} AND event_id = {{event_id:UUID}}"
        f" ORDER BY {FIRST_COPY} LIMIT 1",
        {**base.values, "event_id": event_id},
    )


_OLD = "since <= fromUnixTimestamp64Milli({before:Int64}, 'UTC')"


def progress(topics: Sequence[str]) -> Query:
    """(topic, topic id, partition, partitions there are, complete through, said at), times in ms, of each partition.

    Of every incarnation of a topic: to leave out the older ones here would take as long again, and they are few.
    """
    return Query(
        "SELECT kafka_topic, kafka_topic_id, kafka_partition, max(partition_count),"
        " max(toUnixTimestamp64Milli(complete_through)), max(toUnixTimestamp64Milli(at)) FROM audit_progress"
        " WHERE kafka_topic IN {topics:Array(String)} GROUP BY kafka_topic, kafka_topic_id, kafka_partition",
        {"topics": list(topics)},
    )


def paused() -> Query:
    """(topic, partition) of the partitions that operators hold."""
    return Query("SELECT kafka_topic, kafka_partition FROM audit_pauses FINAL WHERE paused", {})


def lags_of_all_workspaces(since: int) -> Query:
    """(category, p50, p99, events): how long Kafka's append was ago when the insert began, in ms.

    Of the events stored since a moment in ms; the row of category '' is about all of them.
    """
    return Query(
        "SELECT category, lags[1], lags[2], events FROM (SELECT category, count() AS events, quantilesExact(0.5, 0.99)"
        "(greatest(0, toUnixTimestamp64Milli(ingested_at) - toUnixTimestamp64Milli(kafka_timestamp))) AS lags"
        " FROM audit_events WHERE ingested_at >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')"
        " GROUP BY GROUPING SETS ((category), ()))",
        {"since": since},
    )


def gaps_of_all_workspaces(before: int, rows: int) -> Query:
    """(service, instance, first, last, events, since) of the holes open since `before` or longer, oldest first.

    They belong to the producers, not to a workspace: a missing event has none. Times in milliseconds.
    """
    return Query(
        "SELECT service, instance, first_seq, last_seq, events, toUnixTimestamp64Milli(since) AS at FROM audit_gaps"
        f" WHERE {_OLD} ORDER BY at, service, instance, first_seq LIMIT {{rows:UInt32}}",
        {"before": before, "rows": rows},
    )


def gap_totals_of_all_workspaces(before: int) -> Query:
    """(holes, missing events, until when it was looked for them) for `gaps_of_all_workspaces`; 0 when never."""
    return Query(
        "SELECT count(), sum(toInt128(events)),"
        " (SELECT toUnixTimestamp64Milli(max(through)) FROM audit_gap_progress)"
        f" FROM audit_gaps WHERE {_OLD}",
        {"before": before},
    )


def unwatched_of_all_workspaces(rows: int) -> Query:
    """(service, instance, first unwatched number) of the producer instances that left too many holes."""
    return Query(
        "SELECT service, instance, unwatched_from FROM audit_producers FINAL WHERE unwatched_from > 0"
        " ORDER BY ALL LIMIT {rows:UInt32}",
        {"rows": rows},
    )


def _required(workspace_id: str) -> str:
    if not workspace_id:
        raise ValueError("a query needs a workspace")
    return workspace_id


__all__ = [
    "COLUMNS",
    "EXTRA",
    "FIRST_COPY",
    "PLACE",
    "Query",
    "columns",
    "copies",
    "gap_totals_of_all_workspaces",
    "gaps_of_all_workspaces",
    "instant",
    "lags_of_all_workspaces",
    "one",
    "page",
    "paused",
    "progress",
    "unwatched_of_all_workspaces",
    "where",
    "where_first",
]
