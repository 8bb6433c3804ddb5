"""How much one query may cost, and what is answered when it would cost more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from audit_infra.http.problems import ProblemError, ProblemType

_ROWS: Final = frozenset({158, 307, 396})
_TIME: Final = frozenset({159, 160})
_MEMORY: Final = 241
_MIB: Final = 1_048_576
RETRY_AFTER_S: Final = 30
"""A query that cost too much will cost as much at once; later there may be less to compete with, or a narrower one."""


class OverBudget(ProblemError):
    """A query cost more than it may."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Of one query: seconds, MiB of memory, and rows it may read, None for any number."""

    seconds: float
    memory_mib: int
    rows: int | None = None

    @property
    def deadline_s(self) -> float:
        """When whoever waits gives up: a query that went over the budget has been answered by then."""
        return self.seconds * 1.5 + 1

    def settings(self, *, stops_early: bool = False) -> dict[str, Any]:
        """As settings of ClickHouse.

        It holds `max_rows_to_read` against the rows it plans to read. A query that reads in order and stops at its
        LIMIT (`stops_early`) reads few of those, so only time and memory bound it.
        """
        found: dict[str, Any] = {
            "max_execution_time": self.seconds,
            "timeout_overflow_mode": "throw",
            "max_memory_usage": self.memory_mib * _MIB,
        }
        if self.rows is not None and not stops_early:
            found |= {"max_rows_to_read": self.rows, "read_overflow_mode": "throw"}
        return found

    def exceeded(self, code: int | None, text: str) -> OverBudget | None:
        """The problem 503 when ClickHouse's error is that the query went over this budget."""
        if code in _ROWS and self.rows is not None:
            return over_budget("rows", self.rows, f"it would read more than {self.rows:,} rows")
        if code in _TIME:
            return over_budget("seconds", self.seconds, f"it took more than {self.seconds:g} s")
        # The server's own limit has the same code; that says nothing of this query.
        if code == _MEMORY and "(total)" not in text:
            return over_budget("memory_mib", self.memory_mib, f"it needs more than {self.memory_mib:,} MiB of memory")
        return None


OVER_BUDGET: Final = ProblemType(
    "over-budget",
    503,
    "The query costs too much",
    "The query would take longer, read more rows or need more memory than it may: `budget` says which, `limit` how much.",
    "Narrow the range of time or add a filter.",
)


def over_budget(name: str, limit: float, what: str) -> OverBudget:
    """The problem that names the budget and its figure."""
    return OverBudget(
        OVER_BUDGET,
        f"{what}; narrow the range of time or add a filter",
        headers={"Retry-After": str(RETRY_AFTER_S)},
        extra={"budget": name, "limit": limit},
    )


__all__ = ["OVER_BUDGET", "RETRY_AFTER_S", "Budget", "OverBudget", "over_budget"]
