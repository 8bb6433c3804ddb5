"""How many events there are over time: whole minutes, hours, days, weeks or months of a zone."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

from audit_infra.access import Principal
from audit_infra.http.problems import Fault, invalid
from audit_query import sql
from audit_query.asking import Asking, Question
from audit_query.counting import Counting
from audit_query.facet_sql import DAY, DAYS, Groups
from audit_query.facets import Facet, asked
from audit_query.filters import Filter, Params
from audit_query.freshness import Freshness
from audit_query.ports import Clock, Reading
from audit_query.rows import time_text
from audit_query.sql import Query
from audit_query.times import midnight
from audit_schemas.event import instant_of, micros

MOST = 200
"""Buckets of one answer."""
UTC = ZoneInfo("UTC")
INTERVALS = ("minute", "hour", "day", "week", "month")
_FIXED = {"minute": 60_000_000, "hour": 3_600_000_000}
_STEPS = {"day": timedelta(days=1), "week": timedelta(days=7)}
_DAY_STARTS = "toInt64(toUnixTimestamp(toDateTime(toDate(occurred_at), 'UTC'))) * 1000000"


class TooManyError(ValueError):
    """The range has more buckets than an answer holds."""


@dataclass(frozen=True, slots=True)
class Buckets:
    """`starts` of buckets that touch each other, in microseconds since 1970; the last one ends at `end`."""

    interval: str
    starts: tuple[int, ...]
    end: int

    @classmethod
    def over(cls, since: int, until: int, interval: str, zone: ZoneInfo) -> Buckets:
        """All that hold a moment of since ≤ t < until. Raises `TooManyError`.

        Minutes and hours are of fixed length, from the last time before `since` that the zone's clock showed a full
        one; days, weeks (from Monday) and months are the zone's own, however long.
        """
        try:
            starts = [_start(since, interval, zone)]
            while (after := _after(starts[-1], interval, zone)) < until:
                starts.append(after)
                if len(starts) > MOST:
                    raise TooManyError
            instant_of(after)  # the end must have a date too
        except OverflowError:  # beyond the years there are
            raise TooManyError from None
        return cls(interval, tuple(starts), after)

    @classmethod
    def fitting(cls, since: int, until: int, zone: ZoneInfo) -> Buckets:
        """The finest that an answer can hold. Raises `TooManyError`."""
        for interval in INTERVALS:
            try:
                return cls.over(since, until, interval, zone)
            except TooManyError:
                continue
        raise TooManyError

    def rows(self, counts: Mapping[int, int]) -> list[dict[str, Any]]:
        """One row a bucket, also where nothing happened."""
        ends = (*self.starts[1:], self.end)
        return [
            {"start": time_text(start), "end": time_text(end), "count": counts.get(start, 0)}
            for start, end in zip(self.starts, ends, strict=True)
        ]

    @property
    def groups(self) -> Groups:
        """What events are counted by: the start of their bucket. Sums of UTC days will do where buckets are of such."""
        starts = f"[{','.join(map(str, self.starts))}]::Array(Int64)"
        if all(start % DAY == 0 for start in self.starts):
            return Groups((f"roundDown({_DAY_STARTS}, {starts})",), unit=DAYS)
        return Groups((f"roundDown(toUnixTimestamp64Micro(occurred_at), {starts})",))


def _start(at: int, interval: str, zone: ZoneInfo) -> int:
    local = instant_of(at).astimezone(zone)
    if interval == "minute":
        return at - (local.second * 1_000_000 + local.microsecond)
    if interval == "hour":
        return at - ((local.minute * 60 + local.second) * 1_000_000 + local.microsecond)
    day = local.date()
    if interval == "week":
        day -= timedelta(days=day.weekday())
    if interval == "month":
        day = day.replace(day=1)
    return micros(midnight(day, zone, later=False))


def _after(start: int, interval: str, zone: ZoneInfo) -> int:
    if interval in _FIXED:
        return start + _FIXED[interval]
    day = instant_of(start).astimezone(zone).date()
    while True:
        # Zones that crossed the date line left days out: those have no length.
        day = (
            (day.replace(day=1) + timedelta(days=32)).replace(day=1) if interval == "month" else day + _STEPS[interval]
        )
        if (after := micros(midnight(day, zone, later=False))) > start:
            return after


@dataclass(frozen=True, slots=True)
class Bars:
    """A histogram: how long its buckets are (None without any), whose days they are, and how many events each holds."""

    interval: str | None
    zone: ZoneInfo
    facet: Facet


class Histogram:
    """Takes a principal, whose workspace is the only one it can see."""

    def __init__(
        self, *, asking: Asking, counting: Counting, reader: Reading, freshness: Freshness, clock: Clock
    ) -> None:
        self._asking, self._counting, self._reader = asking, counting, reader
        self._freshness, self._clock = freshness, clock

    async def histogram(self, principal: Principal, params: Params, in_zone: timedelta = timedelta.max) -> Bars:
        """The buckets, from the first event or `since` to `until` or now.

        No bucket and no interval when the range is open and nothing is in it. Ranges longer than `in_zone` are counted
        in UTC, of whose days there are sums. Raises `ProblemError` for bad parameters, also when the range has more
        buckets than an answer holds.
        """
        question = await asked(self._asking, principal, params, {"interval": ("auto", *INTERVALS)}, ())
        fresh = await self._freshness.complete_through()
        zone, buckets = await self._buckets(question, in_zone)
        preview = question.visibility.preview(question.clamped)
        if buckets is None:
            return Bars(None, zone, Facet([], "filtered", exact=True, complete_through=fresh, preview=preview))
        counted = await self._counting.groups(
            question.workspace_id, question.shown, buckets.groups, lambda found: found
        )
        rows = buckets.rows({int(start): int(count) for start, count in counted.rows})
        return Bars(buckets.interval, zone, Facet(rows, counted.scope, counted.exact, fresh, preview))

    async def _buckets(self, question: Question, in_zone: timedelta) -> tuple[ZoneInfo, Buckets | None]:
        shown, zone = question.shown, question.shown.zone or UTC
        since, until = shown.since, shown.until
        if since is None or until is None:
            first, last = await self._ends(question.workspace_id, shown)
            since = since if since is not None else first
            until = until if until is not None else max(micros(self._clock()), (last or 0) + 1)
        if since is None or since >= until:
            return zone, None
        if until - since > in_zone / timedelta(microseconds=1):
            zone = UTC
        interval = question.further.get("interval", "auto")
        try:
            if interval == "auto":
                return zone, Buckets.fitting(since, until, zone)
            return zone, Buckets.over(since, until, interval, zone)
        except TooManyError:
            message = f"makes more than {MOST} buckets of this range; take a longer one, auto, or a shorter range"
            raise invalid((Fault("interval", "too_many_buckets", message, ("auto", *INTERVALS)),)) from None

    async def _ends(self, workspace_id: str, shown: Filter) -> tuple[int | None, int | None]:
        """The first and the last moment of the range at which anything happened."""
        base = sql.where(workspace_id, Filter().within(shown.since, shown.until))
        first, last = await asyncio.gather(
            *(
                self._reader.rows(
                    Query(
                        f"SELECT toUnixTimestamp64Micro(occurred_at) FROM audit_events WHERE {base.sql}"
                        f" ORDER BY occurred_at {order} LIMIT 1",
                        base.values,
                    )
                )
                for order in ("ASC", "DESC")
            )
        )
        return (first[0][0], last[0][0]) if first and last else (None, None)


__all__ = ["INTERVALS", "MOST", "Bars", "Buckets", "Histogram", "TooManyError"]
