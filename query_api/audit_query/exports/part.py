"""What of the matching events one file holds: a range of keys, and nothing stored behind fixed Kafka positions. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from audit_query.conditions import Condition
from audit_query.sql import instant


@dataclass(frozen=True, slots=True)
class Key:
    """What events are sorted by: microseconds since 1970, then the id, which compares as ClickHouse compares UUIDs."""

    occurred_at: int
    event_id: str


@dataclass(frozen=True, slots=True)
class Position:
    """Where the ledger of one partition ends; `end` is exclusive. A topic that is made again has another id."""

    topic: str
    topic_id: str
    partition: int
    end: int


Positions = tuple[Position, ...]
"""The ends of all partitions. A row of a partition that is not among them does not belong."""


@dataclass(frozen=True, slots=True)
class Slice:
    """The events from `newest` down to `oldest`, both inclusive, None where unbounded, as of the rows in `positions`."""

    newest: Key | None = None
    oldest: Key | None = None
    positions: Positions | None = None

    def condition(self) -> Condition | None:
        """The rows that there are for this part; None when it is everything."""
        parts: list[str] = []
        values: dict[str, Any] = {}
        for name, operator, key in (("newest", "<=", self.newest), ("oldest", ">=", self.oldest)):
            if key is not None:
                # The first comparison is implied by the second, but only it can use the index (ClickHouse issue 75086).
                at = instant(f"{name}_at")
                parts.append(f"occurred_at {operator} {at}")
                parts.append(f"(occurred_at, event_id) {operator} ({at}, {{{name}_id:UUID}})")
                values |= {f"{name}_at": key.occurred_at, f"{name}_id": key.event_id}
        if self.positions is not None:
            log = "concat(kafka_topic_id, ':', toString(kafka_partition))"
            parts.append(f"kafka_offset < transform({log}, {{logs:Array(String)}}, {{ends:Array(Int64)}}, toInt64(0))")
            values["logs"] = [f"{one.topic_id}:{one.partition}" for one in self.positions]
            values["ends"] = [one.end for one in self.positions]
        return Condition(" AND ".join(parts), values) if parts else None


__all__ = ["Key", "Position", "Positions", "Slice"]
