"""The contract of `audit_producers.ports.Transport`, held against a real broker and against the one in memory."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from audit_producers import NotDelivered, Position, ProducerSettings
from audit_producers.kafka import KafkaTransport
from audit_producers.ports import BufferFull, Transport
from audit_schemas.errors import AuditError
from tests.support.topics import stored_messages
from tests.support.transport import MemoryBroker
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from tests.support.servers import KafkaServer

MOST_BYTES = 20_000
ROOM = 3
"""Events in flight before a transport says that it is full."""


@dataclass
class Answers:
    """What a transport said of each event, in the order in which it said it."""

    given: list[tuple[int, Position | None, AuditError | None]] = field(default_factory=list)
    threads: set[int] = field(default_factory=set)

    def to(self, number: int) -> Callable[[Position | None, AuditError | None], None]:
        def delivered(position: Position | None, error: AuditError | None) -> None:
            self.threads.add(threading.get_ident())
            self.given.append((number, position, error))

        return delivered

    def count(self, number: int) -> Callable[[], bool]:
        return lambda: len(self.given) >= number


class System(Protocol):
    """A broker with a topic of one partition that takes values of at most `MOST_BYTES`."""

    topic: str

    def connect(self, *, in_flight: int = 1000) -> Transport: ...
    def connect_to_nobody(self, *, in_flight: int = 1000) -> Transport: ...
    def stored(self) -> list[bytes]: ...


class MemorySystem:
    topic = "audit.files"

    def __init__(self) -> None:
        too_large = "MSG_SIZE_TOO_LARGE"
        self._broker = MemoryBroker(refuses=lambda value: too_large if len(value) > MOST_BYTES else None)

    def connect(self, *, in_flight: int = 1000) -> Transport:
        return self._broker.transport(ProducerSettings(in_flight_events=in_flight))

    def connect_to_nobody(self, *, in_flight: int = 1000) -> Transport:
        return MemoryBroker(up=False).transport(ProducerSettings(in_flight_events=in_flight))

    def stored(self) -> list[bytes]:
        return [record.value for record in self._broker.records]


class KafkaSystem:
    def __init__(self, server: KafkaServer, prefix: str) -> None:
        self._server, self.topic = server, f"{prefix}.files"
        admin = AdminClient({"bootstrap.servers": server.bootstrap_servers})
        new = NewTopic(self.topic, 1, 1, config={"max.message.bytes": str(MOST_BYTES)})
        admin.create_topics([new])[self.topic].result()

    def connect(self, *, in_flight: int = 1000) -> Transport:
        servers = self._server.bootstrap_servers
        return KafkaTransport(ProducerSettings(kafka_bootstrap_servers=servers, in_flight_events=in_flight))

    def connect_to_nobody(self, *, in_flight: int = 1000) -> Transport:
        return KafkaTransport(ProducerSettings(kafka_bootstrap_servers="127.0.0.1:9", in_flight_events=in_flight))

    def stored(self) -> list[bytes]:
        return [message.value() or b"" for message in stored_messages(self._server.bootstrap_servers, self.topic)]


@pytest.fixture(params=["memory", "kafka"])
def system(request: pytest.FixtureRequest, topic_prefix: str) -> System:
    """Both, one after the other."""
    if request.param == "memory":
        return MemorySystem()
    return KafkaSystem(request.getfixturevalue("kafka"), topic_prefix)


@pytest.fixture
def connected(system: System) -> Iterator[Transport]:
    """A connection that ends with the test."""
    transport = system.connect()
    yield transport
    transport.abandon()


def test_events_of_a_key_arrive_in_order_and_each_is_answered_once(system: System, connected: Transport) -> None:
    """Answers come on another thread, with rising offsets."""
    answers = Answers()
    for number in range(500):
        connected.send(system.topic, "w1", b"%d" % number, answers.to(number))
    eventually(answers.count(500), 20)
    assert [number for number, _, _ in answers.given] == list(range(500))
    assert [position for _, position, _ in answers.given] == [Position(system.topic, 0, at) for at in range(500)]
    assert threading.get_ident() not in answers.threads
    assert system.stored() == [b"%d" % number for number in range(500)]


def test_after_a_failure_nothing_behind_it_arrives(system: System, connected: Transport) -> None:
    """The failed event and those behind it are answered with errors; a new transport goes on with the first of them."""
    answers = Answers()
    connected.send(system.topic, "w1", b"0", answers.to(0))
    eventually(answers.count(1), 20)
    values = [b"1", os.urandom(MOST_BYTES + 1), b"3", b"4"]
    for number, value in enumerate(values, 1):
        connected.send(system.topic, "w1", value, answers.to(number))
    eventually(answers.count(5), 20)
    failed = sorted(number for number, position, _ in answers.given if position is None)
    assert failed[-3:] == [2, 3, 4]
    assert all(isinstance(error, NotDelivered) for number, _, error in answers.given if number in failed)
    with pytest.raises(NotDelivered):
        connected.send(system.topic, "w1", b"5", answers.to(5))
    another = system.connect()
    for number in (3, 4):
        another.send(system.topic, "w1", values[number - 1], answers.to(number))
    eventually(answers.count(7), 20)
    another.abandon()
    assert [value for value in system.stored() if value != b"1"] == [b"0", b"3", b"4"]


def test_a_full_transport_says_so_and_takes_nothing(system: System) -> None:
    """What was refused is never answered."""
    transport, answers = system.connect_to_nobody(in_flight=ROOM), Answers()
    with pytest.raises(BufferFull):
        for number in range(ROOM + 2):
            transport.send(system.topic, "w1", b"x", answers.to(number))
    transport.abandon()
    eventually(answers.count(ROOM + 1), 20)
    assert sorted(number for number, _, _ in answers.given) == list(range(ROOM + 1))


def test_what_is_abandoned_is_answered_and_blocks_nobody(system: System) -> None:
    """With nobody to send to, `abandon` returns at once and each event gets its error."""
    transport, answers = system.connect_to_nobody(), Answers()
    for number in range(100):
        transport.send(system.topic, "w1", b"x", answers.to(number))
    transport.abandon()
    eventually(answers.count(100), 20)
    assert all(position is None and isinstance(error, NotDelivered) for _, position, error in answers.given)
