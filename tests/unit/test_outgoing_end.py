"""How emitting ends: within a bound, with everything durable or given back, from signal handlers too."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from audit_producers import NotDelivered, Receipt
from audit_producers.ports import SpoolDamaged
from audit_schemas.errors import AuditError
from tests.support.emitting import Emitters, assert_delivered, emit, numbers, outgoing_of, refuse, seq_of
from tests.support.transport import MemoryBroker
from tests.support.waiting import eventually


@pytest.fixture
def broker(emitters: Emitters) -> MemoryBroker:
    """What they send to."""
    return emitters.broker


def test_a_close_within_its_bound_leaves_everything_to_the_next_process(
    emitters: Emitters, broker: MemoryBroker
) -> None:
    """Durable, direct, in flight and on the disk alone: it is all in the spool, and comes with its numbers."""
    broker.set(up=False)
    log = emitters.log(in_flight_events=20)
    receipts = emit(log, 10, mode="direct") + emit(log, 100) + emit(log, 10, mode="direct")
    began = time.monotonic()
    assert log.close(0.2) == 120
    assert time.monotonic() - began < 5
    assert {receipt.state for receipt in receipts} == {"spooled"}
    broker.set(up=True)
    assert emitters.adopter().look() == 120
    assert_delivered(broker.events, receipts)
    assert {event.producer.instance for event in broker.events} == {outgoing_of(log).instance}
    assert list(emitters.folder.iterdir()) == []


def test_a_batch_stays_until_kafka_has_its_last_event(emitters: Emitters, broker: MemoryBroker) -> None:
    """One commit, all but one acknowledged at the end: the next process brings that one, and the others again."""
    log = emitters.log()

    def refuses(value: bytes) -> str | None:
        broker.up = broker.up and seq_of(value) != 8
        return None

    broker.refuses = refuses
    with outgoing_of(log)._lock:
        receipts = emit(log, 10)
    eventually(lambda: log.stats().acknowledged == 9, 10, "Kafka has nine")
    assert log.close(0) == 1
    broker.refuses = lambda _: None
    broker.set(up=True)
    assert emitters.adopter().look() == 10
    assert_delivered(broker.events, receipts)
    assert numbers(broker.events) == [*range(9), *range(10)]


def test_what_cannot_be_made_durable_at_the_end_is_given_back(emitters: Emitters, broker: MemoryBroker) -> None:
    """Each event's receipt and the callback say so; a callback that fails does not keep the others from theirs."""
    broker.set(up=False)
    told: list[tuple[Receipt, AuditError]] = []

    def on_failure(receipt: Receipt, error: AuditError) -> None:
        told.append((receipt, error))
        raise RuntimeError("the service's own mistake")

    log = emitters.log(on_delivery_failure=on_failure)
    outgoing_of(log)
    emitters.take_folder_away()
    direct, durable = emit(log, 3, mode="direct"), emit(log, 3)
    assert log.close(0) == 0
    assert log.stats().failed == 6
    assert [receipt for receipt, _ in told] == [*direct, *durable]
    for receipt in direct:
        with pytest.raises(NotDelivered, match="Kafka may have it all the same"):
            receipt.wait_durable(0)
    for receipt in durable:
        with pytest.raises(NotDelivered, match=r"closed before the event was durable \(the spool can't be used"):
            receipt.wait(0)


def test_a_spool_that_breaks_under_a_living_process_is_replaced(emitters: Emitters, broker: MemoryBroker) -> None:
    """What memory has goes to a new file; what only the broken one has is given back, and the file is kept."""
    broker.set(up=False)
    log = emitters.log(in_flight_events=50)
    receipts = emit(log, 2_000, metadata={"padding": ["x" * 500] * 6})
    receipts[-1].wait_durable(10)
    (spool,) = emitters.folder.glob("*.spool")
    for path in (spool, spool.with_name(spool.name + "-wal")):
        path.write_bytes(b"\xff" * path.stat().st_size)
    broker.set(up=True)
    assert log.flush(20) == 0
    receipts += emit(log, 10)
    assert log.flush(10) == 0
    stats = log.stats()
    assert stats.failed > 0
    assert stats.acknowledged + stats.failed == stats.accepted == 2_010
    arrived = {event.event_id for event in broker.events}
    for receipt in receipts:
        if receipt.event_id not in arrived:
            assert receipt.state == "failed"
            with pytest.raises(SpoolDamaged):
                receipt.wait(0)
    assert numbers(broker.events)[-10:] == list(range(2_000, 2_010))
    log.close()
    assert list(emitters.folder.glob("*.damaged"))
    assert not list(emitters.folder.glob("*.spool"))


def test_a_log_that_is_closed_leaves_no_thread_and_no_file_open(emitters: Emitters, broker: MemoryBroker) -> None:
    """Also after producers were replaced and logs were closed in the middle of trouble."""
    before = open_files(), threading.active_count()
    refuse(broker, lambda value: seq_of(value) == 5)
    for up in (True, False):
        broker.set(up=up)
        log = emitters.log()
        emit(log, 10, mode="direct")
        emit(log, 10)
        log.close(0 if not up else 10)
    eventually(lambda: (open_files(), threading.active_count()) == before, 10, "everything is closed")


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
