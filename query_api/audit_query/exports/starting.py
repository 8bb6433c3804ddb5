"""What an export fixes when it starts: read once, and the same for every part, whoever makes it and when."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from importlib.metadata import version
from importlib.resources import files
from time import monotonic
from typing import Final

from audit_query.budgets import Budget
from audit_query.exports import cuts
from audit_query.exports.job import Export, Fixed, Versions
from audit_query.exports.part import Position
from audit_query.freshness import Freshness
from audit_query.ledger import Ledger
from audit_query.ports import Clock, Reading
from audit_query.sql import Query
from audit_schemas.topics import event_topics

DISTRIBUTION: Final = "workspace-audit-log"


async def versions(reader: Reading) -> Versions:
    """What this process, with this engine, makes the bytes with."""
    rows = await reader.rows(cuts.time_zones())
    return Versions(
        software=version(DISTRIBUTION),
        schema=_sha256("avro/audit_event.v1.avsc"),
        catalogue=_sha256("catalogue/types.toml"),
        tzdata=rows[0][0] if rows else "",
    )


class Starting:
    """Reads the tables; belongs to one event loop."""

    def __init__(self, reader: Reading, topic_prefix: str, clock: Clock, budget: Budget, gap_after_s: float) -> None:
        self._reader, self._prefix, self._topics = reader, topic_prefix, event_topics(topic_prefix)
        self._clock, self._budget, self._gap_after_s = clock, budget, gap_after_s

    async def versions(self) -> Versions:
        """What the bytes would be made with now."""
        return await versions(self._reader)

    async def fix(self, export: Export) -> Fixed:
        """The state of the log that the export is of."""
        # A new one begins where the workers say they are; one that is kept would go through all batches since.
        freshness = Freshness(self._reader, self._prefix, self._clock, cache_s=0)
        snapshot = await Ledger(self._reader, freshness, self._prefix, 0, monotonic).snapshot()
        names = {row[0]: row[1] for row in await self._reader.rows(cuts.topics(self._topics))}
        positions = tuple(
            Position(names[log.topic_id], log.topic_id, log.partition, end)
            for log, end in sorted(snapshot.ends.items())
            if log.topic_id in names
        )
        filter_, workspace = export.asked.filter, export.workspace_id
        before = int((self._clock().timestamp() - self._gap_after_s) * 1000)
        ((total,),) = await self._reader.rows(self._within(cuts.count(workspace, filter_, positions)))
        ((quarantined,),) = await self._reader.rows(self._within(cuts.quarantined(workspace, filter_, positions)))
        ((holes, missing),) = await self._reader.rows(self._within(cuts.gaps_of_all_workspaces(filter_, before)))
        return Fixed(
            positions=positions,
            complete_through=snapshot.complete_through["all"],
            versions=await self.versions(),
            rows=total,
            quarantined=quarantined,
            holes=holes,
            missing=missing,
        )

    def _within(self, query: Query) -> Query:
        return replace(query, budget=self._budget)


def _sha256(name: str) -> str:
    return hashlib.sha256((files("audit_schemas") / name).read_bytes()).hexdigest()


__all__ = ["DISTRIBUTION", "Starting", "versions"]
