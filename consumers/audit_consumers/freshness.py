"""Publishes how far each partition is complete, once a second at most."""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import Future
from typing import Any

import structlog

from audit_consumers.partition import Assigned, Status
from audit_consumers.ports import Clock, Cluster, ProgressRow, Store
from audit_consumers.positions import TopicPartition
from audit_consumers.tasks import Tasks
from audit_schemas.errors import Transient

log = structlog.get_logger("audit_consumers.freshness")

_EVERY_S = 1.0


class Freshness:
    """See the module. Belongs to the polling thread."""

    def __init__(self, *, cluster: Cluster, store: Store, clock: Clock, tasks: Tasks) -> None:
        self._cluster, self._store, self._clock, self._tasks = cluster, store, clock, tasks
        self._next = 0.0
        self._running = False

    def advance(self, assigned: Collection[Assigned]) -> None:
        """Starts the next publication when it is due and the last one is done."""
        now = self._clock.monotonic()
        if self._running or now < self._next:
            return
        self._next = now + _EVERY_S
        running = {one.partition: one for one in assigned if one.status is Status.RUNNING}
        if not running:
            return
        idle = [one.partition for one in running.values() if one.work is None and one.backlog == 0]
        self._running = True
        self._tasks.run(lambda: self._ask(idle), lambda future: self._publish(running, future))

    def _ask(self, idle: list[TopicPartition]) -> tuple[int, dict[TopicPartition, int]]:
        """The clock is read before the question: what is appended later is none of this answer's business."""
        clock_before = self._clock.now_ms()
        bounds = self._cluster.bounds(idle)
        return clock_before, {partition: bounds[partition].end for partition in idle}

    def _publish(self, running: dict[TopicPartition, Assigned], future: Future[Any]) -> None:
        self._running = False
        try:
            clock_before, ends = future.result()
        except Transient as error:
            log.warning("log ends can't be read", error=str(error))
            clock_before, ends = 0, {}
        rows: list[ProgressRow] = []
        for partition, one in running.items():
            if one.feed is None or one.status is not Status.RUNNING or one.gone:
                continue
            if partition in ends:
                one.progress.idle(clock_before, ends[partition], one.ledgered_end)
            if one.progress.unpublished:
                plan = one.feed.plan
                rows.append(
                    ProgressRow(
                        plan.log,
                        plan.partition_count,
                        one.progress.complete_through_ms,
                        one.ledgered_end,
                        self._clock.now_ms(),
                    )
                )
        if rows:
            self._running = True
            self._tasks.run(lambda: self._store.write_progress(rows), lambda done: self._published(running, rows, done))

    def _published(self, running: dict[TopicPartition, Assigned], rows: list[ProgressRow], future: Future[Any]) -> None:
        self._running = False
        try:
            future.result()
        except Transient as error:
            log.warning("progress not written", error=str(error))
            return
        for row in rows:
            progress = running[row.log.topic_partition].progress
            progress.published_ms = max(progress.published_ms, row.complete_through_ms)


__all__ = ["Freshness"]
