"""The queries: text with bound parameters. None over events can be made without a workspace. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
FIRST_COPY = ", ".join(("kafka_timestamp", *POSITION))
"""The order among copies of one event: the first is the one that is shown."""


@dataclass(frozen=True, slots=True)
class Query:
    """A statement and the values of its parameters."""

    sql: str
    values: Mapping[str, Any]


def where(workspace_id: str, filter_: Filter) -> Query:
    """The condition that every query over events has: the workspace first, then the bounds and the filter."""
    bounds = _bounds(workspace_id, filter_)
    parts, values = [bounds.sql], dict(bounds.values)
    for condition in filter_.conditions():
        parts.append(condition.sql)
        values |= condition.values
    return Query(" AND ".join(parts), values)


def where_first(workspace_id: str, filter_: Filter) -> Query:
    """`where`, without events of which only a later copy matches.

    A later copy may say something else; the first is what counts. Copies are neighbours in the sort order, so that
    finding those few events that have any reads the key once, without keeping it.
    """
    base, conditions = where(workspace_id, filter_), filter_.conditions()
    if not conditions:
        return base
    bounds, matches = _bounds(workspace_id, filter_).sql, " AND ".join(condition.sql for condition in conditions)
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


def page(workspace_id: str, filter_: Filter, cursor: Cursor | None, rows: int) -> Query:
    """The next rows in the cursor's direction; newest first without one.

    The first comparison is implied by the second, but only it can use the index (ClickHouse issue 75086).
    """
    base = where(workspace_id, filter_)
    sql, values = base.sql, dict(base.values)
    newer = cursor is not None and cursor.direction == "newer"
    if cursor is not None:
        bound, tuple_ = (">=", ">") if newer else ("<=", "<")
        at = instant("at")
        sql += f" AND occurred_at {bound} {at} AND (occurred_at, event_id) {tuple_} ({at}, {{event_id:UUID}})"
        values |= {"at": cursor.occurred_at, "event_id": cursor.event_id}
    order = "ASC" if newer else "DESC"
    return Query(
        f"SELECT {', '.join(COLUMNS)} FROM audit_events WHERE {sql}"
        f" ORDER BY occurred_at {order}, event_id {order} LIMIT {{rows:UInt32}}"
        " SETTINGS read_in_order_use_buffering = 0",
        values | {"rows": rows},
    )


def copies(workspace_id: str, identities: Sequence[tuple[int, str]]) -> Query:
    """(occurred at, event id, position) of all copies of some events, whatever they say."""
    moments, ids = zip(*identities, strict=True)
    return Query(
        "SELECT toUnixTimestamp64Micro(occurred_at), toString(event_id), toUnixTimestamp64Milli(kafka_timestamp),"
        f" {', '.join(POSITION)} FROM audit_events WHERE workspace_id = {{workspace:String}}"
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
_MATCH = "(position(lowerUTF8({0}), {{search:String}}) > 0)"


def users(workspace_id: str, search: str, since: int | None, *, pii: bool, limit: int = 50) -> Query:
    """(actor type, id, name, e-mail) of the users that match, most recently active first.

    A preview reads the rows of its window, never the rollup: that one knows of older activity. Values that are masked
    without `pii` are not searched either: they could be guessed letter by letter.
    """
    any_ = " OR ".join(_MATCH.format(column) for column in ("name", "email", "actor_id"))
    if not pii:
        any_ = f"({_MATCH.format('name')} AND actor_type != 'anonymous') OR {_MATCH.format('actor_id')}"
    if since is None:
        source = (
            "SELECT actor_type, actor_id, max(latest) AS l, l.2 AS name, l.3 AS email, l.1 AS at FROM audit_actors"
            " WHERE workspace_id = {workspace:String} GROUP BY actor_type, actor_id HAVING sum(events) > 0"
        )
    else:
        source = (
            "SELECT actor_type, actor_id, max((occurred_at, toString(actor_name), toString(actor_email))) AS l,"
            " l.2 AS name, l.3 AS email, l.1 AS at FROM audit_events"
            f" WHERE workspace_id = {{workspace:String}} AND occurred_at >= {instant('since')}"
            " GROUP BY actor_type, actor_id"
        )
    return Query(
        f"SELECT actor_type, actor_id, name, email FROM ({source}) WHERE {any_}"
        " ORDER BY at DESC, actor_type, actor_id LIMIT {rows:UInt32}",
        {"workspace": _required(workspace_id), "search": search.lower(), "since": since or 0, "rows": limit},
    )


def event_types(workspace_id: str, since: int | None) -> Query:
    """(category, event type, custom label, app) of everything that happened, or happened within the window."""
    if since is None:
        sql = (
            "SELECT category, event_type, max(label), any(app_id) FROM audit_type_day"
            " WHERE workspace_id = {workspace:String} GROUP BY category, event_type HAVING sum(events) > 0"
        )
    else:
        sql = (
            "SELECT category, event_type, max(toString(label)), any(app_id) FROM audit_events"
            f" WHERE workspace_id = {{workspace:String}} AND occurred_at >= {instant('since')}"
            " GROUP BY category, event_type"
        )
    return Query(
        sql + " ORDER BY category, event_type LIMIT 5000", {"workspace": _required(workspace_id), "since": since or 0}
    )


def progress(topics: Sequence[str]) -> Query:
    """(topic, complete through in ms) of each topic's newest incarnation; 0 where a partition has not spoken yet."""
    return Query(
        "SELECT kafka_topic, if(count() >= max(partitions), min(through), 0) FROM"
        " (SELECT kafka_topic, kafka_topic_id, kafka_partition, max(partition_count) AS partitions,"
        " max(toUnixTimestamp64Milli(complete_through)) AS through FROM audit_progress"
        " WHERE (kafka_topic, kafka_topic_id) IN (SELECT kafka_topic, argMax(kafka_topic_id, at) FROM audit_progress"
        " WHERE kafka_topic IN {topics:Array(String)} GROUP BY kafka_topic)"
        " GROUP BY kafka_topic, kafka_topic_id, kafka_partition) GROUP BY kafka_topic",
        {"topics": list(topics)},
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
    "Query",
    "copies",
    "event_types",
    "gap_totals_of_all_workspaces",
    "gaps_of_all_workspaces",
    "instant",
    "one",
    "page",
    "progress",
    "unwatched_of_all_workspaces",
    "users",
    "where",
    "where_first",
]
