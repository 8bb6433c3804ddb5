"""Which partitions operators hold, who does and why: a table that every worker reads and that outlives them all."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from audit_consumers.clickhouse import ClickHouseStore
from audit_consumers.positions import TopicPartition
from audit_schemas.errors import ContractBroken

_NAMES = ("kafka_topic", "kafka_partition", "paused", "who", "why")


@dataclass(frozen=True, slots=True)
class Pause:
    """A partition that is held: by whom, why, and since when in milliseconds since 1970."""

    partition: TopicPartition
    who: str
    why: str
    since_ms: int

    def __str__(self) -> str:
        since = datetime.fromtimestamp(self.since_ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        return f"{self.partition}  paused since {since} by {self.who}" + (f": {self.why}" if self.why else "")


class Pauses:
    """Reads and writes the table. Thread-safe; every call blocks until ClickHouse answered."""

    def __init__(self, store: ClickHouseStore) -> None:
        self._store = store

    def all(self) -> list[Pause]:
        """The partitions that are held, in order."""
        rows = self._store.rows(
            "SELECT kafka_topic, kafka_partition, who, why, toUnixTimestamp64Milli(at) FROM audit_pauses FINAL"
            " WHERE paused ORDER BY kafka_topic, kafka_partition",
            {},
        )
        return [Pause(TopicPartition(topic, number), who, why, at) for topic, number, who, why, at in rows]

    def held(self) -> frozenset[TopicPartition]:
        """The same as the worker needs it."""
        return frozenset(pause.partition for pause in self.all())

    def pause(self, partition: TopicPartition, who: str, why: str) -> None:
        """Holds the partition, from within about a second on; durable when it returns. Repeating it renews the reason."""
        self._write(partition, who, why, paused=True)

    def resume(self, partition: TopicPartition, who: str) -> Pause:
        """Lets the partition go on, and returns the pause that ends. Raises `ContractBroken` when it is not held."""
        held = {pause.partition: pause for pause in self.all()}
        if partition not in held:
            raise ContractBroken(f"{partition} is not paused; paused: {', '.join(map(str, held)) or 'none'}")
        self._write(partition, who, "", paused=False)
        return held[partition]

    def _write(self, partition: TopicPartition, who: str, why: str, *, paused: bool) -> None:
        row = (partition.topic, partition.partition, int(paused), who, why)
        self._store.insert_rows("audit_pauses", _NAMES, [row])


def refuse_unknown(partition: TopicPartition, topics: Mapping[str, int], wanted: Collection[str]) -> None:
    """Raises `ContractBroken` unless it is a partition of `topics`, name → partitions; the text says which there are.

    `wanted` are the topics that workers read; one that is not among them can't be paused even when it exists.
    """
    known = {topic: count for topic, count in topics.items() if topic in wanted}
    if not 0 <= partition.partition < known.get(partition.topic, 0):
        there = ", ".join(f"{topic}[0]" if count == 1 else f"{topic}[0-{count - 1}]" for topic, count in known.items())
        raise ContractBroken(f"there is no partition {partition}; there are {there or 'none: no topic exists'}")


__all__ = ["Pause", "Pauses", "refuse_unknown"]
