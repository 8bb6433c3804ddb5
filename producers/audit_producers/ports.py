"""What carries events on their last step, as a contract, and the errors of emitting.

```
AuditError
├── SpoolFull         (retriable) the event was not taken: size, age or memory reached its cap. Wait, or slow down
├── SpoolUnavailable  (retriable) the spool's folder can't be written: disk, permissions
│   └── SpoolDamaged  a spool's file is not one any more; it is set aside and kept
├── BufferFull        (retriable) a transport can't take more; never reaches callers of `emit`
├── Closed            the log was closed before this event came
├── Unconfirmed       (retriable) the event was taken and is on its way, but not where the caller waits for it
└── NotDelivered      the event was given back; nothing has it, unless the text says otherwise
```
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol

from audit_schemas.errors import AuditError, Transient

if TYPE_CHECKING:
    from audit_producers.receipt import Receipt


class SpoolFull(Transient):
    """The event was not taken: the spool has reached its size or age, or the disk does not keep up.

    Nothing was dropped: this error is how the caller hears of it. Try again, or slow down.
    """


class SpoolUnavailable(Transient):
    """The folder of the spool can't be written."""


class SpoolDamaged(SpoolUnavailable):
    """The file of a spool can't be read as one. Nothing in it is deleted."""


class BufferFull(Transient):
    """The transport was given more than it said it takes."""


class Closed(AuditError):
    """The log was closed before this event came."""


class Unconfirmed(Transient):
    """The event was taken, but is not yet where the caller waits for it. It is on its way: `receipt` says how far.

    Emitting it again under another id would record it twice.
    """

    def __init__(self, message: str, receipt: Receipt) -> None:
        super().__init__(message)
        self.receipt = receipt


class NotDelivered(AuditError):
    """Nothing keeps the event. Kafka may have it all the same when the text says that its answer is missing: a resend
    carries the same event id and instant, and readers show it once."""


class Position(NamedTuple):
    """Where Kafka put an event."""

    topic: str
    partition: int
    offset: int


Delivered = Callable[[Position | None, AuditError | None], None]
"""Called exactly once per event that was taken: with its position, or with why there is none."""


class Transport(Protocol):
    """Carries framed events. Belongs to one process: a forked child makes its own.

    Events of one key and topic arrive in the order of `send`. After one of them failed, none that was sent behind it
    arrives unless it was on its way already: whoever sends makes a new transport and begins again with the first
    event that is not acknowledged. Events never expire.
    """

    def send(self, topic: str, key: str, value: bytes, delivered: Delivered) -> None:
        """Takes the event and returns at once; `delivered` is called later, on another thread.

        Callers serialise their calls. Raises `BufferFull` when it can't take more and `NotDelivered` when it takes
        nothing any more; the event was not taken then.
        """

    def abandon(self) -> None:
        """Gives up everything that is on its way, and all resources, without blocking.

        `delivered` may be called for some of it afterwards, with a position or an error.
        """


__all__ = [
    "BufferFull",
    "Closed",
    "Delivered",
    "NotDelivered",
    "Position",
    "SpoolDamaged",
    "SpoolFull",
    "SpoolUnavailable",
    "Transport",
    "Unconfirmed",
]
