"""`AuditLog.emit`: how a product service writes to the log."""

from __future__ import annotations

import logging
import os
import secrets
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from audit_producers.ports import Closed, Position, Transport
from audit_producers.receipt import OnFailure, Receipt
from audit_producers.settings import ProducerSettings
from audit_schemas.acceptance import Acceptance
from audit_schemas.catalogue import load
from audit_schemas.codec import encode_record, frame, record_of
from audit_schemas.errors import AuditError, InvalidEvent, Problem
from audit_schemas.event import MAX_EVENT_BYTES
from audit_schemas.topics import topic_of

_log = logging.getLogger("audit_producers")


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _kafka(settings: ProducerSettings) -> Transport:
    from audit_producers.kafka import KafkaTransport

    return KafkaTransport(settings)


class AuditLog:
    """Emits events to Kafka. Thread-safe, usable in forked workers: each process has its own connection and stamp.

    Args:
        service: the name of the product service, part of every event's producer stamp.
        version: its version, likewise.
        settings: where Kafka is and how much to buffer; read from the environment when not given.
        on_delivery_failure: called with the receipt and the error of each event that Kafka did not take, on another
            thread. Without it such an event is logged as an error; it is never silent.
        transport: makes what carries the events; for tests and for other carriers.
        clock: the instant now; for tests.
    """

    def __init__(
        self,
        service: str,
        *,
        version: str = "",
        settings: ProducerSettings | None = None,
        bootstrap_servers: str | None = None,
        on_delivery_failure: OnFailure | None = None,
        transport: Callable[[ProducerSettings], Transport] = _kafka,
        clock: Callable[[], datetime] = _utc_now,
    ) -> None:
        overrides = {} if bootstrap_servers is None else {"kafka_bootstrap_servers": bootstrap_servers}
        self._settings = settings or ProducerSettings.load(**overrides)
        self._service, self._version = service, version
        self._on_failure = on_delivery_failure
        self._make_transport, self._clock = transport, clock
        self._acceptance = Acceptance(load())
        self._begin()
        _LOGS.add(self)

    def _begin(self) -> None:
        """The state of one process; made anew in a forked child, where the parent's connection must not be touched."""
        self._lock = threading.Lock()
        self._instance = secrets.token_hex(8)
        self._seq = 0
        self._transport: Transport | None = None
        self._closed = False

    def emit(
        self,
        event_type: str,
        *,
        workspace_id: str,
        actor: Mapping[str, Any],
        source: str,
        targets: Sequence[Mapping[str, Any]] = (),
        occurred_at: datetime | str | None = None,
        event_id: str | None = None,
        on_behalf_of: Mapping[str, Any] | None = None,
        ip: str = "",
        user_agent: str = "",
        outcome: str | None = None,
        outcome_reason: str = "",
        changes: Sequence[Mapping[str, Any]] = (),
        metadata: Mapping[str, Any] | None = None,
        request_id: str = "",
        session_id: str = "",
        app_id: str = "",
        label: str | None = None,
    ) -> Receipt:
        """Validates the event, hands it over and returns at once.

        A resend of an event must carry the first one's `event_id` and `occurred_at`.

        Raises:
            InvalidEvent: with every problem; nothing was sent.
            BufferFull: too many events wait for Kafka; this one was not taken.
            Closed: after `close`.
        """
        event = self._acceptance.accept(
            event_type,
            {
                "workspace_id": workspace_id,
                "actor": actor,
                "source": source,
                "targets": targets,
                "occurred_at": occurred_at,
                "event_id": event_id,
                "on_behalf_of": on_behalf_of,
                "ip": ip,
                "user_agent": user_agent,
                "outcome": outcome,
                "outcome_reason": outcome_reason,
                "changes": changes,
                "metadata": metadata,
                "request_id": request_id,
                "session_id": session_id,
                "app_id": app_id,
                "label": label,
            },
            self._clock(),
        )
        record = record_of(event)
        receipt = Receipt(event.event_id)
        topic = topic_of(self._settings.topic_prefix, event.category)
        with self._lock:
            # A number counts only once its event is taken, so that a hole means a lost event.
            record["producer"] = {
                "service": self._service,
                "instance": self._instance,
                "version": self._version,
                "seq": self._seq,
            }
            value = frame(encode_record(record))
            if len(value) > MAX_EVENT_BYTES:
                fault = f"the event has {len(value)} bytes, at most {MAX_EVENT_BYTES} are taken"
                raise InvalidEvent((Problem("", "too_large", fault),))
            self._connected().send(topic, event.workspace_id, value, lambda at, why: self._settle(receipt, at, why))
            self._seq += 1
        return receipt

    def flush(self, timeout: float = 30.0) -> int:
        """Waits until every event is acknowledged or failed; returns how many still are neither after `timeout` s."""
        transport = self._transport
        return 0 if transport is None else transport.flush(timeout)

    def close(self, timeout: float = 30.0) -> int:
        """`flush`, and takes no further events. Returns how many events are left behind unacknowledged."""
        with self._lock:
            self._closed = True
            transport = self._transport
        left = 0 if transport is None else transport.close(timeout)
        if left:
            _log.error("%d audit events were not acknowledged before the log was closed", left)
        return left

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _connected(self) -> Transport:
        """Connects with the first event, so that a service which forks its workers connects in each of them."""
        if self._transport is None:
            if self._closed:
                raise Closed("this audit log is closed")
            self._transport = self._make_transport(self._settings)
        return self._transport

    def _settle(self, receipt: Receipt, position: Position | None, error: AuditError | None) -> None:
        receipt.settle(position, error)
        if error is not None:
            if self._on_failure is None:
                _log.error("audit event %s was not delivered: %s", receipt.event_id, error)
            else:
                self._on_failure(receipt, error)


_LOGS: weakref.WeakSet[AuditLog] = weakref.WeakSet()
_PARENTS: list[Transport] = []


def _after_fork() -> None:
    for log in _LOGS:
        if log._transport is not None:  # noqa: SLF001 - the class's own module
            # Kept, not closed: freeing the parent's handle in a child that lacks its threads would hang.
            _PARENTS.append(log._transport)  # noqa: SLF001 - the class's own module
        log._begin()  # noqa: SLF001 - the class's own module


os.register_at_fork(after_in_child=_after_fork)

__all__ = ["AuditLog"]
