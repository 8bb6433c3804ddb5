"""From the emit to Kafka: numbers without holes, order over outages, and no event that is lost without a word."""

from __future__ import annotations

import itertools
import sys
import threading
import time

import pytest

from audit_producers import Closed, Receipt, SpoolFull
from audit_schemas.codec import decode, unframe
from tests.support.emitting import (
    Emitters,
    assert_delivered,
    emit,
    numbers,
    outgoing_of,
    refuse,
    seq_of,
)
from tests.support.transport import MemoryBroker, Sent
from tests.support.waiting import eventually


@pytest.fixture
def broker(emitters: Emitters) -> MemoryBroker:
    """What they send to."""
    return emitters.broker


def test_events_beyond_those_in_flight_wait_on_the_disk_alone(emitters: Emitters, broker: MemoryBroker) -> None:
    """With the broker down memory holds a bounded part; the rest is read back in order, receipts and all."""
    broker.set(up=False)
    log = emitters.log(in_flight_events=20)
    receipts = emit(log, 1_000, workspaces=3, metadata={"padding": ["x" * 500] * 6})
    assert {receipt.wait_durable(10) for receipt in receipts} == {"spooled"}
    stats = log.stats()
    assert (stats.spooled_events, stats.in_flight, stats.accepted) == (1_000, 20, 1_000)
    assert sum(len(entry.value) for entry in outgoing_of(log)._backlog.in_memory) < 1_100_000
    broker.set(up=True)
    assert [receipt.wait(10).offset for receipt in receipts] == list(range(1_000))
    assert numbers(broker.events) == list(range(1_000))
    assert (log.close(), log.stats().spooled_events, list(emitters.folder.iterdir())) == (0, 0, [])


def test_after_a_refusal_sending_resumes_with_the_first_unacknowledged(
    emitters: Emitters, broker: MemoryBroker
) -> None:
    """The producer is replaced; what was behind the refused event comes again behind it, and nothing comes twice."""
    refuse(broker, lambda value: seq_of(value) == 137)
    log = emitters.log()
    receipts = emit(log, 300, workspaces=3)
    assert log.flush(10) == 0
    assert numbers(broker.events) == list(range(300))
    assert {receipt.state for receipt in receipts} == {"acknowledged"}
    assert log.stats().producers_replaced == 1


def test_an_answer_that_is_lost_costs_a_double_and_no_order(emitters: Emitters, broker: MemoryBroker) -> None:
    """An event that Kafka has and whose answer is missing is the only one that comes again."""

    def appended(value: bytes) -> bool:
        event = decode(unframe(value)[1])
        if event.producer.seq == 41:
            broker.records.append(Sent("audit.files", event.workspace_id, value))
        return event.producer.seq == 41

    refuse(broker, appended, "the answer is lost")
    log = emitters.log()
    receipts = emit(log, 100)
    assert log.flush(10) == 0
    assert numbers(broker.events) == [*range(42), 41, *range(42, 100)]
    assert_delivered(broker.events, receipts)


def test_a_broker_that_refuses_for_a_while_is_asked_less_and_less(
    emitters: Emitters, broker: MemoryBroker, caplog: pytest.LogCaptureFixture
) -> None:
    """The pauses grow, the trouble is in the stats, and everything arrives when it is over."""
    refusals: list[float] = []

    def refuses(_: bytes) -> str | None:
        refusals.append(time.monotonic())
        return "disk full" if len(refusals) <= 3 else None

    broker.refuses = refuses
    log = emitters.log()
    receipts = emit(log, 10)
    assert eventually(lambda: log.stats().alarm, 5) == "disk full"
    assert log.flush(20) == 0
    assert_delivered(broker.events, receipts)
    pauses = [later - earlier for earlier, later in itertools.pairwise(refusals)]
    assert 0.05 < pauses[0] < pauses[2]
    assert pauses[2] > 0.2
    assert "Kafka takes no audit events: disk full" in caplog.text
    assert log.stats().alarm is None


def test_direct_events_fall_back_to_the_spool_and_stay_behind_it(emitters: Emitters, broker: MemoryBroker) -> None:
    """Kafka is silent for longer than the patience: what waits becomes durable, what comes queues up behind it.

    Once the relay has caught up, direct events skip the spool again.
    """
    log = emitters.log(direct_patience_s=0.05, in_flight_events=20)
    (straight,) = emit(log, mode="direct")
    straight.wait(10)
    broker.set(up=False)
    first = emit(log, 10, mode="direct")
    assert {receipt.wait_durable(10) for receipt in first} == {"spooled"}
    outgoing = outgoing_of(log)
    (behind,) = emit(log, mode="direct")
    assert not outgoing._only_in_memory, "it does not wait for Kafka's answer again"
    later = emit(log, 200, mode="direct")
    assert {receipt.wait_durable(10) for receipt in later} == {"spooled"}
    broker.set(up=True)
    during = emit(log, 50, mode="direct")
    assert log.flush(10) == 0
    eventually(lambda: not outgoing._fallen_back, 10, "the relay has caught up")
    (again,) = emit(log, mode="direct")
    again.wait(10)
    assert not straight.spooled
    assert not again.spooled
    assert numbers(broker.events) == list(range(263))
    assert_delivered(broker.events, [straight, *first, behind, *later, *during, again])


def test_a_direct_event_behind_a_durable_one_waits_for_it(emitters: Emitters, broker: MemoryBroker) -> None:
    """The modes of calls may be mixed: order is that of the calls."""
    log = emitters.log()
    receipts = [emit(log, mode=("durable", "direct", "direct")[number % 3])[0] for number in range(300)]
    assert log.flush(10) == 0
    assert [event.event_id for event in broker.events] == [receipt.event_id for receipt in receipts]
    assert numbers(broker.events) == list(range(300))


def test_strays_and_what_follows_them_in_one_commit_both_arrive(emitters: Emitters, broker: MemoryBroker) -> None:
    """Direct events become strays in the commit that also has more durable ones than memory holds."""
    log = emitters.log(in_flight_events=30, direct_patience_s=0.05)
    outgoing = outgoing_of(log)
    broker.set(up=False)
    with outgoing._lock:  # the spooler's next turn sees all of it at once
        receipts = emit(log, 10, mode="direct")
        outgoing._relay.doubt(outgoing._relay.window()[0])
        receipts += emit(log, 50)
    assert {receipt.wait_durable(10) for receipt in receipts} == {"spooled"}
    broker.set(up=True)
    assert log.flush(10) == 0
    assert_delivered(broker.events, receipts)


def test_threads_that_mix_modes_share_the_numbers(emitters: Emitters, broker: MemoryBroker) -> None:
    """No number twice, none missing, order in each workspace, with the interpreter switching threads all the time."""
    log = emitters.log(in_flight_events=100)
    kept: list[list[Receipt]] = []

    def work(mode: str) -> None:
        kept.append(emit(log, 400, mode=mode))

    threads = [threading.Thread(target=work, args=[mode]) for mode in ("direct", "durable", "direct", "direct")]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert log.flush(20) == 0
    finally:
        sys.setswitchinterval(interval)
    assert numbers(broker.events) == list(range(1600))
    assert_delivered(broker.events, [receipt for receipts in kept for receipt in receipts])


def test_while_the_disk_takes_nothing_kafka_keeps_the_events(
    emitters: Emitters, broker: MemoryBroker, caplog: pytest.LogCaptureFixture
) -> None:
    """Both modes go on without the spool, however many come at once; the alarm is raised once and ends with it."""
    log = emitters.log(in_flight_events=30)
    outgoing = outgoing_of(log)
    emitters.take_folder_away()
    receipts = emit(log, 5, mode="direct")
    with outgoing._lock:
        receipts += emit(log, 100)
    receipts += emit(log, 5, mode="direct")
    for receipt in receipts:
        receipt.wait(10)
        assert receipt.durability == "kafka"
    assert "the spool can't be used" in str(log.stats().alarm)
    assert caplog.text.count("audit log alarm: the spool can't be used") == 1
    emitters.give_folder_back()
    eventually(lambda: emit(log)[0].wait_durable(10) and log.stats().alarm is None, 10, "the alarm is over")
    assert log.flush(10) == 0
    assert_delivered(broker.events, receipts)


def test_with_neither_disk_nor_kafka_events_wait_then_the_caller_hears_of_it(
    emitters: Emitters, broker: MemoryBroker
) -> None:
    """Memory takes what it may; then `SpoolFull`. When the disk is back all of it becomes durable."""
    broker.set(up=False)
    log = emitters.log(spool_buffer_mib=1)
    outgoing_of(log)
    emitters.take_folder_away()
    receipts: list[Receipt] = []
    with pytest.raises(SpoolFull, match="the disk does not keep up"):
        while True:
            receipts += emit(log, metadata={"padding": ["x" * 500] * 10})
    assert len(receipts) > 100
    assert {receipt.state for receipt in receipts} == {"pending"}
    assert log.stats().refused == 1
    emitters.give_folder_back()
    assert {receipt.wait_durable(10) for receipt in receipts} == {"spooled"}
    broker.set(up=True)
    assert log.flush(10) == 0
    assert_delivered(broker.events, receipts)


def test_a_full_spool_refuses_counts_and_says_so_once(
    emitters: Emitters, broker: MemoryBroker, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing of a refused event is left, its number neither; with room everything goes on and the alarm ends."""
    broker.set(up=False)
    log = emitters.log(spool_max_mib=1)
    receipts: list[Receipt] = []
    for _ in range(2):  # events take a little less room once they are written
        with pytest.raises(SpoolFull, match=r"the spool is full: \d+ bytes wait for Kafka, at most 1 MiB may"):
            while True:
                receipts += emit(log, metadata={"padding": ["x" * 500] * 40})
        receipts[-1].wait_durable(10)
    for _ in range(8):
        with pytest.raises(SpoolFull):
            emit(log, metadata={"padding": ["x" * 500] * 40})
    stats = log.stats()
    assert (stats.refused, stats.accepted) == (10, len(receipts))
    assert 1_000_000 < stats.spooled_bytes < 1_048_576
    assert "the spool is full" in str(stats.alarm)
    assert caplog.text.count("audit log alarm: the spool is full") == 1
    broker.set(up=True)
    assert log.flush(10) == 0
    receipts += emit(log)
    assert log.flush(10) == 0
    assert_delivered(broker.events, receipts)
    assert len(broker.events) == len(receipts)
    eventually(lambda: log.stats().alarm is None, 10, "the alarm is over")
    assert caplog.text.count("audit log alarm is over") == 1


def test_a_spool_that_waits_for_too_long_refuses(emitters: Emitters, broker: MemoryBroker) -> None:
    """The age of the oldest event is a limit too."""
    broker.set(up=False)
    log = emitters.log(spool_max_age_h=1)
    receipts = emit(log)
    receipts[0].wait_durable(10)
    emitters.clock.advance(hours=2)
    assert log.stats().oldest_spooled_s == 7200
    with pytest.raises(SpoolFull, match=r"its first event waits for 2\.0 h"):
        emit(log)
    broker.set(up=True)
    assert log.flush(10) == 0
    receipts += eventually(lambda: emit(log), 10, "there is room", ignore=(SpoolFull,))
    assert log.flush(10) == 0
    assert_delivered(broker.events, receipts)


def test_a_caller_waits_for_room_for_a_bounded_time(emitters: Emitters, broker: MemoryBroker) -> None:
    """By setting: it goes on as soon as there is room, and hears of it when there is none in time."""
    broker.set(up=False)
    log = emitters.log(spool_max_age_h=1, spool_full_wait_s=0.2)
    emit(log)[0].wait_durable(10)
    emitters.clock.advance(hours=2)
    began = time.monotonic()
    with pytest.raises(SpoolFull):
        emit(log)
    assert 0.2 <= time.monotonic() - began < 5
    patient = emitters.log(spool_max_age_h=1, spool_full_wait_s=60)
    emit(patient)[0].wait_durable(10)
    emitters.clock.advance(hours=2)
    waiting = threading.Thread(target=emit, args=[patient])
    waiting.start()
    assert patient.stats().accepted == 1
    broker.set(up=True)
    waiting.join(10)
    assert (patient.flush(10), patient.stats().acknowledged, patient.stats().refused) == (0, 2, 0)


def test_whoever_waits_for_room_hears_of_the_close(emitters: Emitters, broker: MemoryBroker) -> None:
    """It does not wait until its time is over."""
    broker.set(up=False)
    log = emitters.log(spool_max_age_h=1, spool_full_wait_s=60)
    emit(log)[0].wait_durable(10)
    emitters.clock.advance(hours=2)
    heard: list[str] = []

    def wait() -> None:
        try:
            emit(log)
        except Closed:
            heard.append("closed")

    waiting = threading.Thread(target=wait)
    waiting.start()
    log.close(0)
    waiting.join(10)
    assert heard == ["closed"]


def test_flush_waits_without_turning_in_circles(emitters: Emitters, broker: MemoryBroker) -> None:
    """While Kafka is away, waiting for it costs next to no processor time."""
    broker.set(up=False)
    log = emitters.log()
    emit(log, 10)[-1].wait_durable(10)
    used = time.process_time()
    assert log.flush(1.0) == 10
    assert time.process_time() - used < 0.3
