"""One event on its way, as everything behind `emit` sees it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from audit_producers.receipt import Receipt


@dataclass(eq=False, slots=True)
class Waiting:
    """An event that was taken and has no number yet. `size` is what it counts for in bytes."""

    topic: str
    key: str
    head: bytes
    receipt: Receipt
    size: int


@dataclass(eq=False, slots=True)
class Batch:
    """What one commit put into a spool together, as one row that begins with the number `first`.

    `events` and `size` (bytes) are the row's; it is removed when none of its events is `remaining` unacknowledged.
    `file` is the opened file it is in, whatever that is: in another one it has nothing to remove.
    """

    first: int
    size: int
    events: int
    remaining: int
    file: object = None


@dataclass(eq=False, slots=True)
class Entry:
    """An event with its number. `batch` is None while it is only in memory; `since` is a monotonic instant."""

    seq: int
    topic: str
    key: str
    value: bytes
    receipt: Receipt | None = None
    batch: Batch | None = None
    since: float = 0.0


def finished(acknowledged: Iterable[Entry]) -> list[Batch]:
    """Notes what Kafka has; the batches of which it now has everything, which are to be removed."""
    found = []
    for entry in acknowledged:
        batch = entry.batch
        if batch is not None:
            batch.remaining -= 1
            if batch.remaining == 0:
                found.append(batch)
    return found


__all__ = ["Batch", "Entry", "Waiting", "finished"]
