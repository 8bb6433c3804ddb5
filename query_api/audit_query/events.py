"""Pages of events and single ones."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Any
from urllib.parse import urlencode

from audit_infra.access import Principal, Scope, Signer
from audit_query import cursor as cursors
from audit_query import sql
from audit_query.asking import Asking
from audit_query.counting import Counting
from audit_query.cursor import Cursor, Direction
from audit_query.filters import Filter, Params
from audit_query.freshness import Freshness
from audit_query.plans import Plans
from audit_query.ports import Clock, Reading
from audit_query.problems import not_found
from audit_query.rows import Place, Row, answer, narrowed
from audit_schemas.catalogue import Catalogue
from audit_schemas.event import micros

SPARE = 8
"""Rows read beyond those wanted, for copies of events."""
_DAY = 86_400_000_000
_WINDOWS = (_DAY, 7 * _DAY, 31 * _DAY)
_FILTERED = (7 * _DAY,)
"""What matches is sparse or fills the page at once: more windows would only be more questions."""
_FOREVER = 2**62
_NO_EVENT = "00000000-0000-0000-0000-000000000000"
_PLACED = sql.columns(("event_id",))


@dataclass(frozen=True, slots=True)
class Page:
    """One page. `next` leads to older events, `prev` to newer ones: queries to send back, None at an end."""

    rows: list[dict[str, Any]]
    next: str | None
    prev: str | None
    complete_through: dict[str, str | None]
    preview: dict[str, Any] | None
    count: dict[str, Any] | None = None

    def body(self, path: str) -> dict[str, Any]:
        """The answer of the API."""
        return {
            "data": self.rows,
            "next": f"{path}?{self.next}" if self.next else None,
            "prev": f"{path}?{self.prev}" if self.prev else None,
            "complete_through": self.complete_through,
            "preview": self.preview,
            **({"count": self.count} if self.count else {}),
        }


Identity = tuple[int, str]
"""(occurred_at in microseconds since 1970, event id): where an event stands in the order of the log."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """The events from one place on, newest first, and where its neighbours begin.

    `older` is the first event of the next stretch, `newer` that of the one before; both None at an end. `newest` says
    that the stretch before is the newest one, which has no place of its own: it moves as events arrive.
    """

    rows: list[dict[str, Any]]
    older: Identity | None
    newer: Identity | None
    newest: bool
    complete_through: dict[str, str | None]
    preview: dict[str, Any] | None


class Events:
    """Every method takes a principal, whose workspace is the only one it can see."""

    def __init__(
        self,
        *,
        reader: Reading,
        plans: Plans,
        asking: Asking,
        freshness: Freshness,
        counting: Counting,
        catalogue: Catalogue,
        signing_keys: Sequence[str],
        late_after_s: float,
        clock: Clock,
    ) -> None:
        self._reader, self._plans, self._asking, self._freshness = reader, plans, asking, freshness
        self._counting = counting
        self._signer = Signer(signing_keys, "cursor")
        self._catalogue, self._late_after_s, self._clock = catalogue, late_after_s, clock

    async def page(self, principal: Principal, params: Params) -> Page:
        """A page of events, newest first. Raises `ProblemError` for bad parameters."""
        question = await self._asking.question(principal, params, paging=True)
        workspace, paging = question.workspace_id, question.paging
        asked, fingerprint = question.filter, question.filter.fingerprint()
        at = cursors.read(paging.cursor, self._signer, workspace, fingerprint) if paging.cursor else None
        if at is not None:
            # Spans such as 24h were resolved with the first page.
            asked = asked.within(at.since, at.until)
        shown, clamped = question.visibility.clamp(asked)
        complete_through = await self._freshness.complete_through()
        # Masking looks for copies of personal data in other fields, so it needs them all.
        selected = sql.columns(paging.fields if question.pii else ())
        rows, more = await self._read(workspace, shown, at, paging.limit, selected)
        counted = await self._counting.count(workspace, shown) if paging.count else None
        newer = at is not None and at.direction == "newer"

        def reference(direction: Direction, row: Row) -> str:
            occurred_at, event_id = row.identity
            cursor = Cursor(direction, occurred_at, event_id, asked.since, asked.until)
            text = cursor.text(self._signer, workspace, fingerprint)
            return urlencode([*((name, value) for name, value in params if name != "cursor"), ("cursor", text)])

        has_older, has_newer = (True, more) if newer else (more, at is not None)
        return Page(
            rows=[narrowed(self._answer(row, principal), paging.fields) for row in rows],
            next=reference("older", rows[-1]) if rows and has_older else None,
            prev=reference("newer", rows[0]) if rows and has_newer else None,
            complete_through=complete_through,
            preview=question.visibility.preview(clamped),
            count=None if counted is None else {"value": counted[0], "capped": counted[1]},
        )

    async def stretch(self, principal: Principal, params: Params, at: Identity | None, limit: int) -> Stretch:
        """The events at a place that anybody may name, unlike a cursor: it keeps working when it is passed on.

        Spans such as 24h are resolved each time. Raises `ProblemError` for bad parameters.
        """
        question = await self._asking.question(principal, params)
        workspace, shown = question.workspace_id, question.shown
        complete_through = await self._freshness.complete_through()
        (rows, _), before = await asyncio.gather(
            # One more than wanted: the next stretch is named by its first event.
            self._read(workspace, shown, at and Cursor("from", *at, None, None), limit + 1, sql.COLUMNS),
            self._newer(workspace, shown, at, limit),
        )
        return Stretch(
            rows=[self._answer(row, principal) for row in rows[:limit]],
            older=rows[limit].identity if len(rows) > limit else None,
            newer=before[1].identity if len(before) > limit else None,
            newest=0 < len(before) <= limit,
            complete_through=complete_through,
            preview=question.visibility.preview(question.clamped),
        )

    async def newer(self, principal: Principal, params: Params, at: Identity | None, most: int) -> int:
        """How many events are newer than a place, or than all; counting ends at `most`. Raises as `stretch` does."""
        question = await self._asking.question(principal, params)
        start = at or (0, _NO_EVENT)
        return len(await self._newer(question.workspace_id, question.shown, start, most - 1))

    async def _newer(self, workspace: str, shown: Filter, at: Identity | None, limit: int) -> list[Row]:
        """Up to `limit` + 1 events that are newer, of which nothing is read but their place."""
        if at is None:
            return []
        rows, _ = await self._read(workspace, shown, Cursor("newer", *at, None, None), limit + 1, _PLACED)
        return rows

    async def _read(
        self, workspace: str, shown: Filter, at: Cursor | None, limit: int, selected: Sequence[str]
    ) -> tuple[list[Row], bool]:
        """Up to `limit` events in the cursor's direction, returned newest first, and whether more follow."""
        newer = at is not None and at.direction == "newer"
        found: list[Row] = []
        pending: list[list[Row | Place]] = []
        async with contextlib.aclosing(self._matches(workspace, shown, at, limit + 1, selected)) as matches:
            async for copies in matches:
                pending.append(copies)
                if len(found) + len(pending) > limit:
                    found += await self._firsts(workspace, pending, selected)
                    pending.clear()
                if len(found) > limit:
                    break
        found += await self._firsts(workspace, pending, selected)
        rows, more = found[:limit], len(found) > limit
        return rows[::-1] if newer else rows, more

    async def _matches(
        self, workspace: str, shown: Filter, at: Cursor | None, wanted: int, selected: Sequence[str]
    ) -> AsyncGenerator[list[Row | Place]]:
        """The copies that match, event by event. With a filter only where they are: of those few the rest is read then.

        A page is nearly always full within a day, and a bounded range spares reading into every month there is. So
        ever wider windows are read, each beginning where the last one ended.
        """
        newer = at is not None and at.direction == "newer"
        start = at.occurred_at if at is not None else min(shown.until or _FOREVER, micros(self._clock()))
        read: Callable[[Sequence[Any]], Row | Place] = (lambda row: Place(*row)) if shown.values else Row.of
        for window in _windows(shown, start, newer=newer):
            want, whole = wanted + SPARE, False
            while not whole:
                raw = await self._reader.rows(
                    sql.page(workspace, window, at, want, sql.PLACE if shown.values else selected)
                )
                events = [list(copies) for _, copies in groupby(map(read, raw), key=attrgetter("identity"))]
                whole = len(raw) < want
                if not whole and len(events) == 1:
                    want *= 4  # one event with more copies than were read
                    continue
                if not whole:
                    events.pop()  # some of its copies may not have been read
                for copies in events:
                    yield copies
                if events:
                    at = Cursor("newer" if newer else "older", *events[-1][0].identity, None, None)

    async def _firsts(
        self, workspace: str, events: Sequence[Sequence[Row | Place]], selected: Sequence[str]
    ) -> list[Row]:
        """The first copy of each event, without those of which only a later one matches: the first is what counts."""
        if not events or isinstance(events[0][0], Row):
            return [min(copies, key=attrgetter("position")) for copies in events]  # type: ignore[misc]  # all are rows
        stored = await self._reader.rows(sql.copies(workspace, [copies[0].identity for copies in events], selected))
        first: dict[tuple[int, str], Row] = {}
        for row in map(Row.of, stored):
            first[row.identity] = min(row, first.get(row.identity, row), key=attrgetter("position"))
        places = {copies[0].identity: {one.position for one in copies} for copies in events}
        return [first[one] for one, matching in places.items() if one in first and first[one].position in matching]

    async def event(self, principal: Principal, event_id: str) -> dict[str, Any]:
        """One event. An unknown id and one the plan does not show raise the same 404."""
        principal.require(Scope.READ)
        seen = await self._plans.visibility(principal)
        missing = not_found(None if seen.full else seen.upgrade_url)
        try:
            identity = str(uuid.UUID(event_id))
        except ValueError:
            raise missing from None
        shown, _ = seen.clamp(Filter())
        rows = await self._reader.rows(sql.one(principal.workspace_id, shown, identity))
        if not rows:
            raise missing
        return self._answer(Row.of(rows[0]), principal)

    def _answer(self, row: Row, principal: Principal) -> dict[str, Any]:
        return answer(row, self._catalogue, pii=principal.may(Scope.PII), late_after_s=self._late_after_s)


def _windows(shown: Filter, start: int, *, newer: bool) -> Iterator[Filter]:
    """The range in pieces away from `start`: a day, what lacks to seven and to 31 days, and all the rest.

    With a filter a week, and the rest.
    """
    since, until = shown.since, shown.until
    for width in _FILTERED if shown.values else _WINDOWS:
        if newer:
            edge = start + width
            if until is not None and edge >= until:
                break
            yield shown.within(since, edge)
            since = edge
        else:
            edge = start - width
            if edge <= (since or 0):
                break
            yield shown.within(edge, until)
            until = edge
    yield shown.within(since, until)


__all__ = ["Events", "Identity", "Page", "Stretch"]
