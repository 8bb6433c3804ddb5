"""A transport in memory that behaves as `audit_producers.ports.Transport` says; tests/contracts holds it to Kafka's."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from audit_producers import ProducerSettings
from audit_producers.ports import BufferFull, Delivered, NotDelivered, Position
from audit_schemas.codec import decode, unframe
from audit_schemas.event import Event


@dataclass(frozen=True)
class Sent:
    """A record that arrived."""

    topic: str
    key: str
    value: bytes

    @property
    def event(self) -> Event:
        """What it says."""
        return decode(unframe(self.value)[1])


@dataclass
class MemoryBroker:
    """What transports send to. `up`: it answers; `refuses`: says of a record's value why it does not take it."""

    up: bool = True
    refuses: Callable[[bytes], str | None] = lambda _: None
    records: list[Sent] = field(default_factory=list)
    ends: Counter[str] = field(default_factory=Counter)
    transports: list[MemoryTransport] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def transport(self, settings: ProducerSettings) -> MemoryTransport:
        """For `AuditLog(transport=…)`."""
        transport = MemoryTransport(self, settings.in_flight_events + 1)
        self.transports.append(transport)
        return transport

    def set(self, *, up: bool) -> None:
        """Comes and goes."""
        with self.changed:
            self.up = up
            self.changed.notify_all()

    @property
    def events(self) -> list[Event]:
        """What arrived, in order."""
        return [record.event for record in self.records]


class MemoryTransport:
    """One connection to a `MemoryBroker`."""

    def __init__(self, broker: MemoryBroker, room: int) -> None:
        self._broker, self._room = broker, room
        self._waiting: deque[tuple[Sent, Delivered]] = deque()
        self._abandoned = False
        self._error: str | None = None
        threading.Thread(target=self._run, daemon=True).start()

    def send(self, topic: str, key: str, value: bytes, delivered: Delivered) -> None:
        """See `Transport`."""
        with self._broker.changed:
            if self._abandoned or self._error:
                raise NotDelivered("nothing is taken any more")
            if len(self._waiting) >= self._room:
                raise BufferFull("full")
            self._waiting.append((Sent(topic, key, value), delivered))
            self._broker.changed.notify_all()

    def abandon(self) -> None:
        """See `Transport`."""
        with self._broker.changed:
            self._abandoned = True
            self._broker.changed.notify_all()

    def _run(self) -> None:
        broker = self._broker
        while True:
            with broker.changed:
                broker.changed.wait_for(lambda: self._abandoned or (self._waiting and (broker.up or self._error)))
                if not self._waiting:
                    return
                sent, delivered = self._waiting[0]
                if self._abandoned or self._error:
                    position, error = None, NotDelivered(self._error or "abandoned")
                elif (refused := broker.refuses(sent.value)) is not None:
                    self._error = refused
                    position, error = None, NotDelivered(refused)
                else:
                    position, error = Position(sent.topic, 0, broker.ends[sent.topic]), None
                    broker.records.append(sent)
                    broker.ends[sent.topic] += 1
                self._waiting.popleft()
            delivered(position, error)
