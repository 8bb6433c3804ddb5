"""A worker in memory, some of whose partitions an operator holds."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from audit_consumers.pauses import refuse_unknown
from audit_consumers.positions import Log, TopicPartition
from audit_consumers.worker import Worker
from audit_schemas.errors import ClickHouseUnavailable, ContractBroken
from tests.fakes import CrashError
from tests.unit.test_worker_crashes import CRM, FILES, System


@dataclass
class Held:
    """What the table says; None while ClickHouse is away."""

    partitions: set[TopicPartition] | None = field(default_factory=set)

    def __call__(self) -> set[TopicPartition]:
        if self.partitions is None:
            raise ClickHouseUnavailable("away")
        return set(self.partitions)


def turn(system: System, *workers: Worker, seconds: float = 3) -> None:
    for _ in range(int(seconds / 0.05)):
        for worker in workers:
            worker.step()
        system.clock.advance(0.05)


def stored(system: System, partition: TopicPartition) -> int:
    return sum(row["kafka_topic"] == partition.topic for row in system.store.events)


def marks(system: System, partition: TopicPartition) -> list[int]:
    return [row.complete_through_ms for row in system.store.progress if row.log.topic_partition == partition]


def test_a_paused_partition_waits_and_the_others_go_on() -> None:
    """Its mark stays before the first event that waits; afterwards everything is there, once."""
    system, held = System(), Held()
    system.send(FILES, 20)
    system.send(CRM, 20)
    worker = system.worker(held=held)
    turn(system, worker)
    held.partitions = {FILES}
    turn(system, worker)
    assert worker.held == ["t.files[0]"]
    waiting_since = system.clock.now_ms()
    for _ in range(5):
        system.send(FILES, 10)
        system.send(CRM, 10)
        turn(system, worker)
    assert (stored(system, FILES), stored(system, CRM)) == (20, 70)
    assert waiting_since - 4000 < marks(system, FILES)[-1] <= waiting_since
    assert marks(system, CRM)[-1] > waiting_since
    held.partitions = set()
    resumed_at = system.clock.now_ms()
    turn(system, worker, seconds=5)
    assert marks(system, FILES)[-1] > resumed_at
    assert system.done()
    system.prove()


def test_an_idle_paused_partition_is_complete_all_the_same() -> None:
    """Nothing waits in it, so that nothing is missing."""
    system, held = System(), Held({FILES})
    worker = system.worker(held=held)
    turn(system, worker)
    before = marks(system, FILES)[-1]
    turn(system, worker)
    assert marks(system, FILES)[-1] > before


def test_the_next_owner_holds_it_too() -> None:
    """From its first turn on, also where it has to find out first what is paused; an open intent waits as well."""
    system, held = System(), Held()
    system.send(FILES, 9)
    system.crash_at = steps_until_rows_land(system)
    assert not system.run()
    system.crash_at = None
    committed = system.kafka.commits[FILES]
    assert committed.metadata.intent is not None
    held.partitions = None
    system.send(CRM, 9)
    worker = system.worker(held=held)
    turn(system, worker)
    assert stored(system, CRM) == 0
    held.partitions = {FILES}
    turn(system, worker)
    assert stored(system, CRM) == 9
    assert system.kafka.commits[FILES] == committed
    held.partitions = None
    turn(system, worker)
    assert system.kafka.commits[FILES] == committed
    held.partitions = set()
    turn(system, worker)
    assert system.done()
    system.prove()


def steps_until_rows_land(like: System) -> int:
    other = System()
    other.send(FILES, len(like.expected[FILES]))
    assert other.run()
    return other.steps.index("half of the rows landed")


def test_a_crash_while_paused_loses_nothing() -> None:
    """What had been read before the pause lands or is read again."""
    for crash_at in range(0, 90, 3):
        system, held = System(), Held()
        system.send(FILES, 20)
        system.send(CRM, 5)
        system.crash_at = crash_at
        worker = system.worker(held=held)
        with suppress(CrashError):
            for number in range(60):
                held.partitions = {FILES} if number > 2 else set()
                worker.step()
                system.clock.advance(0.5)
        system.crash_at = None
        system.clock.advance(8)
        again = system.worker(held=held)
        turn(system, again)
        held.partitions = set()
        turn(system, again)
        assert system.done()
        system.prove()


def test_a_record_that_was_read_before_the_pause_lands() -> None:
    """Pausing reads no more; a batch on its way is never cut off."""
    system, held = System(), Held()
    worker = system.worker(held=held)
    turn(system, worker)
    system.send(FILES, 3)
    worker.step()
    held.partitions = {FILES}
    turn(system, worker)
    log = Log("t.files", "A", 0)
    assert [row.offsets.last for row in system.store.ledger_rows.values() if row.log == log] == [2]


@pytest.mark.parametrize("wanted", [TopicPartition("t.files", 4), TopicPartition("t.letters", 0), FILES])
def test_only_partitions_that_exist_can_be_paused(wanted: TopicPartition) -> None:
    """The refusal says which there are, and never names a topic that workers don't read."""
    topics = {} if wanted == FILES else {"t.files": 4, "t.crm": 1, "t.letters": 1}
    there = r"none: no topic exists" if wanted == FILES else r"t\.files\[0-3\], t\.crm\[0\]$"
    with pytest.raises(ContractBroken, match=rf"no partition {wanted.topic}\[{wanted.partition}\]; there are {there}"):
        refuse_unknown(wanted, topics, ("t.files", "t.crm"))
    refuse_unknown(TopicPartition("t.files", 3), {"t.files": 4}, ("t.files",))
