"""What a caller holds of an event it emitted."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Literal

from audit_producers.ports import NotDelivered, Position
from audit_schemas.errors import AuditError

State = Literal["pending", "acknowledged", "failed"]


class Receipt:
    """Says whether the event is durable. `acknowledged` means: Kafka has it on all in-sync replicas. Thread-safe."""

    __slots__ = ("_changed", "error", "event_id", "position")

    def __init__(self, event_id: str) -> None:
        self.event_id = event_id
        self.position: Position | None = None
        self.error: AuditError | None = None
        self._changed: threading.Event | None = None

    @property
    def state(self) -> State:
        """Where the event is."""
        if self.position is not None:
            return "acknowledged"
        return "pending" if self.error is None else "failed"

    def wait(self, timeout: float | None = None) -> Position:
        """The position in Kafka, once acknowledged. Raises `NotDelivered` when it failed, `TimeoutError` before."""
        if self.state == "pending":
            with _LOCK:
                changed = self._changed = self._changed or threading.Event()
            if self.state == "pending" and not changed.wait(timeout):
                raise TimeoutError(f"event {self.event_id} is not acknowledged yet")
        if self.position is None:
            raise self.error or NotDelivered("no position")
        return self.position

    def settle(self, position: Position | None, error: AuditError | None) -> None:
        """For the transport: the outcome, once."""
        self.position, self.error = position, error
        with _LOCK:
            changed = self._changed
        if changed is not None:
            changed.set()

    def __repr__(self) -> str:
        return f"<Receipt {self.event_id} {self.state}>"


# One lock for all receipts: it is held for an assignment, and a lock per event would cost more than the event.
_LOCK = threading.Lock()
OnFailure = Callable[[Receipt, AuditError], None]

__all__ = ["OnFailure", "Receipt", "State"]
