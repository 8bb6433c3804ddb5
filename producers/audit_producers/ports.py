"""What the SDK needs from whatever carries its events; Kafka today, a durable spool beside it later."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from audit_schemas.errors import AuditError


class BufferFull(AuditError):
    """The event was not taken: too many wait for Kafka. Try again, or slow down; nothing was dropped."""

    retriable = True


class Closed(AuditError):
    """The log was closed before this event came."""


class NotDelivered(AuditError):
    """Kafka did not acknowledge the event in time, or refused it. It may be in the log all the same: a resend carries
    the same event id and instant, and readers show it once."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where Kafka put an event."""

    topic: str
    partition: int
    offset: int


Delivered = Callable[[Position | None, AuditError | None], None]
"""Called exactly once per event that was taken: with its position, or with why there is none."""


class Transport(Protocol):
    """Carries framed events. Thread-safe. Belongs to one process: a forked child makes its own."""

    def send(self, topic: str, key: str, value: bytes, delivered: Delivered) -> None:
        """Takes the event and returns at once; `delivered` is called later, on another thread.

        Raises `BufferFull` when it can't take more; the event was not taken then.
        """

    def flush(self, timeout: float) -> int:
        """Waits until nothing is on its way, at most `timeout` seconds; returns how many events still are."""

    def close(self, timeout: float) -> int:
        """`flush`, and takes nothing afterwards."""


__all__ = ["BufferFull", "Closed", "Delivered", "NotDelivered", "Position", "Transport"]
