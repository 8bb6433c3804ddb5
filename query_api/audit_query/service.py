"""What the API and the page ask for: pages, single events, facets, freshness and exports, for one principal."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from urllib.parse import urlencode

from audit_infra.access import Access, AccessError, Forbidden, Principal, Scope, Signer
from audit_query import cursor as cursors
from audit_query import export, sql
from audit_query.cursor import Cursor, Direction
from audit_query.filters import Filter, Params, parse
from audit_query.plans import Visibility, visibility
from audit_query.problems import not_found
from audit_query.rows import Row, answer, first_copies, milliseconds_text
from audit_schemas.catalogue import Catalogue
from audit_schemas.topics import CATEGORIES, topic_of

SPARE = 9
"""Rows read beyond a page: one to know whether there are more, eight for copies of events."""
MOST_GAPS = 1000
"""Gaps in one answer."""
CSV_PARAMETERS = {
    "format": ("csv",),
    "order": ("desc", "asc"),
    "raw": ("0", "1"),
    "header": ("labels", "names"),
    "bom": ("0", "1"),
}


class Reading(Protocol):
    """The tables."""

    async def rows(self, query: sql.Query) -> Sequence[Sequence[Any]]:
        """The rows of a query."""

    def stream(self, query: sql.Query) -> AsyncGenerator[bytes]:
        """The bytes of a query with a FORMAT; raises when they break off."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page. `next` leads to older events, `prev` to newer ones: queries to send back, None at an end."""

    rows: list[dict[str, Any]]
    next: str | None
    prev: str | None
    complete_through: dict[str, str | None]
    preview: dict[str, Any] | None

    def body(self, path: str) -> dict[str, Any]:
        """The answer of the API."""
        return {
            "data": self.rows,
            "next": f"{path}?{self.next}" if self.next else None,
            "prev": f"{path}?{self.prev}" if self.prev else None,
            "complete_through": self.complete_through,
            "preview": self.preview,
        }


class Service:
    """Every method takes a principal, whose workspace is the only one it can see. Safe for many requests at once."""

    def __init__(
        self,
        *,
        reader: Reading,
        access: Access,
        catalogue: Catalogue,
        signing_keys: Sequence[str],
        upgrade_url: str,
        topic_prefix: str,
        late_after_s: float,
        gap_after_s: float,
        clock: Callable[[], datetime],
    ) -> None:
        self._reader, self._access, self.catalogue = reader, access, catalogue
        self._signer = Signer(signing_keys, "cursor")
        self._topics = {category: topic_of(topic_prefix, category) for category in CATEGORIES}
        self._upgrade_url, self._late_after_s, self.clock = upgrade_url, late_after_s, clock
        self._gap_after_s = gap_after_s

    async def visibility(self, principal: Principal) -> Visibility:
        """What the workspace's plan shows now; read on every request. Raises `Forbidden` for unknown workspaces."""
        try:
            plan = (await asyncio.to_thread(self._access.get_workspace, principal.workspace_id)).plan
        except AccessError:
            raise Forbidden(f"there is no workspace {principal.workspace_id}") from None
        return visibility(plan, principal.workspace_id, self._upgrade_url, self.clock())

    async def page(self, principal: Principal, params: Params) -> Page:
        """A page of events, newest first. Raises `ProblemError` for bad parameters."""
        principal.require(Scope.READ)
        filter_, paging, _ = parse(params, self.clock())
        workspace, fingerprint = principal.workspace_id, filter_.fingerprint()
        seen = await self.visibility(principal)
        at = cursors.read(paging.cursor, self._signer, workspace, fingerprint) if paging.cursor else None
        if at is not None:
            filter_ = filter_.within(at.since, at.until)
        bounds = (filter_.since, filter_.until)
        shown, clamped = seen.clamp(filter_)
        complete_through = await self.complete_through()
        rows, more = await self._read(workspace, shown, at, paging.limit)
        newer = at is not None and at.direction == "newer"

        def reference(direction: Direction, row: Row) -> str:
            occurred_at, event_id = row.identity
            cursor = Cursor(direction, occurred_at, event_id, *bounds).text(self._signer, workspace, fingerprint)
            return urlencode([*((name, value) for name, value in params if name != "cursor"), ("cursor", cursor)])

        has_older, has_newer = (True, more) if newer else (more, at is not None)
        return Page(
            rows=[self._answer(row, principal) for row in rows],
            next=reference("older", rows[-1]) if rows and has_older else None,
            prev=reference("newer", rows[0]) if rows and has_newer else None,
            complete_through=complete_through,
            preview=seen.preview(clamped),
        )

    async def _read(self, workspace: str, shown: Filter, at: Cursor | None, limit: int) -> tuple[list[Row], bool]:
        """Up to `limit` events in the cursor's direction, returned newest first, and whether more follow."""
        found: list[Row] = []
        want = limit + SPARE
        while len(found) <= limit:
            raw = await self._reader.rows(sql.page(workspace, shown, at, want))
            events = first_copies(Row.of(values) for values in raw)
            whole = len(raw) < want
            if not whole and len(events) == 1:
                want *= 4  # one event with more copies than were read
                continue
            if not whole:
                events.pop()  # some of its copies may not have been read
            found += await self._without_later_copies(workspace, events) if shown.values else events
            if whole:
                break
            occurred_at, event_id = events[-1].identity
            at = Cursor(at.direction if at else "older", occurred_at, event_id, None, None)
        rows, more = found[:limit], len(found) > limit
        if at is not None and at.direction == "newer":
            rows.reverse()
        return rows, more

    async def _without_later_copies(self, workspace: str, rows: list[Row]) -> list[Row]:
        """Without events of which only a later copy matches the filter: the first is what counts."""
        if not rows:
            return rows
        first: dict[tuple[int, str], tuple[int, str, int, int]] = {}
        for occurred_at, event_id, *position in await self._reader.rows(
            sql.copies(workspace, [row.identity for row in rows])
        ):
            at, topic_id, partition, offset = position
            known = first.get((occurred_at, event_id))
            found = (at, topic_id, partition, offset)
            first[occurred_at, event_id] = found if known is None else min(known, found)
        return [row for row in rows if first.get(row.identity, row.position) == row.position]

    async def event(self, principal: Principal, event_id: str) -> dict[str, Any]:
        """One event. An unknown id and one the plan does not show raise the same 404."""
        principal.require(Scope.READ)
        seen = await self.visibility(principal)
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
        return answer(row, self.catalogue, pii=principal.may(Scope.PII), late_after_s=self._late_after_s)

    async def user_facet(self, principal: Principal, search: str = "") -> list[dict[str, Any]]:
        """The users that match, most recently active first; `value` is what the filter `user` takes."""
        principal.require(Scope.READ)
        pii = principal.may(Scope.PII)
        seen = await self.visibility(principal)
        rows = await self._reader.rows(sql.users(principal.workspace_id, search, seen.since, pii=pii))
        found = []
        for kind, identity, name, email in rows:
            hidden = not pii and kind == "anonymous"
            found.append(
                {
                    "value": f"{kind}:{identity}",
                    "actor_type": kind,
                    "id": identity or None,
                    "name": None if hidden else name or None,
                    "email": (email or None) if pii else None,
                }
            )
        return found

    async def event_facet(self, principal: Principal, search: str = "") -> list[dict[str, Any]]:
        """The event types that occur and match, by category and label; `value` is what the filter `event` takes."""
        principal.require(Scope.READ)
        seen = await self.visibility(principal)
        wanted = search.strip().lower()
        found = []
        for category, name, label, app_id in await self._reader.rows(
            sql.event_types(principal.workspace_id, seen.since)
        ):
            native = self.catalogue.get(name)
            shown = native.label if native else label or name
            if wanted in shown.lower() or wanted in name.lower():
                found.append({"value": name, "label": shown, "category": category, "app_id": app_id or None})
        return sorted(found, key=lambda one: (CATEGORIES.index(one["category"]), one["label"]))

    async def complete_through(self) -> dict[str, str | None]:
        """Up to which moment of acceptance every event is shown: per category and for all; null where unknown."""
        rows = await self._reader.rows(sql.progress(list(self._topics.values())))
        known = {topic: milliseconds_text(through) for topic, through in rows if through}
        found: dict[str, str | None] = {category: known.get(topic) for category, topic in self._topics.items()}
        moments = [moment for moment in found.values() if moment is not None]
        return {"all": min(moments) if len(moments) == len(found) else None} | found

    async def gaps(self, principal: Principal) -> dict[str, Any]:
        """The holes in the producers' numbers that are old enough, of all workspaces: the oldest, and how many in all.

        `checked_at` says until when stored events were looked at; null when that never was.
        """
        principal.require(Scope.ADMIN)
        before = int((self.clock().timestamp() - self._gap_after_s) * 1000)
        ((gaps, events, checked),) = await self._reader.rows(sql.gap_totals_of_all_workspaces(before))
        rows = await self._reader.rows(sql.gaps_of_all_workspaces(before, MOST_GAPS))
        unwatched = await self._reader.rows(sql.unwatched_of_all_workspaces(MOST_GAPS))
        names = ("service", "instance", "first_seq", "last_seq", "events")
        return {
            "data": [dict(zip(names, row[:5], strict=True)) | {"since": milliseconds_text(row[5])} for row in rows],
            "total": {"gaps": gaps, "events": events},
            "unwatched": [dict(zip(("service", "instance", "from_seq"), row, strict=True)) for row in unwatched],
            "checked_at": milliseconds_text(checked) if checked else None,
        }

    async def csv(
        self, principal: Principal, params: Params
    ) -> tuple[Sequence[tuple[str, str]], AsyncGenerator[bytes]]:
        """The headers and the bytes of a CSV of all matching events.

        The iterator raises when the stream breaks off; what came before is then no complete file.
        """
        principal.require(Scope.EXPORT)
        (await self.visibility(principal)).require_export()
        filter_, _, further = parse(params, self.clock(), paging=False, further=CSV_PARAMETERS)
        form = export.Form(
            zone=filter_.zone.key if filter_.zone else "UTC",
            raw=further.get("raw") == "1",
            names=further.get("header") == "names",
            ascending=further.get("order") == "asc",
            bom=further.get("bom") == "1",
        )
        query = export.query(principal.workspace_id, filter_, self.catalogue, form, pii=principal.may(Scope.PII))
        day = f"{self.clock():%Y-%m-%d}"

        async def body() -> AsyncGenerator[bytes]:
            begun = False
            async for chunk in self._reader.stream(query):
                if not begun:
                    yield export.head(form)
                    begun = True
                yield chunk
            if not begun:
                yield export.head(form)

        return export.headers(principal.workspace_id, day), body()


__all__ = ["Page", "Reading", "Service"]
