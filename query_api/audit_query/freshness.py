"""How fresh an answer is: up to which moment of acceptance everything is stored, and how long storing takes."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from audit_infra.access import Principal, Scope
from audit_query import sql
from audit_query.ports import Clock, Reading
from audit_query.rows import milliseconds_text
from audit_schemas.topics import CATEGORIES, topic_of


@dataclass(frozen=True, slots=True)
class Mark:
    """A partition of a category's topic, and up to when it is complete in ms since 1970; 0 where it never spoke.

    `partition` is None where nobody has ever spoken of the topic.
    """

    category: str
    partition: int | None
    through_ms: int


class Freshness:
    """Reads what the workers say about their progress. Safe for many requests at once.

    What is complete stays complete, so an answer may be as old as `cache_s` seconds: it only claims less than it could.
    `lag_window_s` says how far back events are looked at to tell how long storing takes.
    """

    def __init__(
        self, reader: Reading, topic_prefix: str, clock: Clock, *, cache_s: float = 0.5, lag_window_s: float = 300
    ) -> None:
        self._reader, self._clock = reader, clock
        self._cache_s, self._lag_window_s = cache_s, lag_window_s
        self._topics: dict[str, str] = {category: topic_of(topic_prefix, category) for category in CATEGORIES}
        self._marks: list[Mark] = []
        self._read_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None

    async def complete_through(self) -> dict[str, str | None]:
        """Up to which moment of acceptance every event is shown: per category and for all; null where unknown."""
        return {name: _text(through) for name, through in _by_category(await self._current()).items()}

    async def report(self, principal: Principal) -> dict[str, Any]:
        """`complete_through`, how long ago that is, how long events took to be stored, and the slowest partition.

        Lags are measured over the events of all workspaces, and nothing but their percentiles is told. They end where
        the event's insert began. Raises `Forbidden` without the scope audit:read.
        """
        principal.require(Scope.READ)
        marks = await self._current()
        now_ms = int(self._clock().timestamp() * 1000)
        lags = await self._reader.rows(sql.lags_of_all_workspaces(now_ms - int(self._lag_window_s * 1000)))
        found = {category or "all": {"p50_s": p50 / 1000, "p99_s": p99 / 1000} for category, p50, p99, n in lags if n}
        through = _by_category(marks)
        slowest = min(marks, key=lambda mark: mark.through_ms)
        paused = await self._reader.rows(sql.paused())
        return {
            "complete_through": {name: _text(at) for name, at in through.items()},
            "behind_s": {name: _behind(at, now_ms) for name, at in through.items()},
            "lag": {name: found.get(name) for name in through},
            "lag_window_s": self._lag_window_s,
            "slowest": {
                "category": slowest.category,
                "partition": slowest.partition,
                "complete_through": _text(slowest.through_ms),
                "behind_s": _behind(slowest.through_ms, now_ms),
                "paused": (self._topics[slowest.category], slowest.partition) in {(topic, n) for topic, n in paused},
            },
        }

    async def _current(self) -> list[Mark]:
        """Marks that are read again by whoever comes after half their time, so that hardly anybody waits for them."""
        now = asyncio.get_running_loop().time()
        age = now - self._read_at
        if age >= self._cache_s / 2 and self._reading is None:
            self._reading = asyncio.create_task(self._read(now))
            # Whoever waits hears of an error; without anybody the next one reads again.
            self._reading.add_done_callback(lambda done: done.cancelled() or done.exception())
        if age >= self._cache_s and self._reading is not None:
            # Several wait for one reading, which goes on when one of them leaves.
            await asyncio.shield(self._reading)
        return self._marks

    async def _read(self, now: float) -> None:
        try:
            rows = await self._reader.rows(sql.progress(list(self._topics.values())))
            self._marks, self._read_at = marks_of(rows, self._topics), now
        finally:
            self._reading = None


def marks_of(rows: Sequence[Sequence[Any]], topics: dict[str, str]) -> list[Mark]:
    """A mark of each partition there must be, from the rows of `sql.progress`; `topics` are named by category. Pure.

    Of a topic that was made anew only the newest incarnation counts, and all the partitions that it is said to have.
    """
    by_topic: dict[str, dict[str, list[Sequence[Any]]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        by_topic[row[0]][row[1]].append(row[2:])
    found: list[Mark] = []
    for category, topic in topics.items():
        incarnations = by_topic[topic].values()
        if not incarnations:
            found.append(Mark(category, None, 0))
            continue
        newest = max(incarnations, key=lambda one: max(said_at for *_, said_at in one))
        spoken = {partition: through for partition, _, through, _ in newest}
        there = max(partitions for _, partitions, _, _ in newest)
        found += [Mark(category, partition, spoken.get(partition, 0)) for partition in range(there)]
    return found


def _by_category(marks: Sequence[Mark]) -> dict[str, int]:
    found = {"all": min(mark.through_ms for mark in marks)}
    for mark in marks:
        found[mark.category] = min(found.get(mark.category, mark.through_ms), mark.through_ms)
    return found


def _text(through_ms: int) -> str | None:
    return milliseconds_text(through_ms) if through_ms else None


def _behind(through_ms: int, now_ms: int) -> float | None:
    return max(0, now_ms - through_ms) / 1000 if through_ms else None


__all__ = ["Freshness", "Mark", "marks_of"]
