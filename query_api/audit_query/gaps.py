"""The events that producers numbered but that are stored nowhere."""

from __future__ import annotations

from typing import Any

from audit_infra.access import Principal, Scope
from audit_query import sql
from audit_query.ports import Clock, Reading
from audit_query.rows import milliseconds_text

MOST_GAPS = 1000
"""Gaps in one answer."""


class Gaps:
    """Reads the gaps that are `after_s` old or older."""

    def __init__(self, reader: Reading, after_s: float, clock: Clock) -> None:
        self._reader, self._after_s, self._clock = reader, after_s, clock

    async def gaps(self, principal: Principal) -> dict[str, Any]:
        """The holes in the producers' numbers that are old enough, of all workspaces: the oldest, and how many in all.

        `checked_at` says until when stored events were looked at; null when that never was.
        """
        principal.require(Scope.ADMIN)
        before = int((self._clock().timestamp() - self._after_s) * 1000)
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


__all__ = ["Gaps"]
