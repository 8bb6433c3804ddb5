"""Who acted last: found by a number that stands for each user, and named by the events at which they acted last.

Reading the number of every user is a fraction of the work of reading what all of them were called.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from audit_query import sql
from audit_query.counting import Counted, Counting, window
from audit_query.facet_sql import MONTHS, Groups
from audit_query.filters import Filter
from audit_query.ports import Reading
from audit_query.sql import Query

_HASH = "sipHash64(actor_type, actor_id)"
NUMBERS = Groups((_HASH,), ("actor_type", "actor_id"), unit=MONTHS, dated=True)
_MORE = 50
"""How many more are looked at for a search: the list has users also by what they were called before."""
_MOST = 1000
"""Users named in one statement; it is more only where many acted last at the same moment."""
Search = Callable[[str, str, str, str], str]
"""Makes the condition of a search of the expressions for type, id, name and e-mail; `{search:String}` is bound."""


@dataclass(frozen=True, slots=True)
class LatestUsers:
    """Users by what the tables say of first copies, as `Counting` counts them."""

    counting: Counting
    reader: Reading

    async def found(
        self, workspace_id: str, shown: Filter, limit: int, search: str, searched: Search
    ) -> Counted | None:
        """(type, id, moment in microseconds, name, e-mail, n) of those who acted last, also by what they are called.

        None when it can't be told like this, and all users must be counted by name: where copies differ, where too
        many acted at one moment, and where too few of those that a search proposed are still called so.
        """
        most = limit + _MORE if search else limit

        def ranked(found: Query) -> Query:
            condition = searched("actor_type", "actor_id", "actor_name", "actor_email")
            listed = f"SELECT {_HASH} FROM audit_users WHERE workspace_id = {{workspace:String}} AND ({condition})"
            wanted = f" WHERE k0 IN ({listed})" if search else ""
            return Query(
                f"SELECT k0, toUnixTimestamp64Micro(latest) AS at, n FROM ({found.sql}){wanted}"
                " ORDER BY at DESC LIMIT {most:UInt32} WITH TIES",
                {**found.values, "search": search, "most": most},
            )

        counted = await self.counting.groups(workspace_id, shown, NUMBERS, ranked)
        if not counted.rows:
            return counted
        if len(counted.rows) > _MOST:
            return None
        matched = shown if counted.scope == "filtered" else window(shown)
        named = await self.reader.rows(_named(workspace_id, matched, counted.rows, search, searched))
        counts = {number: count for number, _, count in counted.rows}
        rows = [(*row, counts[number]) for number, fits, *row in named if fits]
        gone = len(named) != len(counted.rows)
        too_few = len(counted.rows) >= most and len(rows) < limit
        if gone or too_few or self.counting.differing(workspace_id, shown):
            return None
        return Counted(rows[:limit], counted.scope, counted.exact)


def _named(workspace_id: str, shown: Filter, ranked: Sequence[Sequence[Any]], search: str, searched: Search) -> Query:
    """(number, whether the search fits, type, id, moment, name, e-mail), in the order of the facet.

    The numbers are written out, not bound: bound values travel in the address.
    """
    base = sql.where(workspace_id, shown)
    numbers = ",".join(str(int(number)) for number, _, _ in ranked)
    moments = ",".join(str(int(at)) for _, at, _ in ranked)
    fits = searched("k0", "k1", "said.1", "said.2") if search else "1"
    return Query(
        f"SELECT number, {fits}, k0, k1, toUnixTimestamp64Micro(occurred_at) AS at, said.1, said.2 FROM"
        f" (SELECT {_HASH} AS number, toString(actor_type) AS k0, toString(actor_id) AS k1, occurred_at,"
        f" max((toString(actor_name), toString(actor_email))) AS said FROM audit_events WHERE {base.sql}"
        f" AND occurred_at IN (SELECT fromUnixTimestamp64Micro(arrayJoin([{moments}]::Array(Int64)), 'UTC'))"
        f" AND (number, toUnixTimestamp64Micro(occurred_at)) IN (SELECT one.1, one.2 FROM"
        f" (SELECT arrayJoin(arrayZip([{numbers}]::Array(UInt64), [{moments}]::Array(Int64))) AS one))"
        " GROUP BY number, k0, k1, occurred_at) ORDER BY at DESC, k0, k1",
        {**base.values, "search": search},
    )


__all__ = ["NUMBERS", "LatestUsers", "Search"]
