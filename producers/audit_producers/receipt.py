"""What a caller holds of an event it emitted: whether it is durable yet, and where Kafka put it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import Callable, Sequence
from typing import Literal

from audit_producers.ports import NotDelivered, Position
from audit_schemas.errors import AuditError

State = Literal["pending", "spooled", "acknowledged", "failed"]
Durability = Literal["spooled", "kafka"]


class Receipt:
    """The state of one event. Thread-safe.

    `pending`: on its way, not durable yet. `spooled`: on the local disk, fsynced; it will reach Kafka, after a crash of
    this process too. `acknowledged`: Kafka has it on all in-sync replicas. `failed`: it was given back; `error` says
    why, and nothing has it.
    """

    __slots__ = ("__weakref__", "_waiting", "error", "event_id", "position", "spooled")

    def __init__(self, event_id: str) -> None:
        self.event_id = event_id
        self.position: Position | None = None
        self.error: AuditError | None = None
        self.spooled = False
        self._waiting: tuple[tuple[bool, Callable[[], None]], ...] = ()

    @property
    def state(self) -> State:
        """Where the event is."""
        if self.position is not None:
            return "acknowledged"
        if self.error is not None:
            return "failed"
        return "spooled" if self.spooled else "pending"

    @property
    def durability(self) -> Durability | None:
        """Who keeps the event: Kafka, else the spool, else nobody yet."""
        if self.position is not None:
            return "kafka"
        return "spooled" if self.spooled and self.error is None else None

    def wait(self, timeout: float | None = None) -> Position:
        """The position in Kafka, once acknowledged. Raises `NotDelivered` when it failed, `TimeoutError` before."""
        self._wait(timeout, kafka=True)
        if self.position is None:
            raise self.error or NotDelivered("no position")
        return self.position

    def wait_durable(self, timeout: float | None = None) -> Durability:
        """Who keeps the event, once somebody does. Raises `NotDelivered` when it failed, `TimeoutError` before."""
        self._wait(timeout, kafka=False)
        return self._durable()

    async def durable(self, timeout: float | None = None) -> Durability:  # noqa: ASYNC109 - as `wait_durable`
        """`wait_durable` for asyncio: the loop goes on meanwhile."""
        await self._reached(timeout, kafka=False)
        return self._durable()

    async def acknowledged(self, timeout: float | None = None) -> Position:  # noqa: ASYNC109 - as `wait`
        """`wait` for asyncio."""
        await self._reached(timeout, kafka=True)
        if self.position is None:
            raise self.error or NotDelivered("no position")
        return self.position

    def settle_spooled(self) -> None:
        """For whoever carries the event: it is fsynced."""
        self.spooled = True
        if self._waiting:
            self._tell()

    def settle_kafka(self, position: Position) -> None:
        """For whoever carries the event: Kafka acknowledged it."""
        self.position = position
        if self._waiting:
            self._tell()

    def settle_failed(self, error: AuditError) -> None:
        """For whoever carries the event: it is given back, nothing has it."""
        self.error = error
        if self._waiting:
            self._tell()

    def _durable(self) -> Durability:
        durability = self.durability
        if durability is None:
            raise self.error or NotDelivered("nothing keeps the event")
        return durability

    def _has_reached(self, kafka: bool) -> bool:
        return self.position is not None or self.error is not None or (self.spooled and not kafka)

    def _call(self, kafka: bool, then: Callable[[], None]) -> None:
        """Calls `then` once the stage is reached, on whichever thread reaches it; at once when it is."""
        with _LOCK:
            self._waiting = (*self._waiting, (kafka, then))
        # Whoever settled between a look and the line above did not see it: look again.
        self._tell()

    def _forget(self, then: Callable[[], None]) -> None:
        with _LOCK:
            self._waiting = tuple(one for one in self._waiting if one[1] != then)

    def _tell(self) -> None:
        with _LOCK:
            ready = [then for kafka, then in self._waiting if self._has_reached(kafka)]
            self._waiting = tuple(one for one in self._waiting if not self._has_reached(one[0]))
        for then in ready:
            then()

    def _wait(self, timeout: float | None, *, kafka: bool) -> None:
        if not self._has_reached(kafka):
            reached = threading.Event()
            self._call(kafka, reached.set)
            if not reached.wait(timeout):
                self._forget(reached.set)
                raise TimeoutError(self._not_yet(kafka))

    async def _reached(self, seconds: float | None, *, kafka: bool) -> None:
        if self._has_reached(kafka):
            return
        loop = asyncio.get_running_loop()
        reached = asyncio.Event()

        def tell() -> None:
            # A loop that was closed meanwhile has nobody waiting; whoever carries the event must not stumble over it.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(reached.set)

        self._call(kafka, tell)
        try:
            await asyncio.wait_for(reached.wait(), seconds)
        except TimeoutError:
            raise TimeoutError(self._not_yet(kafka)) from None
        finally:
            self._forget(tell)

    def _not_yet(self, kafka: bool) -> str:
        return f"event {self.event_id} is not {'acknowledged' if kafka else 'durable'} yet, it is {self.state}"

    def __repr__(self) -> str:
        return f"<Receipt {self.event_id} {self.state}>"


# One lock for all receipts: it is held for an assignment, and a lock per event would cost more than the event.
# Re-entrant, since a signal handler may wait for a receipt of its own.
_LOCK = threading.RLock()


def _after_fork_in_child() -> None:
    # Another of the parent's threads may have held it.
    global _LOCK
    _LOCK = threading.RLock()


os.register_at_fork(after_in_child=_after_fork_in_child)

OnFailure = Callable[[Receipt, AuditError], None]
_log = logging.getLogger("audit_producers")


def give_back(receipts: Sequence[Receipt], count: int, error: AuditError, on_failure: OnFailure | None) -> None:
    """For whoever carries events: tells that `count` events are given up, of which somebody still has these receipts."""
    if count > len(receipts):
        _log.error("%d audit events were not delivered: %s", count - len(receipts), error)
    for receipt in receipts:
        receipt.settle_failed(error)
        if on_failure is None:
            _log.error("audit event %s was not delivered: %s", receipt.event_id, error)
            continue
        try:
            on_failure(receipt, error)
        except Exception:  # noqa: BLE001 - the service's own code; the others must hear of theirs
            _log.exception("on_delivery_failure failed for event %s", receipt.event_id)


__all__ = ["Durability", "OnFailure", "Receipt", "State", "give_back"]
