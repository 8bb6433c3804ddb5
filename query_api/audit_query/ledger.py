"""How far every partition is stored without a hole, read once for all streams of the process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from audit_query.freshness import Freshness
from audit_query.ports import Reading
from audit_query.positions import Log, known_logs, ledgered
from audit_schemas.topics import event_topics

SKEW_MS = 60_000
"""How much the clocks of ClickHouse's servers may differ."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`ends`: the offset behind the contiguous ledgered ones. `complete_through` was read before them.

    `since_ms`: no row at or behind a log's end was stored before this moment; absent where it is not known.
    """

    ends: Mapping[Log, int] = field(default_factory=dict)
    since_ms: Mapping[Log, int] = field(default_factory=dict)
    complete_through: Mapping[str, str | None] = field(default_factory=dict)


class Ledger:
    """Belongs to one event loop. `monotonic` gives seconds that only grow."""

    def __init__(
        self,
        reader: Reading,
        freshness: Freshness,
        topic_prefix: str,
        every_s: float,
        monotonic: Callable[[], float],
    ) -> None:
        self._reader, self._freshness, self._topics = reader, freshness, event_topics(topic_prefix)
        self._every_s, self._monotonic = every_s, monotonic
        self._reading = asyncio.Lock()
        self._last, self._read_at = Snapshot(), -every_s

    async def snapshot(self) -> Snapshot:
        """The ends, not older than the interval. Raises `Transient` when ClickHouse can't answer now."""
        async with self._reading:
            began = self._monotonic()
            if began - self._read_at >= self._every_s:
                self._last = await self._read(self._last)
                self._read_at = began
            return self._last

    async def _read(self, before: Snapshot) -> Snapshot:
        complete_through = await self._freshness.complete_through()
        known = {Log(id_, number): end for id_, number, end in await self._reader.rows(known_logs(self._topics))}
        ends, since = known | dict(before.ends), dict(before.since_ms)
        moved = ends
        while moved:
            # Row by row: behind a hole nothing is passed on, it would be out of order when the hole is filled.
            rows = await self._reader.rows(ledgered(moved))
            moved = {Log(topic_id, partition): last + 1 for topic_id, partition, last, _ in rows}
            ends |= moved
            # The worker sends the next batch only after this row was written.
            since |= {Log(topic_id, partition): written - SKEW_MS for topic_id, partition, _, written in rows}
        return Snapshot(ends, since, complete_through)


__all__ = ["Ledger", "Snapshot"]
