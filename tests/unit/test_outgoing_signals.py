"""Signal handlers emit and close logs on the thread that is emitting; here they come at every moment of an emit."""

from __future__ import annotations

import contextlib
import dis
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from audit_producers import AuditLog, Closed, Mode, Receipt, outgoing, relay, wake
from audit_producers.entry import Entry
from tests.support.emitting import Emitters, assert_delivered, emit, numbers, outgoing_of
from tests.support.waiting import eventually

MODULES = {outgoing.__file__, relay.__file__, wake.__file__}
LOCKS = {threading.__file__}


def interrupted(moment: int, work: Callable[[], Any], handler: Callable[[], Any], modules: set[str]) -> bool:
    """Calls `handler` at this moment of the work, of those at which the interpreter would call a signal handler.

    They are the beginnings of functions, the ends of calls, and the turns of loops; those in the modules count.
    Whether the work has that many.
    """
    passed = 0
    last: dict[FrameType, str] = {}

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal passed
        if frame.f_code.co_filename not in modules:
            return None
        frame.f_trace_opcodes = True
        if event == "call":
            last[frame] = "RESUME"
        if event == "opcode":
            before, last[frame] = last.get(frame, ""), dis.opname[frame.f_code.co_code[frame.f_lasti]]
            if before.startswith(("RESUME", "CALL", "JUMP_BACKWARD", "POP_JUMP_BACKWARD")):
                passed += 1
                if passed == moment:
                    sys.settrace(None)
                    handler()
        return trace

    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(None)
    return passed >= moment


Interruption = tuple[Callable[[], Any], Callable[[], Any], Callable[[], None]]
"""The work, the handler, and a check afterwards."""


def at_every_moment(begin: Callable[[], Interruption], modules: set[str]) -> int:
    """Interrupts a fresh piece of work at each of its moments in turn; how many it has."""
    for moment in range(1, 1000):
        work, handler, check = begin()
        reached = interrupted(moment, work, handler, modules)
        try:
            check()
        except AssertionError as error:
            raise AssertionError(f"interrupted at moment {moment}: {error}") from error
        if not reached:
            return moment - 1
    raise AssertionError("the work does not end")


@pytest.mark.parametrize("up", [True, False], ids=["Kafka is up", "Kafka is down"])
@pytest.mark.parametrize("mode", ["durable", "direct"])
def test_a_handler_that_emits_and_closes_ends_in_time_and_loses_nothing(
    emitters: Emitters, mode: Mode, up: bool
) -> None:
    """Neither hangs; every event of which somebody has a receipt is in Kafka, or in the spool for the next process."""
    broker = emitters.broker
    broker.set(up=up)

    def begin() -> Interruption:
        broker.records.clear()
        log = emitters.log()
        outgoing_of(log)
        receipts: list[Receipt] = []
        closed: list[bool] = []
        began = time.monotonic()

        def work() -> None:
            with contextlib.suppress(Closed):
                receipts.extend(emit(log, mode=mode))
            assert not closed or outgoing_of(log)._ended, "whoever goes on finds it closed"

        def handler() -> None:
            closed.append(True)
            receipts.extend(emit(log, mode=mode))
            log.close(5 if up else 0)

        def check() -> None:
            log.close(5 if up else 0)
            assert time.monotonic() - began < 3, "something waited for what could not come"
            if not up:
                assert {receipt.state for receipt in receipts} == {"spooled"}
                broker.set(up=True)
                assert emitters.adopter().look() == len(receipts)
                broker.set(up=False)
            assert_delivered(broker.events, receipts)
            assert len(broker.events) == len(receipts)

        return work, handler, check

    assert at_every_moment(begin, MODULES | LOCKS) > 12


@pytest.mark.parametrize("inner", ["durable", "direct"])
@pytest.mark.parametrize("mode", ["durable", "direct"])
def test_a_handler_that_emits_shares_the_numbers(emitters: Emitters, mode: Mode, inner: Mode) -> None:
    """No number twice, none missing, and Kafka gets them in order."""
    log = emitters.log()
    outgoing_of(log)
    receipts: list[Receipt] = []

    def begin() -> Interruption:
        def check() -> None:
            assert log.flush(10) == 0
            assert numbers(emitters.broker.events) == list(range(len(receipts)))

        return (
            lambda: receipts.extend(emit(log, mode=mode)),
            lambda: receipts.extend(emit(log, mode=inner)),
            check,
        )

    at_every_moment(begin, MODULES | LOCKS)
    assert_delivered(emitters.broker.events, receipts)


@pytest.mark.parametrize("mode", ["durable", "direct"])
def test_a_handler_that_raises_leaves_the_log_in_order(emitters: Emitters, mode: Mode) -> None:
    """As `KeyboardInterrupt` and the end by SIGTERM do: events before and after arrive, and no number is missing."""

    class Stop(BaseException):
        pass

    def stop() -> None:
        raise Stop

    log = emitters.log()
    outgoing_of(log)
    receipts: list[Receipt] = []

    def begin() -> Interruption:
        def work() -> None:
            with contextlib.suppress(Stop):
                receipts.extend(emit(log, mode=mode))

        def check() -> None:
            receipts.extend(emit(log, mode=mode))
            assert log.flush(10) == 0
            assert_delivered(emitters.broker.events, receipts)

        return work, stop, check

    at_every_moment(begin, MODULES)


def test_a_real_signal_closes_a_log_that_is_emitting(emitters: Emitters) -> None:
    """SIGALRM instead of a service's SIGTERM, in the middle of whatever the thread is doing."""
    log = emitters.log()
    receipts: list[Receipt] = []
    took: list[float] = []

    def handler(number: int, frame: FrameType | None) -> None:
        began = time.monotonic()
        receipts.extend(emit(log, mode="direct"))
        log.close(10)
        took.append(time.monotonic() - began)

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        emit_until_closed(log, receipts)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert took[0] < 5
    log.close()
    assert_delivered(emitters.broker.events, receipts)


def emit_until_closed(log: AuditLog, receipts: list[Receipt]) -> None:
    while True:
        try:
            receipts += emit(log, mode="direct" if len(receipts) % 2 else "durable")
        except Closed:
            return


def test_an_event_that_is_acknowledged_already_is_not_in_doubt(emitters: Emitters) -> None:
    """The handler may raise so late that Kafka has answered: the event is not counted twice."""
    sent = relay.Relay(lambda: emitters.broker.transport(emitters.settings()), max_events=1, max_bytes=1)
    entry = Entry(0, "t", "w", b"x")
    sent.send(entry)
    eventually(lambda: not sent.in_flight, 5, "it is acknowledged")
    sent.doubt(entry)
    assert (sent.in_flight, sent.healthy, len(sent.take_acknowledged()), sent.has_room) == (0, False, 1, True)
    sent.close()
