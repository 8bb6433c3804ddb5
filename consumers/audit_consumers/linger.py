"""How long a batch waits to fill, so that small inserts never cost the engine more than half a core. Pure."""

from __future__ import annotations

from collections import deque

from audit_consumers.positions import TopicPartition

MOST_S = 15.0
CORES = 0.5
_ACTIVE_S = 5.0
_SMALL_ROWS = 5_000
_FIRST_COST_S = 0.03
_REMEMBERED = 16


class Linger:
    """Linger = active partitions × cost of a small insert ÷ half a core, between the flush setting and 15 s."""

    def __init__(self, flush_s: float) -> None:
        self._flush_s = flush_s
        self._small: deque[float] = deque([_FIRST_COST_S], _REMEMBERED)
        self._seen: dict[TopicPartition, float] = {}

    def saw(self, partition: TopicPartition, now: float) -> None:
        """Records of the partition arrived."""
        self._seen[partition] = now

    def inserted(self, rows: int, seconds: float) -> None:
        """An insert took so long. Large ones say nothing about small ones."""
        if rows < _SMALL_ROWS:
            self._small.append(seconds)

    @property
    def cost_s(self) -> float:
        """What a small insert costs: the quickest of the last ones, since waiting for others only adds."""
        return min(self._small)

    def seconds(self, now: float) -> float:
        """The linger now."""
        active = sum(now - seen <= _ACTIVE_S for seen in self._seen.values())
        return min(MOST_S, max(self._flush_s, active * self.cost_s / CORES))


__all__ = ["CORES", "MOST_S", "Linger"]
