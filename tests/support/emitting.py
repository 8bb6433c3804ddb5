"""A log on a broker in memory, and what the broker must have got from it."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from audit_producers import AuditLog, ProducerSettings, Receipt
from audit_producers.adoption import Adopter
from audit_producers.outgoing import Outgoing
from audit_schemas.codec import decode, unframe
from audit_schemas.event import Event
from tests.support.transport import MemoryBroker

ADA = {"type": "internal_user", "id": "u1", "name": "Ada"}


@dataclass
class Clock:
    """The time of the logs; it stands still until somebody moves it."""

    now: datetime = datetime(2026, 3, 14, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, hours: float) -> None:
        self.now += timedelta(hours=hours)


@dataclass
class Emitters:
    """Makes logs that share a folder and a broker; `close` ends those that are left."""

    folder: Path
    broker: MemoryBroker = field(default_factory=MemoryBroker)
    clock: Clock = field(default_factory=Clock)
    logs: list[AuditLog] = field(default_factory=list)

    def settings(self, **changed: Any) -> ProducerSettings:
        usual: dict[str, Any] = {"spool_dir": self.folder, "adopt_interval_s": 0, "handle_sigterm": False}
        return ProducerSettings(**(usual | changed))

    def log(self, on_delivery_failure: Any = None, **settings: Any) -> AuditLog:
        log = AuditLog(
            "billing",
            settings=self.settings(**settings),
            transport=self.broker.transport,
            clock=self.clock,
            on_delivery_failure=on_delivery_failure,
        )
        self.logs.append(log)
        return log

    def adopter(self, **settings: Any) -> Adopter:
        made = self.settings(**settings)
        return Adopter(made, lambda: self.broker.transport(made))

    def take_folder_away(self) -> None:
        """The spool's folder is a file from now on: nothing can be written there, by whatever user."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.touch()

    def give_folder_back(self) -> None:
        self.folder.unlink()

    def close(self) -> None:
        for log in self.logs:
            log.close(0)


def emit(log: AuditLog, count: int = 1, *, workspaces: int = 1, **how: Any) -> list[Receipt]:
    """Events of a few workspaces in turn."""
    return [
        log.emit("file.downloaded", workspace_id=f"w{number % workspaces}", actor=ADA, source="web", **how)
        for number in range(count)
    ]


def outgoing_of(log: AuditLog) -> Outgoing:
    """What is behind it, begun."""
    return log._begun()


def numbers(events: Iterable[Event]) -> list[int]:
    """The numbers that the producers gave."""
    return [event.producer.seq for event in events]


def seq_of(value: bytes) -> int:
    """The number in a record's value."""
    return decode(unframe(value)[1]).producer.seq


def first_occurrences(events: Iterable[Event]) -> list[Event]:
    """Each event where it came first, in the order of arrival."""
    found: dict[str, Event] = {}
    for event in events:
        found.setdefault(event.event_id, event)
    return list(found.values())


def assert_delivered(events: Sequence[Event], receipts: Sequence[Receipt]) -> None:
    """Every receipt's event arrived, those of each instance first in order of their numbers, without a hole."""
    firsts = first_occurrences(events)
    missing = {receipt.event_id for receipt in receipts} - {event.event_id for event in firsts}
    assert not missing, f"{len(missing)} of {len(receipts)} events are lost"
    by_instance: dict[str, list[int]] = defaultdict(list)
    for event in firsts:
        by_instance[event.producer.instance].append(event.producer.seq)
    for instance, found in by_instance.items():
        assert found == list(range(len(found))), f"order or holes of {instance}"


def refuse(broker: MemoryBroker, wanted: Callable[[bytes], bool], why: str = "no") -> None:
    """From now on the broker refuses the first record that is `wanted`, once."""
    pending = [why]

    def refuses(value: bytes) -> str | None:
        return pending.pop() if pending and wanted(value) else None

    broker.refuses = refuses
