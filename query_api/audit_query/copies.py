"""Which events of a workspace are stored more than once, so that counting need not look for them each time.

Known for a whole workspace once its keys were read, and from then on kept up to date from what was stored since. A
known event need not have copies any more: those who count look at what is there.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from audit_query.ports import Clock, Reading
from audit_query.sql import Query
from audit_schemas.errors import AuditError

LOOK_BACK_MS = 10_000
"""Read again each time, in case the clock of the server was put back a little."""
_LOOK_AGAIN = timedelta(minutes=10)
# An event has the time at which its insert began but is seen only once the insert has ended: known is what was stored
# before the oldest insert that still runs began.
_PRESENT = (
    "SELECT toUnixTimestamp64Milli(now64(3)) - toInt64(ceil(1000 * maxIf(elapsed,"
    " query_kind = 'Insert' AND current_database = currentDatabase()))) FROM system.processes"
)
# Copies that differ in what the projections hold spoil their greatest values; taking rows off mends sums only.
_SUMMED = "actor_type, actor_id, actor_name, actor_email, category, event_type, label, app_id, source"
# Parts never change, so nothing was stored as long as they are the same ones.
_PARTS = (
    "SELECT groupArray(name) FROM system.parts WHERE active AND database = currentDatabase() AND table = 'audit_events'"
)
_MOST_PARTS = 1000
"""Parts that are left out by name; with more, all are looked at."""
_FIND = (
    f"SELECT toUnixTimestamp64Micro(occurred_at), toString(event_id), uniqExact({_SUMMED}) > 1 FROM audit_events"
    " WHERE workspace_id = {workspace:String} AND (occurred_at, event_id) IN (SELECT occurred_at, event_id"
    " FROM audit_events WHERE workspace_id = {workspace:String}%s GROUP BY occurred_at, event_id HAVING count() > 1"
    " LIMIT {most:UInt32}) GROUP BY occurred_at, event_id SETTINGS optimize_aggregation_in_order = 1"
)
_NEW = (
    " AND (occurred_at, event_id) IN (SELECT occurred_at, event_id FROM audit_events"
    " WHERE workspace_id = {workspace:String} AND ingested_at >= fromUnixTimestamp64Milli({stored:Int64}, 'UTC')%s)"
)


@dataclass(frozen=True, slots=True)
class Copied:
    """Events that may have copies, by (occurred at in microseconds, id); True where copies are of another content."""

    events: Mapping[tuple[int, str], bool] = field(default_factory=dict)

    def within(self, since: int | None, until: int | None) -> Copied:
        """Those of since ≤ t < until."""
        return Copied(
            {
                identity: differing
                for identity, differing in self.events.items()
                if (since is None or identity[0] >= since) and (until is None or identity[0] < until)
            }
        )


@dataclass(slots=True)
class _Workspace:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    events: dict[tuple[int, str], bool] = field(default_factory=dict)
    through: int | None = None
    parts: frozenset[str] = frozenset()
    """Those that were there before the last look."""
    scan: asyncio.Task[None] | None = None
    too_many_at: datetime | None = None


class Copies:
    """Belongs to one event loop.

    Workspaces of up to `inline_rows` rows are looked through while a question waits, larger ones meanwhile. More than
    `most` copied events of one workspace are not kept; those of the `workspaces` asked about last are.
    """

    def __init__(self, reader: Reading, clock: Clock, *, inline_rows: int, most: int, workspaces: int) -> None:
        self._reader, self._clock = reader, clock
        self._inline_rows, self._most, self._workspaces = inline_rows, most, workspaces
        self._known: OrderedDict[str, _Workspace] = OrderedDict()

    def kept(self, workspace_id: str) -> Copied | None:
        """What was known when somebody asked last; None when nothing was."""
        one = self._known.get(workspace_id)
        return None if one is None or one.through is None else Copied(dict(one.events))

    async def known(self, workspace_id: str) -> Copied | None:
        """All events that have copies now; None while that is not known, or when there are too many."""
        one = self._known.setdefault(workspace_id, _Workspace())
        self._known.move_to_end(workspace_id)
        while len(self._known) > self._workspaces:
            _, left = self._known.popitem(last=False)
            if left.scan is not None:
                left.scan.cancel()
        async with one.lock:
            if one.too_many_at is not None and self._clock() - one.too_many_at < _LOOK_AGAIN:
                return None
            if one.through is not None:
                await self._look(workspace_id, one, one.through)
            elif one.scan is None or one.scan.done():
                await self._begin(workspace_id, one)
            return None if one.through is None else Copied(dict(one.events))

    async def _begin(self, workspace_id: str, one: _Workspace) -> None:
        sql = "SELECT count() FROM audit_events WHERE workspace_id = {workspace:String}"
        rows = (await self._reader.rows(Query(sql, {"workspace": workspace_id})))[0][0]
        if rows <= self._inline_rows:
            await self._look(workspace_id, one, None)
        else:
            one.scan = asyncio.create_task(self._look_quietly(workspace_id, one))

    async def _look_quietly(self, workspace_id: str, one: _Workspace) -> None:
        """What fails is taken up again by the next question."""
        with contextlib.suppress(AuditError):
            await self._look(workspace_id, one, None)

    async def _look(self, workspace_id: str, one: _Workspace, stored: int | None) -> None:
        present, names = (await self._reader.rows(Query(f"SELECT ({_PRESENT}), ({_PARTS})", {})))[0]
        parts = frozenset(names)
        if stored is not None and parts == one.parts:
            return
        values: dict[str, Any] = {"workspace": workspace_id, "most": self._most + 1}
        if stored is not None:
            values["stored"] = stored - LOOK_BACK_MS
        new = _NEW % _not_in(one.parts)
        found = await self._reader.rows(Query(_FIND % ("" if stored is None else new), values))
        one.events |= {(at, event_id): bool(differing) for at, event_id, differing in found}
        one.too_many_at = None
        if len(one.events) > self._most:
            one.events, one.through, one.too_many_at = {}, None, self._clock()
        else:
            one.through, one.parts = present, parts


def _not_in(parts: frozenset[str]) -> str:
    """The condition that leaves out parts whose rows are known; one that came of them by a merge is looked at."""
    if not parts or len(parts) > _MOST_PARTS:
        return ""
    return f" AND _part NOT IN ({', '.join(repr(name) for name in sorted(parts))})"


def listed(copied: Copied) -> str:
    """A list of (occurred_at, event_id) for IN.

    Written out, not bound: bound values travel in the address, which thousands don't fit into. They are numbers and
    canonical UUIDs that the tables gave.
    """
    moments = ",".join(str(int(at)) for at, _ in copied.events)
    ids = ",".join(f"'{event_id}'" for _, event_id in copied.events)
    return (
        "(SELECT fromUnixTimestamp64Micro(one.1, 'UTC'), one.2 FROM"
        f" (SELECT arrayJoin(arrayZip([{moments}]::Array(Int64), [{ids}]::Array(UUID))) AS one))"
    )


__all__ = ["LOOK_BACK_MS", "Copied", "Copies", "listed"]
