"""Numbers of events, over first copies only, and how far they can be relied on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from audit_query import sql
from audit_query.budgets import Budget, OverBudget
from audit_query.copies import Copied, Copies
from audit_query.facet_sql import SETTINGS, Groups, capped, counted
from audit_query.filters import Filter
from audit_query.ports import Reading
from audit_query.sql import Query

_ATTEMPTS = 3
MOST_COUNTED = 10_000
Finish = Callable[[Query], Query]
"""Makes a whole query of a subquery."""


@dataclass(frozen=True, slots=True)
class Counted:
    """`scope` is "window" where the filters were left out; `exact` is True when nothing is missing and none twice."""

    rows: Sequence[Sequence[Any]]
    scope: Literal["filtered", "window"]
    exact: bool


class Counting:
    """Counts what a question shows.

    What costs more than `budget` is counted without the filters, or only among the `newest` rows of the range.
    """

    def __init__(self, reader: Reading, copies: Copies, budget: Budget, newest: int) -> None:
        self._reader, self._copies, self._budget, self._most = reader, copies, budget, newest

    async def groups(self, workspace_id: str, shown: Filter, groups: Groups, finish: Finish) -> Counted:
        """The groups of the filter's events; of all in the window, or of the newest, where those cost too much.

        Raises `Transient` when ClickHouse can't answer, or not even the newest can be counted.
        """
        try:
            return await self._settled(workspace_id, shown, groups, finish, "filtered")
        except OverBudget:
            pass
        if shown.values:
            try:
                return await self._settled(workspace_id, window(shown), groups, finish, "window")
            except OverBudget:
                pass
        newest = await self._newest(workspace_id, shown)
        found = await self._settled(workspace_id, newest, groups, finish, "filtered", limited=False)
        return Counted(found.rows, found.scope, exact=found.exact and newest == shown)

    def differing(self, workspace_id: str, shown: Filter) -> bool:
        """Whether copies of other content than the first were known of when it was counted last."""
        kept = self._copies.kept(workspace_id)
        return kept is not None and any(kept.within(shown.since, shown.until).events.values())

    async def count(self, workspace_id: str, shown: Filter, cap: int = MOST_COUNTED) -> tuple[int, bool]:
        """How many events match, and whether there are more: counting ends at `cap`."""
        rows, _ = await self._agreed(workspace_id, shown, lambda copied: capped(workspace_id, shown, copied, cap))
        value = int(rows[0][0])
        return min(value, cap), value > cap

    async def _settled(
        self,
        workspace_id: str,
        shown: Filter,
        groups: Groups,
        finish: Finish,
        scope: Literal["filtered", "window"],
        *,
        limited: bool = True,
    ) -> Counted:
        def query(copied: Copied | None) -> Query:
            whole = finish(counted(workspace_id, shown, copied or Copied(), groups))
            return Query(f"{whole.sql} SETTINGS {SETTINGS}", whole.values, budget=self._budget if limited else None)

        rows, exact = await self._agreed(workspace_id, shown, query)
        return Counted(rows, scope, exact)

    async def _agreed(
        self, workspace_id: str, shown: Filter, query: Callable[[Copied | None], Query]
    ) -> tuple[Sequence[Sequence[Any]], bool]:
        """The rows, and whether no copy that was stored before them was unknown."""
        before = self._copies.kept(workspace_id) or await self._copies.known(workspace_id)
        rows: Sequence[Sequence[Any]] = []
        for _ in range(_ATTEMPTS):
            rows = await self._reader.rows(query(before))
            if before is None:
                break
            after = await self._copies.known(workspace_id)
            if after is not None and _same(before, after, shown):
                return rows, True
            before = after
        return rows, False

    async def _newest(self, workspace_id: str, shown: Filter) -> Filter:
        """The filter within the newest rows of its range."""
        base = sql.where(workspace_id, window(shown))
        rows = await self._reader.rows(
            Query(
                f"SELECT toUnixTimestamp64Micro(occurred_at) FROM audit_events WHERE {base.sql}"
                " ORDER BY occurred_at DESC LIMIT 1 OFFSET {newest:UInt64}",
                {**base.values, "newest": self._most},
            )
        )
        return shown.within(rows[0][0] + 1, shown.until) if rows else shown


def window(shown: Filter) -> Filter:
    """The filter's bounds alone."""
    return Filter().within(shown.since, shown.until)


def _same(before: Copied, after: Copied, shown: Filter) -> bool:
    return before.within(shown.since, shown.until) == after.within(shown.since, shown.until)


__all__ = ["MOST_COUNTED", "Counted", "Counting", "Finish", "window"]
