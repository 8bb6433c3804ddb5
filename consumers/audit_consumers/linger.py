"""How long a batch waits to fill, so that small inserts never cost the engine more than half a core. Pure."""

from __future__ import annotations

from audit_consumers.positions import TopicPartition

MOST_S = 15.0
CORES = 0.5
_ACTIVE_S = 5.0
_SMALL_ROWS = 5_000
_FIRST_COST_S = 0.03
_SMOOTHING = 0.2


class Linger:
    """Linger = active partitions × cost of a small insert ÷ half a core, between the flush setting and 15 s."""

    def __init__(self, flush_s: float) -> None:
        self._flush_s = flush_s
        self._cost_s = _FIRST_COST_S
        self._seen: dict[TopicPartition, float] = {}

    def saw(self, partition: TopicPartition, now: float) -> None:
        """Records of the partition arrived."""
        self._seen[partition] = now

    def inserted(self, rows: int, seconds: float, at_once: int) -> None:
        """An insert took so long while `at_once` of them shared the engine. Large ones say nothing about small ones."""
        if rows < _SMALL_ROWS:
            self._cost_s += _SMOOTHING * (seconds / max(1, at_once) - self._cost_s)

    def seconds(self, now: float) -> float:
        """The linger now."""
        active = sum(now - seen <= _ACTIVE_S for seen in self._seen.values())
        return min(MOST_S, max(self._flush_s, active * self._cost_s / CORES))


__all__ = ["CORES", "MOST_S", "Linger"]
