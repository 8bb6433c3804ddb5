"""Handing over to Kafka's client: what late answers of an old producer mean, and when there is a new one."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import pytest

from audit_producers import relay as module
from audit_producers.entry import Entry
from audit_producers.ports import Delivered, NotDelivered, Position
from audit_producers.relay import Relay
from tests.support.spools import entries
from tests.support.waiting import eventually

THERE = Position("audit.files", 0, 0)


@dataclass
class Wire:
    """A transport that answers when the test says so."""

    sent: list[tuple[bytes, Delivered]] = field(default_factory=list)
    abandoned: bool = False
    broken: bool = False

    def send(self, topic: str, key: str, value: bytes, delivered: Delivered) -> None:
        if self.broken:
            raise NotDelivered("broken")
        self.sent.append((value, delivered))

    def abandon(self) -> None:
        self.abandoned = True

    def acknowledge(self, number: int) -> None:
        self.sent[number][1](THERE, None)

    def fail(self, number: int) -> None:
        self.sent[number][1](None, NotDelivered("no"))


class Wires:
    """Those that a relay made, one after the other."""

    def __init__(self) -> None:
        self.made: list[Wire] = []

    def __call__(self) -> Wire:
        self.made.append(Wire())
        return self.made[-1]


@pytest.fixture
def wires() -> Wires:
    """None yet."""
    return Wires()


@pytest.fixture
def relay(wires: Wires) -> Relay:
    """One that takes five events or a thousand bytes."""
    return Relay(wires, max_events=5, max_bytes=1000)


def replaced(relay: Relay) -> bool:
    relay.tend()
    return relay.healthy


def taken(relay: Relay) -> list[int]:
    return [entry.seq for entry in relay.take_acknowledged()]


def test_a_new_producer_gets_the_window_first_and_in_order(relay: Relay, wires: Wires) -> None:
    """After a failure nothing more is handed over to the old one."""
    window = entries(range(4), size=1)
    for entry in window[:3]:
        relay.send(entry)
    wires.made[0].acknowledge(0)
    wires.made[0].fail(1)
    assert not relay.healthy
    relay.send(window[3])
    eventually(lambda: replaced(relay), 5, "the producer is replaced")
    assert [value for value, _ in wires.made[1].sent] == [entry.value for entry in window[1:]]
    assert (len(wires.made[0].sent), wires.made[0].abandoned, relay.replaced) == (3, True, 1)


def test_late_answers_of_an_old_producer_count_once_and_its_failures_not(relay: Relay, wires: Wires) -> None:
    """Its event is in Kafka, whoever says so; that it gives up what it had says nothing about the new one."""
    for entry in entries(range(3), size=1):
        relay.send(entry)
    wires.made[0].fail(0)
    eventually(lambda: replaced(relay), 5, "the producer is replaced")
    wires.made[0].acknowledge(1)
    wires.made[0].fail(2)
    assert (relay.healthy, relay.in_flight, taken(relay)) == (True, 2, [1])
    for number in range(3):
        wires.made[1].acknowledge(number)
    assert (relay.in_flight, taken(relay)) == (0, [0, 2])


def test_the_pauses_grow_until_something_arrives(relay: Relay, wires: Wires, monkeypatch: pytest.MonkeyPatch) -> None:
    """Back-off with jitter: doubled with each failure, bounded, and from the beginning after a success."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    pauses = []
    relay.send(Entry(0, "t", "w", b"x"))
    for _ in range(12):
        wires.made[-1].fail(0)
        pauses.append(relay.tend() or 0.0)
        now[0] += pauses[-1]
        relay.tend()
    for number, pause in enumerate(pauses):
        longest = min(30.0, 0.1 * 2**number)
        assert longest / 2 <= pause <= longest
    assert pauses[-1] >= 15.0
    wires.made[-1].acknowledge(0)
    relay.send(Entry(1, "t", "w", b"x"))
    wires.made[-1].fail(1)
    assert (relay.tend() or 0.0) <= 0.1


def test_a_window_without_progress_gets_a_new_producer(
    relay: Relay, wires: Wires, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that never answers, though it says that it never gives up, may be beyond recovery."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    relay.send(Entry(0, "t", "w", b"x"))
    now[0] += module.STALLED_S - 1
    assert relay.tend() is None
    now[0] += 2
    assert relay.tend() is not None
    now[0] += 1
    relay.tend()
    assert (len(wires.made), len(wires.made[1].sent), relay.oldest_s()) == (2, 1, module.STALLED_S + 2)


def test_a_producer_that_takes_nothing_keeps_the_event_in_the_window(relay: Relay, wires: Wires) -> None:
    """Whatever it raises: the event is tried again with the next one."""
    relay.send(Entry(0, "t", "w", b"x"))
    wires.made[0].broken = True
    relay.send(Entry(1, "t", "w", b"y"))
    assert (relay.in_flight, relay.trouble) == (2, "NotDelivered: broken")
    eventually(lambda: replaced(relay), 5, "the producer is replaced")
    assert [value for value, _ in wires.made[1].sent] == [b"x", b"y"]


def test_events_and_bytes_in_flight_are_bounded(relay: Relay, wires: Wires) -> None:
    """Room comes with the answers, once they are taken note of."""
    relay.send(Entry(0, "t", "w", b"x" * 999))
    assert relay.has_room
    relay.send(Entry(1, "t", "w", b"x"))
    assert not relay.has_room
    wires.made[0].acknowledge(0)
    assert taken(relay) == [0]
    for seq in range(2, 6):
        assert relay.has_room
        relay.send(Entry(seq, "t", "w", b"x"))
    assert not relay.has_room
