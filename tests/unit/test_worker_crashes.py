"""A worker that crashes between any two steps, in memory: every offset still ends in exactly one place."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Collection
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_consumers.batch import Limits, Record
from audit_consumers.landing import Lander
from audit_consumers.metrics import WorkerMetrics
from audit_consumers.options import Options
from audit_consumers.partition import Status
from audit_consumers.positions import Log, Range, TopicPartition, holes
from audit_consumers.worker import JoinGroup, Worker
from audit_schemas.codec import encode, frame
from audit_schemas.registry import StaticRegistry
from tests.builders import event
from tests.fakes import (
    CrashError,
    FakeClock,
    FakeConsumer,
    FakeDeadLetters,
    FakeKafka,
    FakeStore,
    InlineExecutor,
    position,
)

FILES = TopicPartition("t.files", 0)
CRM = TopicPartition("t.crm", 0)
TURNS = 400


@dataclass
class System:
    """Kafka and ClickHouse outlive the workers; `crash_at` counts the steps until the next crash."""

    clock: FakeClock = field(default_factory=FakeClock)
    crash_at: int | None = None
    steps: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.kafka = FakeKafka(self.clock, {"t.files": "A", "t.crm": "B"}, step=self.step)
        self.store = FakeStore(self.step)
        self.letters = FakeDeadLetters(self.step)
        self.expected: dict[TopicPartition, list[bool]] = {FILES: [], CRM: []}

    def step(self, name: str) -> None:
        self.steps.append(name)
        if self.crash_at is not None:
            self.crash_at -= 1
            if self.crash_at < 0:
                self.crash_at = None
                raise CrashError(name)

    def send(self, partition: TopicPartition, count: int, bad_every: int = 0) -> None:
        for number in range(count):
            bad = bool(bad_every) and number % bad_every == bad_every - 1
            category = partition.topic.partition(".")[2]
            good = frame(encode(event(event_id=str(uuid.uuid4()), category=category)))
            choices = (b"\x01broken", good[:-4], good + b"x", frame(encode(event(category="tasks"))), None)
            self.kafka.produce(partition, choices[number // bad_every % len(choices)] if bad else good)
            self.expected[partition].append(not bad)

    def worker(
        self,
        inserters: Executor | None = None,
        options: Options | None = None,
        join: JoinGroup | None = None,
        held: Callable[[], Collection[TopicPartition]] = frozenset,
    ) -> Worker:
        schemas = StaticRegistry().schema
        return Worker(
            join=join or (lambda listener: FakeConsumer(self.kafka, listener)),
            cluster=self.kafka,
            store=self.store,
            lander=Lander(self.store, self.letters, schemas, "c", self.clock),
            schemas=schemas,
            clock=self.clock,
            pool=InlineExecutor(),
            inserters=inserters or InlineExecutor(),
            options=options or Options(limits=Limits(rows=7), flush=0.1, stop_timeout=1.0),
            metrics=WorkerMetrics(),
            held=held,
        )

    def run(self, turns: int = TURNS) -> bool:
        """Runs a worker until everything is committed; False when it crashed."""
        try:
            worker = self.worker()
            for _ in range(turns):
                worker.step()
                self.clock.advance(0.05)
                if self.done():
                    return True
        except CrashError:
            return False
        raise AssertionError(f"not done after {turns} turns: {worker.statuses}, {self.kafka.commits}")

    def done(self) -> bool:
        return all(
            partition in self.kafka.commits
            and self.kafka.commits[partition].offset == len(rows)
            and self.kafka.commits[partition].metadata.intent is None
            for partition, rows in self.expected.items()
        )

    def prove(self) -> None:
        """Every offset is once in events or quarantine, the ledger tiles, and everybody is listed."""
        for partition, rows in self.expected.items():
            log = Log(partition.topic, self.kafka.ids[partition.topic], 0)
            found = Counter(row["kafka_offset"] for row in self.store.events if row["kafka_topic_id"] == log.topic_id)
            aside = {key[2] for key in self.store.quarantined if key[0] == log.topic_id}
            assert set(found) == {offset for offset, good in enumerate(rows) if good}
            assert aside == {offset for offset, good in enumerate(rows) if not good}
            assert set(found.values()) <= {1}, "a row is stored twice"
            ledger = sorted(row.offsets for row in self.store.ledger_rows.values() if row.log == log)
            assert sum(map(len, ledger)) == len(rows), "ledger rows overlap or leave holes"
            assert not rows or list(holes(ledger, Range(0, len(rows) - 1))) == []
        assert self.store.listed == {position(row) for row in self.store.events}
        letters = {(row.log.topic_id, row.offset) for row in self.letters.published}
        assert letters == {(key[0], key[2]) for key in self.store.quarantined}


def filled() -> System:
    system = System()
    system.send(FILES, 30, bad_every=4)
    system.send(CRM, 11)
    return system


def steps_of_a_run() -> int:
    system = filled()
    assert system.run()
    system.prove()
    return len(system.steps)


@pytest.mark.parametrize("first", range(0, 200, 20))
def test_a_crash_between_any_two_steps_heals(first: int) -> None:
    """One crash at each step of a whole run, and another soon after in the recovery."""
    total = steps_of_a_run()
    assert total <= 400, "more steps than this test covers"
    for crash_at in (*range(first, min(first + 20, total)), *range(first + 200, min(first + 220, total))):
        for again in (None, crash_at % 7):
            system = filled()
            system.crash_at = crash_at
            if not system.run() and again is not None:
                system.crash_at = again
                system.run()
            system.crash_at = None
            system.clock.advance(8)
            assert system.run()
            system.prove()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 120), max_size=6),
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 9)), min_size=1, max_size=4),
)
def test_any_history_of_crashes_and_records_heals(crashes: list[int], sent: list[tuple[int, int]]) -> None:
    """Whatever was sent between whatever crashes, good and bad records in any mixture."""
    system = System()
    for number, (count, bad_every) in enumerate(sent):
        system.send(FILES if number % 2 else CRM, count, bad_every)
        if crashes:
            system.crash_at = crashes.pop()
            system.run()
            system.crash_at = None
            system.clock.advance(1)
    assert system.run()
    system.prove()


def test_a_group_reset_reads_nothing_twice() -> None:
    """The ledger, not the commit, says what is done."""
    system = filled()
    assert system.run()
    before = list(system.store.events)
    system.kafka.commits.clear()
    assert system.run()
    system.prove()
    assert system.store.events == before


def test_a_lost_commit_does_not_lose_the_intent() -> None:
    """Rows that are stored beyond the ledger belong to an intent that is gone: they are found by looking."""
    system = filled()
    system.crash_at = 1000
    worker = system.worker()
    while not system.store.events:
        worker.step()
        system.clock.advance(0.05)
    system.kafka.commits.clear()
    system.store.ledger_rows.clear()
    system.crash_at = None
    assert system.run()
    system.prove()


def test_a_recreated_topic_is_read_from_its_beginning() -> None:
    """The same offsets under another id are other records."""
    system = filled()
    worker = system.worker()
    for _ in range(60):
        worker.step()
        system.clock.advance(0.05)
    assert system.done()
    system.kafka.recreate("t.files", "A2")
    system.expected[FILES] = []
    system.send(FILES, 9)
    for _ in range(600):
        worker.step()
        system.clock.advance(0.05)
    assert system.done()
    log = Log("t.files", "A2", 0)
    assert sorted(row["kafka_offset"] for row in system.store.events if row["kafka_topic_id"] == "A2") == list(range(9))
    assert sum(len(row.offsets) for row in system.store.ledger_rows.values() if row.log == log) == 9


def test_a_replaced_worker_commits_nothing_and_harms_nothing() -> None:
    """Two workers, one of which does not know yet that it was replaced."""
    system = filled()
    old = system.worker()
    for _ in range(6):
        old.step()
    assert system.run()
    for _ in range(5):
        old.step()
        system.clock.advance(0.1)
    system.prove()


def test_too_many_bad_records_halt_the_partition() -> None:
    """A producer gone wrong is an alarm, not a topic drained into quarantine."""
    system = System()
    for _ in range(40_000):
        system.kafka.produce(FILES, b"\x01junk")
    worker = system.worker()
    for _ in range(12_000):
        worker.step()
        system.clock.advance(0.05)
        if worker.statuses[str(FILES)][0] is Status.HALTED:
            break
    status, why = worker.statuses[str(FILES)]
    assert (status, "bad" in why) == (Status.HALTED, True)
    assert len(system.store.quarantined) < 10_000


class SkippingConsumer(FakeConsumer):
    """A client with a fault: once it leaves out records from the middle."""

    skips = 1

    def poll(self, limit: int, timeout: float) -> list[tuple[TopicPartition, list[Record]]]:
        found = super().poll(limit, timeout)
        if found and self.skips:
            self.skips -= 1
            partition, records = found[0]
            found[0] = (partition, records[:2] + records[4:])
        return found


def test_records_the_client_skipped_are_read_again() -> None:
    """A gap is taken for one only when the log, asked again, holds nothing there."""
    system = System()
    system.send(FILES, 6)
    system.send(CRM, 6)
    worker = system.worker(join=lambda listener: SkippingConsumer(system.kafka, listener))
    for _ in range(TURNS):
        worker.step()
        system.clock.advance(0.05)
    assert system.done()
    system.prove()
    assert all(row.gaps == () for row in system.store.ledger_rows.values())


def backlog(worker: Worker, partition: TopicPartition) -> int:
    """Sealed batches of the partition that are not sent."""
    return worker._assigned[partition].backlog


class HeldExecutor(Executor):
    """Takes everything and finishes nothing: inserters that wait for an answer."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return Future()


def test_batches_grow_while_no_inserter_is_free() -> None:
    """Two batches per inserter are under way; the others go on growing, but not beyond twice the linger."""
    system = System()
    system.kafka.partitions = 2
    partitions = [TopicPartition(topic, number) for topic in system.kafka.ids for number in range(2)]
    worker = system.worker(inserters=HeldExecutor(), options=Options(flush=1.0, inserters=1))

    def turns(seconds: float) -> None:
        until = system.clock.seconds + seconds
        while system.clock.seconds < until:
            worker.step()
            system.clock.advance(0.05)

    turns(0.5)
    system.expected = {partition: [] for partition in partitions}
    for partition in partitions:
        system.send(partition, 3)
    turns(1.5)
    sent = [one for one in partitions if system.kafka.commits[one].metadata.intent is not None]
    waiting = [one for one in partitions if one not in sent]
    assert len(sent) == 2
    assert [backlog(worker, one) for one in waiting] == [0, 0]
    for partition in waiting:
        system.send(partition, 4)
    turns(1.0)
    assert [backlog(worker, one) for one in waiting] == [1, 1]
    assert [system.kafka.commits[one].metadata.intent for one in waiting] == [None, None]
