"""The worker's loop: poll, batch, commit the intent, insert, write the ledger, commit the offset.

Everything that commits happens on the polling thread; everything that blocks on ClickHouse or asks the cluster runs on
pool threads and comes back as a finished future. `docs/architecture.md` follows one record through it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Executor, Future
from typing import Any, Protocol

import structlog

from audit_consumers.batch import Record, Schemas
from audit_consumers.delivery import Delivery
from audit_consumers.feed import Feed
from audit_consumers.freshness import Freshness
from audit_consumers.gap_watch import GapWatch, Watched
from audit_consumers.landing import Lander
from audit_consumers.limits import BadRecords
from audit_consumers.linger import Linger
from audit_consumers.metrics import WorkerMetrics
from audit_consumers.options import Options
from audit_consumers.partition import Assigned, Status
from audit_consumers.pausing import Pausing
from audit_consumers.ports import Assignments, Clock, Cluster, GroupConsumer, Store
from audit_consumers.positions import TopicPartition
from audit_consumers.progress import Progress
from audit_consumers.resuming import ASK_AGAIN_S, Resuming
from audit_consumers.tasks import Tasks
from audit_schemas.errors import RegistryUnavailable, Transient

log = structlog.get_logger("audit_consumers.worker")

_POLL_RECORDS = 1000
_POLL_S = 0.02
_OVERDUE = 2
"""Times the linger: by then a batch is sealed however many others wait for an inserter."""


class JoinGroup(Protocol):
    """Makes the group member that reports to the given listener."""

    def __call__(self, listener: Assignments) -> GroupConsumer:
        """Joins the group."""


class Worker:
    """Brings the assigned partitions into ClickHouse until told to stop. `step` is one turn of the loop.

    Without `watched` it looks for no gaps among the producers' numbers. `held` says which partitions operators paused.
    """

    def __init__(
        self,
        *,
        join: JoinGroup,
        cluster: Cluster,
        store: Store,
        lander: Lander,
        schemas: Schemas,
        clock: Clock,
        pool: Executor,
        inserters: Executor,
        options: Options,
        metrics: WorkerMetrics,
        watched: Watched | None = None,
        held: Callable[[], Collection[TopicPartition]] = frozenset,
    ) -> None:
        self._cluster, self._clock, self._options, self._metrics = cluster, clock, options, metrics
        self._assigned: dict[TopicPartition, Assigned] = {}
        self._assignments = 0
        self._next_topic_check = 0.0
        self._tasks = Tasks(pool, inserters)
        self._linger = Linger(options.flush)
        self._consumer = join(self)
        self._resuming = Resuming(
            consumer=self._consumer,
            cluster=cluster,
            store=store,
            schemas=schemas,
            limits=options.limits,
            clock=clock,
            tasks=self._tasks,
        )
        self._delivery = Delivery(
            consumer=self._consumer,
            cluster=cluster,
            store=store,
            lander=lander,
            schemas=schemas,
            clock=clock,
            tasks=self._tasks,
            options=options,
            linger=self._linger,
            metrics=metrics,
            begin_again=self._begin_again,
        )
        self._pausing = Pausing(held, clock=clock, tasks=self._tasks, metrics=metrics)
        self._freshness = Freshness(cluster=cluster, store=store, clock=clock, tasks=self._tasks)
        self._gap_watch = (
            GapWatch(watched, clock=clock, tasks=self._tasks, metrics=metrics) if watched is not None else None
        )

    def step(self) -> None:
        """One turn: read, and move every partition as far as it can go. Raises what must stop the worker."""
        for partition, records in self._consumer.poll(_POLL_RECORDS, _POLL_S):
            self._take(partition, records)
        for partition in self._consumer.take_out_of_range():
            if (one := self._assigned.get(partition)) is not None and one.status is Status.RUNNING:
                self._begin_again(one, "Kafka refused the position")
        assigned = list(self._assigned.values())
        self._pausing.advance(assigned)
        self._resuming.advance(assigned)
        self._seal(assigned)
        self._delivery.advance(assigned)
        self._balance(assigned)
        self._freshness.advance(assigned)
        if self._gap_watch is not None:
            self._gap_watch.advance(assigned)
        self._check_topics()

    def stop(self) -> None:
        """Finishes what is on its way, within the deadline, and leaves the group. Never half a batch."""
        try:
            self._delivery.drain(list(self._assigned.values()))
        finally:
            self._consumer.close()

    @property
    def statuses(self) -> dict[str, tuple[Status, str]]:
        """Of each assigned partition its status and why; a copy that other threads may read."""
        return {str(partition): (one.status, one.why) for partition, one in self._assigned.copy().items()}

    @property
    def held(self) -> list[str]:
        """The assigned partitions that operators paused; a copy that other threads may read."""
        return sorted(str(partition) for partition, one in self._assigned.copy().items() if one.held)

    def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """See `Assignments`."""
        for partition in partitions:
            self._assignments += 1
            self._assigned[partition] = Assigned(
                partition, self._assignments, BadRecords(self._options.bad), Progress(self._options.margin_ms)
            )
        log.info("partitions assigned", partitions=[str(partition) for partition in partitions])

    def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """See `Assignments`: finishes their batches, or leaves the open intent to the next owner."""
        self._delivery.drain([self._assigned[partition] for partition in partitions if partition in self._assigned])
        self._drop(partitions)
        log.info("partitions revoked", partitions=[str(partition) for partition in partitions])

    def lost(self, partitions: Sequence[TopicPartition]) -> None:
        """See `Assignments`: drops everything, commits nothing."""
        self._drop(partitions)
        log.warning("partitions lost", partitions=[str(partition) for partition in partitions])

    def _drop(self, partitions: Sequence[TopicPartition]) -> None:
        for partition in partitions:
            if (one := self._assigned.pop(partition, None)) is not None:
                one.forget()
                one.gone = True

    def _take(self, partition: TopicPartition, records: list[Record]) -> None:
        one = self._assigned.get(partition)
        if one is None or one.status is not Status.RUNNING or not records:
            return
        self._linger.saw(partition, self._clock.monotonic())
        if one.progress.arrived(records[0].timestamp()[1]):
            self._metrics.false_watermarks.inc()
            log.error("false watermark", partition=str(partition), margin_ms=one.progress.margin_ms)
        self._offer(one, records)

    def _offer(self, one: Assigned, records: Sequence[Record]) -> None:
        if one.feed is None:
            return
        try:
            jump = one.feed.add(records, self._clock.monotonic())
        except RegistryUnavailable as error:
            if not one.why:
                log.warning("registry unavailable", partition=str(one.partition), error=str(error))
            one.why = str(error)
            return
        one.why = ""
        if jump is not None:
            self._consumer.resume_at(one.partition, jump)

    def _seal(self, assigned: list[Assigned]) -> None:
        """Seals what has waited long enough, the longest first, as far as inserters are free to take it.

        While none is, a batch goes on growing, which costs less than a queue of small ones; but not for ever.
        """
        now = self._clock.monotonic()
        linger = self._linger.seconds(now)
        self._metrics.linger.set(linger)
        due: list[tuple[float, Feed]] = []
        for one in assigned:
            if one.feed is not None and one.status is Status.RUNNING:
                if one.feed.behind:
                    self._offer(one, ())
                if (waited := one.feed.waited(now)) >= linger:
                    due.append((waited, one.feed))
        room = self._delivery.room(assigned)
        for waited, feed in sorted(due, key=lambda candidate: -candidate[0]):
            if room > 0 or waited >= _OVERDUE * linger:
                feed.seal()
                room -= 1

    def _balance(self, assigned: list[Assigned]) -> None:
        """Pauses what operators hold, what reads faster than it lands, and once memory is short what holds batches."""
        buffered = sum(one.size for one in assigned)
        self._metrics.buffered.set(buffered)
        for one in assigned:
            if one.status is not Status.RUNNING or one.feed is None:
                continue
            if one.held or one.feed.behind or one.backlog >= 2 or (buffered > self._options.max_buffer and one.size):
                self._consumer.pause(one.partition)
            elif one.backlog == 0 or buffered < self._options.max_buffer // 2:
                self._consumer.resume(one.partition)
        for status in Status:
            self._metrics.partitions.labels(status.value).set(sum(one.status is status for one in assigned))

    def _begin_again(self, one: Assigned, why: str) -> None:
        """Forgets what is in memory and asks anew where to go on."""
        log.warning("partition begins again", partition=str(one.partition), why=why)
        one.forget()
        self._assignments += 1
        one.number = self._assignments
        self._consumer.pause(one.partition)

    def _check_topics(self) -> None:
        """A recreated topic is another log; it is noticed here even while nothing is inserted."""
        now = self._clock.monotonic()
        if now < self._next_topic_check:
            return
        self._next_topic_check = now + ASK_AGAIN_S
        topics = {one.partition.topic for one in self._assigned.values() if one.status is Status.RUNNING}
        if topics:
            self._tasks.run(lambda: self._cluster.topic_ids(topics), self._topics_checked)

    def _topics_checked(self, future: Future[Any]) -> None:
        try:
            ids = future.result()
        except Transient as error:
            log.warning("topic ids can't be read", error=str(error))
            return
        for one in list(self._assigned.values()):
            known = ids.get(one.partition.topic)
            if one.feed is not None and known is not None and known[0] != one.topic_id:
                self._begin_again(one, "the topic was created anew")


__all__ = ["JoinGroup", "Worker"]
