"""Counting events by what they have in common: over first copies only, from sums where those say the same. Pure.

The sums are projections: for each part of the table ClickHouse reads the projection instead of the rows by itself,
where a query asks for no more than that holds. So the statements name audit_events only, and an answer is of one state
of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from audit_query import sql
from audit_query.copies import Copied, listed
from audit_query.filters import Filter, base_of
from audit_query.sql import FIRST_COPY, Query
from audit_schemas.event import instant_of, micros

DAY = 86_400_000_000
MOST_PIECES = 60
"""Pieces of the time line in one statement; more are not worth the sums."""
SETTINGS = "optimize_time_filter_with_preimage = 0"
"""What a statement of `counted` needs: conditions on months left as they are, or no projection fits them."""
SUMMED = ("user", "event", "category", "source", "actor_type", "app")
"""The filters by columns in which copies that don't count as differing are equal."""
_NO_TEXT = ", ''"
_BEFORE = "toDateTime64(0, 6, 'UTC')"
_LAST = micros(datetime(2100, 1, 1, tzinfo=UTC))
"""No event is as late; what is written later or earlier than dates can tell is compared by the row."""


@dataclass(frozen=True, slots=True)
class Unit:
    """The pieces of time the sums of a projection are kept for: an expression, and how to find a piece's bounds."""

    expression: str
    start: Callable[[int], int]
    """The piece an instant lies in, as the instant it begins with; in microseconds since 1970."""
    after: Callable[[int], int]
    """The beginning of the next piece."""

    def value(self, start: int) -> str:
        """The expression's value for a piece."""
        moment = instant_of(start)
        return f"{moment:%Y%m}" if "YYYYMM" in self.expression else f"toDate('{moment:%Y-%m-%d}')"


def _month(at: int) -> int:
    return micros(instant_of(at).replace(day=1, hour=0, minute=0, second=0, microsecond=0))


def _next_month(start: int) -> int:
    moment = instant_of(start)
    return micros(datetime(moment.year + moment.month // 12, moment.month % 12 + 1, 1, tzinfo=UTC))


DAYS = Unit("toDate(occurred_at)", lambda at: at // DAY * DAY, lambda start: start + DAY)
MONTHS = Unit("toYYYYMM(occurred_at)", _month, _next_month)


@dataclass(frozen=True, slots=True)
class Groups:
    """What events are counted by.

    `keys` and `texts` are expressions: of each group's latest event its moment and texts are told, of several at one
    moment the greatest texts. `columns` are what they read beside occurred_at; `unit` is that of the projection which
    holds all of it, None where there is none.
    """

    keys: tuple[str, ...]
    columns: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    unit: Unit | None = None
    target: str = ""
    """An expression that keys and texts call `target`."""
    dated: bool = False
    """Whether the latest event's moment alone is told; no texts then."""

    @property
    def latest(self) -> tuple[str, str] | None:
        """What is told of the latest event, and what stands for it where there is none."""
        if self.texts:
            return f"max((occurred_at, {', '.join(self.texts)}))", f"({_BEFORE}{_NO_TEXT * len(self.texts)})"
        return ("max(occurred_at)", _BEFORE) if self.dated else None

    def select(self, source: str, count: str = "count()", *, latest: bool = True) -> str:
        """One group a row: keys, count, greatest tuple."""
        names = [f"{key} AS k{number}" for number, key in enumerate(self.keys)]
        if self.latest:
            names.append(f"{self.latest[not latest]} AS latest")
        given = f"WITH {self.target} AS target " if self.target else ""
        by = ", ".join(f"k{number}" for number in range(len(self.keys)))
        return f"{given}SELECT {', '.join([*names, f'toInt64({count}) AS n'])} FROM {source} GROUP BY {by}"


def counted(workspace_id: str, filter_: Filter, copied: Copied, groups: Groups) -> Query:
    """(k0, k1, …, latest, n) of each group of the filter's events; for use as a subquery.

    The whole pieces of time come from sums, less the rows of copied events, the rest from rows without those; then
    their first copies are added. Pieces in which copies differ count as rest.
    """
    base, copied = sql.where(workspace_id, filter_), copied.within(filter_.since, filter_.until)
    free = sql.where(workspace_id, filter_.within(None, None))
    pieces = _pieces(filter_, copied, groups.unit)
    known = listed(copied)
    is_copied = f"(occurred_at, event_id) IN {known}"
    found: list[str] = []
    if pieces.middle:
        found.append(groups.select(f"audit_events WHERE {free.sql} AND {pieces.middle}"))
    if pieces.rest:
        rest = f"{base.sql} AND ({pieces.rest})"
        found.append(groups.select(f"audit_events WHERE {rest}" + (f" AND NOT {is_copied}" if copied.events else "")))
    if copied.events:
        if pieces.middle:
            less = f"audit_events WHERE {free.sql} AND {pieces.middle} AND {is_copied}"
            found.append(groups.select(less, "-toInt64(count())", latest=False))
        found.append(groups.select(_firsts(base.sql, known, groups.columns)))
    if len(found) == 1:
        return Query(found[0], dict(base.values))
    keys = ", ".join(f"k{number}" for number in range(len(groups.keys)))
    latest = "max(latest) AS latest, " if groups.latest else ""
    return Query(
        f"SELECT {keys}, {latest}sum(n) AS n FROM ({' UNION ALL '.join(found)}) GROUP BY {keys} HAVING n > 0",
        dict(base.values),
    )


def capped(workspace_id: str, filter_: Filter, copied: Copied | None, cap: int) -> Query:
    """The number of the filter's events, or one that is greater than `cap`; None where copies are not known."""
    values = {"most": cap + 1}
    limit = "LIMIT {most:UInt64}"
    if copied is None:
        base = sql.where_first(workspace_id, filter_)
        each = f"SELECT 1 FROM audit_events WHERE {base.sql} LIMIT 1 BY occurred_at, event_id {limit}"
        return Query(f"SELECT count() FROM ({each})", {**base.values, **values})
    base, copied = sql.where(workspace_id, filter_), copied.within(filter_.since, filter_.until)
    if not copied.events:
        return Query(
            f"SELECT count() FROM (SELECT 1 FROM audit_events WHERE {base.sql} {limit})", {**base.values, **values}
        )
    known = listed(copied)
    others = f"SELECT 1 FROM audit_events WHERE {base.sql} AND (occurred_at, event_id) NOT IN {known} {limit}"
    both = f"({others}) UNION ALL (SELECT 1 FROM {_firsts(base.sql, known, ())})"
    return Query(f"SELECT count() FROM ({both})", {**base.values, **values})


def _firsts(where: str, known: str, columns: Sequence[str]) -> str:
    """The first copies of some events as a table, each once, of those that match."""
    is_copied = f"(occurred_at, event_id) IN {known}"
    firsts = (
        f"SELECT occurred_at, event_id, (min(({FIRST_COPY})) AS p).1, p.2, p.3, p.4 FROM audit_events"
        f" WHERE workspace_id = {{workspace:String}} AND {is_copied} GROUP BY occurred_at, event_id"
    )
    return (
        f"(SELECT {', '.join(['occurred_at', 'event_id', *columns])} FROM audit_events WHERE {where} AND {is_copied}"
        f" AND (occurred_at, event_id, {FIRST_COPY}) IN ({firsts}) LIMIT 1 BY occurred_at, event_id)"
    )


@dataclass(frozen=True, slots=True)
class _Pieces:
    """Conditions: what sums are taken of, and what is read row by row; empty for nothing."""

    middle: str
    rest: str


def _pieces(filter_: Filter, copied: Copied, unit: Unit | None) -> _Pieces:
    whole = _Pieces("", "1")
    names = {base_of(name) for name, _ in filter_.values}
    if unit is None or not names <= set(SUMMED):
        return whole
    since, until = filter_.since, filter_.until
    if any(bound is not None and not 0 <= bound < _LAST for bound in (since, until)):
        return whole
    first = (
        None if since is None else unit.start(since) if unit.start(since) == since else unit.after(unit.start(since))
    )
    end = None if until is None else unit.start(until)
    if first is not None and end is not None and first >= end:
        return whole
    differing = {unit.start(at) for (at, _), differing in copied.events.items() if differing}
    differing = {start for start in differing if (first is None or start >= first) and (end is None or start < end)}
    if len(differing) > MOST_PIECES:
        return whole
    middle = [f"{unit.expression} >= {unit.value(first)}"] if first is not None else []
    middle += [f"{unit.expression} < {unit.value(end)}"] if end is not None else []
    middle += [f"{unit.expression} != {unit.value(start)}" for start in sorted(differing)]
    rest = [(start, unit.after(start)) for start in sorted(differing)]
    rest += [(since, first)] if since is not None and first is not None and since < first else []
    rest += [(end, until)] if end is not None and until is not None and end < until else []
    return _Pieces(
        " AND ".join(middle) or "1",
        " OR ".join(f"(occurred_at >= {_at(start)} AND occurred_at < {_at(stop)})" for start, stop in rest),
    )


def _at(moment: int) -> str:
    return f"fromUnixTimestamp64Micro({int(moment)}, 'UTC')"


__all__ = ["DAY", "DAYS", "MONTHS", "SETTINGS", "Groups", "Unit", "capped", "counted"]
