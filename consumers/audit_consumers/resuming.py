"""Finds out where each newly assigned partition goes on, and sets it going."""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import structlog

from audit_consumers.batch import Limits, Schemas
from audit_consumers.feed import Feed
from audit_consumers.partition import Assigned, Status
from audit_consumers.ports import Clock, Cluster, Committed, GroupConsumer, Store
from audit_consumers.positions import Log, TopicPartition
from audit_consumers.resume import Plan, Stopped, first_needed, plan
from audit_consumers.tasks import Tasks
from audit_schemas.errors import Transient

log = structlog.get_logger("audit_consumers.resuming")

ASK_AGAIN_S = 10.0
_STOPPED_S = 3.0
"""An operator who has accepted a loss watches."""
_SOON_S = 1.0


@dataclass(frozen=True, slots=True)
class TopicGone:
    """The topic does not exist (any more)."""


def find_plans(
    cluster: Cluster, store: Store, committed: dict[TopicPartition, Committed]
) -> dict[TopicPartition, Plan | Stopped | TopicGone]:
    """Asks Kafka and the tables about all partitions at once. Blocks; for a pool thread."""
    topics = cluster.topic_ids({partition.topic for partition in committed})
    logs = {
        partition: Log(partition.topic, topics[partition.topic][0], partition.partition)
        for partition in committed
        if partition.topic in topics
    }
    bounds = cluster.bounds(list(logs))
    ledger = store.ledger({logs[partition]: 0 for partition in logs})
    found: dict[TopicPartition, Plan | Stopped | TopicGone] = {
        partition: TopicGone() for partition in committed if partition not in logs
    }
    for partition, one in logs.items():
        start = first_needed(one, committed[partition], ledger[one], bounds[partition])
        found[partition] = plan(
            one,
            topics[partition.topic][1],
            committed[partition],
            ledger[one],
            store.highest_stored(one, start),
            bounds[partition],
        )
    return found


class Resuming:
    """See the module. Belongs to the polling thread."""

    def __init__(
        self,
        *,
        consumer: GroupConsumer,
        cluster: Cluster,
        store: Store,
        schemas: Schemas,
        limits: Limits,
        clock: Clock,
        tasks: Tasks,
    ) -> None:
        self._consumer, self._cluster, self._store = consumer, cluster, store
        self._schemas, self._limits, self._clock, self._tasks = schemas, limits, clock, tasks

    def advance(self, assigned: Collection[Assigned]) -> None:
        """Asks for those that have no plan yet, and again for those that stopped."""
        now = self._clock.monotonic()
        wanting = [
            one
            for one in assigned
            if one.status in (Status.RESOLVING, Status.STOPPED) and not one.asking and now >= one.ask_again_at
        ]
        if not wanting:
            return
        try:
            committed = self._consumer.committed([one.partition for one in wanting])
        except Transient as error:
            log.warning("commits can't be read", error=str(error))
            for one in wanting:
                one.ask_again_at = now + _SOON_S
            return
        for one in wanting:
            one.asking = True
        asked = [(one, one.number) for one in wanting]
        self._tasks.run(
            lambda: find_plans(self._cluster, self._store, committed),
            lambda future: self._found(asked, committed, future),
        )

    def _found(
        self, asked: list[tuple[Assigned, int]], committed: dict[TopicPartition, Committed], future: Future[Any]
    ) -> None:
        now = self._clock.monotonic()
        for one, _ in asked:
            one.asking = False
            one.ask_again_at = now + _SOON_S
        try:
            plans = future.result()
        except Transient as error:
            log.warning("the way on can't be found yet", error=str(error))
            return
        for one, number in asked:
            if one.number == number and not one.gone:
                self._apply(one, committed[one.partition], plans[one.partition], now)

    def _apply(self, one: Assigned, committed: Committed, found: Plan | Stopped | TopicGone, now: float) -> None:
        match found:
            case TopicGone():
                one.why, one.ask_again_at = "the topic does not exist", now + ASK_AGAIN_S
            case Stopped():
                self._stop(one, found, now)
            case Plan():
                self._go(one, committed, found)

    def _stop(self, one: Assigned, found: Stopped, now: float) -> None:
        why = f"{found.reason}: {found.missing}"
        if why != one.why:
            log.error(
                "partition stopped",
                partition=str(one.partition),
                topic_id=found.log.topic_id,
                reason=found.reason,
                missing=str(found.missing),
                way_out=f"audit-log lost accept {one.partition.topic} {one.partition.partition}"
                f" {found.missing.first} {found.missing.last}",
            )
        one.status, one.why, one.ask_again_at = Status.STOPPED, why, now + _STOPPED_S

    def _go(self, one: Assigned, committed: Committed, found: Plan) -> None:
        one.feed = Feed(found, self._schemas, self._limits)
        one.committed = committed.offset if committed.metadata.topic_id == found.log.topic_id else None
        one.ledgered_end = found.start
        self._consumer.resume_at(one.partition, found.start)
        if one.held:
            self._consumer.pause(one.partition)
        one.status, one.why = Status.RUNNING, ""
        # With nothing open the line says nothing new; with hundreds of partitions it would hide those that do.
        tell = log.info if found.intent or found.doubt_until > found.start else log.debug
        tell(
            "partition resumes",
            partition=str(one.partition),
            topic_id=found.log.topic_id,
            start=found.start,
            open_intent=str(found.intent.offsets) if found.intent else None,
            doubt_until=found.doubt_until,
        )


__all__ = ["ASK_AGAIN_S", "Resuming", "TopicGone", "find_plans"]
