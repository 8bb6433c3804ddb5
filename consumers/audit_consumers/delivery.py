"""Moves each partition's batch from intent to commit, one confirmed step after the other.

All of it runs on the polling thread, which alone may commit; attempts to land run on inserters in between.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Future
from typing import Any

import structlog

from audit_consumers.batch import Schemas
from audit_consumers.feed import Past
from audit_consumers.intent import CommitMetadata
from audit_consumers.landing import Culprits, Doubtful, Impossible, Landed, Lander, Outcome, TooLate, without
from audit_consumers.linger import Linger
from audit_consumers.metrics import WorkerMetrics
from audit_consumers.options import Options
from audit_consumers.partition import Assigned, Stage, Status, Work
from audit_consumers.ports import Clock, Cluster, GroupConsumer, Store
from audit_consumers.positions import TopicPartition
from audit_consumers.tasks import Tasks
from audit_schemas.errors import AuditError, ContractBroken, Transient

log = structlog.get_logger("audit_consumers.delivery")

_RETRY_FIRST_S, _RETRY_MOST_S = 0.2, 15.0
_WAIT_S = 0.05
_AHEAD = 2
"""Batches under way per inserter: the one that it sends, and the next."""


class TopicIds:
    """The topics' ids as they were at or after a moment, asked once for all batches that wait. Thread-safe."""

    def __init__(self, cluster: Cluster, clock: Clock) -> None:
        self._cluster, self._clock = cluster, clock
        self._lock = threading.Lock()
        self._asked_at = float("-inf")
        self._ids: dict[str, tuple[str, int]] = {}
        self._topics: set[str] = set()

    def id_since(self, topic: str, moment: float) -> str:
        """The id of an answer that was asked for after `moment`; "" when the topic does not exist."""
        with self._lock:
            if self._asked_at < moment or topic not in self._topics:
                self._topics.add(topic)
                asked_at = self._clock.monotonic()
                self._ids = self._cluster.topic_ids(self._topics)
                self._asked_at = asked_at
            return self._ids.get(topic, ("", 0))[0]


class _OtherThanReadError(AuditError):
    """The log is not what the batch was made from: the topic is another one by now, or the client left records out."""


class Delivery:
    """See the module. `begin_again` is called for a partition whose log is not what was read."""

    def __init__(
        self,
        *,
        consumer: GroupConsumer,
        cluster: Cluster,
        store: Store,
        lander: Lander,
        schemas: Schemas,
        clock: Clock,
        tasks: Tasks,
        options: Options,
        linger: Linger,
        metrics: WorkerMetrics,
        begin_again: Callable[[Assigned, str], None],
    ) -> None:
        self._consumer, self._store, self._lander, self._schemas = consumer, store, lander, schemas
        self._clock, self._tasks, self._options, self._metrics = clock, tasks, options, metrics
        self._linger, self._begin_again = linger, begin_again
        self._cluster, self._topic_ids = cluster, TopicIds(cluster, clock)
        self._ledger_running = False
        self._ledger_retry_at = 0.0
        self._sending = 0

    def advance(self, assigned: Collection[Assigned]) -> None:
        """Moves every batch as far as it can go now. Raises what must stop the worker."""
        self._tasks.harvest()
        self._write_ledger(assigned)
        self._commit(assigned)

    def drain(self, assigned: Collection[Assigned]) -> None:
        """Finishes the batches that are being sent, within the deadline, and commits without a next intent.

        A batch that was not sent is dropped; one that can't be finished leaves its open intent to the next owner.
        """
        for one in assigned:
            if one.feed is not None:
                one.feed.sealed.clear()
            one.line.clear()
            if one.work is not None and one.work.stage is Stage.NEEDS_INTENT:
                one.work.cancelled = True
                one.work = None
        deadline = self._clock.monotonic() + self._options.stop_timeout
        while any(one.work is not None for one in assigned) and self._clock.monotonic() < deadline:
            self._tasks.wait(_WAIT_S)
            self._tasks.harvest()
            self._write_ledger(assigned)
            self._commit(assigned, next_intents=False)
            for one in assigned:
                # Sent once and in doubt: the next owner looks. Waiting here would only hold the rebalance up.
                if one.work is not None and one.work.stage is Stage.NEEDS_INTENT:
                    one.work = None
        for one in assigned:
            if one.work is not None:
                log.warning(
                    "batch left to the next owner", partition=str(one.partition), offsets=str(one.work.batch.offsets)
                )
                one.work.cancelled = True
                one.work = None

    def room(self, assigned: Iterable[Assigned]) -> int:
        """How many more batches the inserters take up soon, beyond those that are sealed already."""
        waiting = sum(one.backlog for one in assigned if one.status is Status.RUNNING)
        return self._free - waiting

    @property
    def _free(self) -> int:
        """How many more batches may be under way."""
        return _AHEAD * self._options.inserters - self._sending

    # -- ledger ------------------------------------------------------------------------------------------------------

    def _write_ledger(self, assigned: Iterable[Assigned]) -> None:
        """One small insert for all batches that landed since the last one."""
        landed = [one.work for one in assigned if one.work is not None and one.work.stage is Stage.LANDED]
        if not landed or self._ledger_running or self._clock.monotonic() < self._ledger_retry_at:
            return
        rows = [work.row for work in landed if work.row is not None]
        self._ledger_running = True
        self._tasks.run(lambda: self._store.write_ledger(rows), lambda future: self._ledger_written(landed, future))

    def _ledger_written(self, landed: list[Work], future: Future[Any]) -> None:
        self._ledger_running = False
        try:
            future.result()
        except Transient as error:
            log.warning("ledger not written", error=str(error))
            self._ledger_retry_at = self._clock.monotonic() + 1.0
            return
        for work in landed:
            work.stage = Stage.LEDGERED

    # -- commits -----------------------------------------------------------------------------------------------------

    def _due(self, assigned: Iterable[Assigned], now: float) -> dict[TopicPartition, Work]:
        """The batches to send next: those that have waited longest, as many as the inserters take up soon.

        An intent that is committed long before its batch is sent would grow old, and be one more to settle in doubt.
        """
        found: list[tuple[float, TopicPartition, Work]] = []
        for one in assigned:
            if one.feed is None or one.status is not Status.RUNNING:
                continue
            free = one.work is None or one.work.stage is Stage.LEDGERED
            work = one.waiting_work(now) if free else one.work
            if work is not None and work.stage is Stage.NEEDS_INTENT and now >= work.retry_at:
                found.append((work.formed_at, one.partition, work))
        found.sort(key=lambda candidate: candidate[:2])
        return {partition: work for _, partition, work in found[: max(0, self._free)]}

    def _commit(self, assigned: Collection[Assigned], *, next_intents: bool = True) -> None:
        """One commit for everything that is due: ends of ledgered batches, and intents of the ones to send next."""
        now, now_ms = self._clock.monotonic(), self._clock.now_ms()
        due = self._due(assigned, now) if next_intents else {}
        offsets: dict[TopicPartition, tuple[int, CommitMetadata]] = {}
        steps: list[tuple[Assigned, Work | None]] = []
        for one in assigned:
            if one.feed is None or one.status is not Status.RUNNING:
                continue
            work = due.get(one.partition)
            done = one.work if one.work is not None and one.work.stage is Stage.LEDGERED else None
            if work is not None:
                work.intent = work.intent_at(now_ms)
                offsets[one.partition] = (work.batch.offsets.first, one.metadata(work.intent))
            elif done is not None:
                offsets[one.partition] = (done.batch.offsets.last + 1, one.metadata(None))
            elif one.work is None and one.committed != one.ledgered_end:
                offsets[one.partition] = (one.ledgered_end, one.metadata(None))
            else:
                continue
            steps.append((one, work))
        if not offsets:
            return
        started = self._clock.monotonic()
        try:
            taken = self._consumer.commit(offsets)
        except Transient as error:
            log.warning("commit failed", error=str(error))
            return
        self._metrics.commit_seconds.observe(self._clock.monotonic() - started)
        for one, work in steps:
            if one.partition in taken:
                self._committed(one, work, offsets[one.partition][0])
            else:
                self._metrics.commits_refused.inc()

    def _committed(self, one: Assigned, work: Work | None, offset: int) -> None:
        one.committed = offset
        if one.work is not None and one.work.stage is Stage.LEDGERED:
            self._finished(one, one.work)
            one.work = None
        if work is not None:
            one.started(work)
            self._send(one, work)

    def _finished(self, one: Assigned, work: Work) -> None:
        row = work.row
        if row is None:
            return
        one.ledgered_to(row.offsets.last + 1)
        if row.highest_append_ms:
            one.progress.landed(row.highest_append_ms)
        self._metrics.batches.inc()
        self._metrics.rows.labels("audit_events").inc(row.rows_events)
        self._metrics.rows.labels("audit_quarantine").inc(row.rows_quarantine)
        one.bad.add(row.rows_events + row.rows_quarantine, row.rows_quarantine)
        if why := one.bad.exceeded:
            log.error("partition halted", partition=str(one.partition), why=why)
            one.status, one.why = Status.HALTED, why
            self._consumer.pause(one.partition)

    # -- attempts ----------------------------------------------------------------------------------------------------

    def _send(self, one: Assigned, work: Work) -> None:
        work.stage = Stage.SENT
        now_ms = self._clock.now_ms()
        work.born_ms = work.born_ms or now_ms
        number, started = one.number, self._clock.monotonic()
        self._sending += 1
        self._tasks.insert(
            lambda: self._attempt(work), lambda future: self._attempted(one, number, work, started, future)
        )

    def _attempt(self, work: Work) -> Outcome:
        """Runs on an inserter."""
        batch, intent = work.batch, work.intent
        if intent is None:
            raise ContractBroken("nothing is sent without an intent")

        def fresh() -> bool:
            return not work.cancelled and self._clock.now_ms() - intent.at_ms < self._options.intent_max_age_ms

        try:
            if why := self._other_than_read(work):
                return Impossible(_OtherThanReadError(why))
        except Transient as error:
            return Doubtful(error)
        if work.past is Past.NONE:
            return self._lander.land(batch, fresh, intent.at_ms)
        return self._lander.settle(batch, fresh, resend=work.resend(self._clock.now_ms()))

    def _other_than_read(self, work: Work) -> str:
        """Why the log is not what the batch was made from; "" when it is. Asks Kafka."""
        log_, gaps = work.batch.log, work.batch.gaps
        topic_id = self._topic_ids.id_since(log_.topic, work.formed_at)
        if topic_id != log_.topic_id:
            return f"{log_} is {topic_id or 'gone'} now"
        # A ledger row with a gap says that nothing was there. That is too much to take from the client alone.
        missed = self._cluster.missed(log_.topic_partition, gaps) if gaps else []
        return f"{log_}: {len(missed)} records from offset {missed[0]} were skipped" if missed else ""

    def _attempted(self, one: Assigned, number: int, work: Work, started: float, future: Future[Outcome]) -> None:
        self._sending -= 1
        outcome = future.result()
        seconds = self._clock.monotonic() - started
        self._metrics.attempts.labels(type(outcome).__name__.lower()).inc()
        self._metrics.insert_seconds.observe(seconds)
        if one.number != number or one.work is not work:
            return
        match outcome:
            case Landed(row, insert_s):
                work.row, work.stage = row, Stage.LANDED
                if insert_s:
                    self._linger.inserted(work.batch.rows, insert_s)
            case TooLate():
                work.stage = Stage.NEEDS_INTENT
            case Doubtful(cause):
                self._doubt(one, work, cause)
            case Culprits(reasons):
                log.warning("rows can't be read", partition=str(one.partition), reasons=dict(reasons))
                one.work = None
                for batch in reversed(without(work.batch, reasons, self._schemas)):
                    one.line.appendleft(Work(batch, Past.UNKNOWN, work.formed_at, born_ms=work.born_ms))
            case Impossible(_OtherThanReadError() as cause):
                self._begin_again(one, str(cause))
            case Impossible(cause):
                raise cause

    def _doubt(self, one: Assigned, work: Work, cause: AuditError) -> None:
        work.attempts += 1
        delay = min(_RETRY_MOST_S, _RETRY_FIRST_S * 2 ** min(work.attempts - 1, 10))
        log.warning(
            "batch in doubt",
            partition=str(one.partition),
            offsets=str(work.batch.offsets),
            attempts=work.attempts,
            retry_s=delay,
            error=str(cause),
        )
        if work.past is Past.NONE:
            work.past = Past.SAME_BYTES
        work.stage, work.retry_at = Stage.NEEDS_INTENT, self._clock.monotonic() + delay


__all__ = ["Delivery", "TopicIds"]
