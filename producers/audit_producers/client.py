"""`AuditLog.emit`: how a product service writes to the log."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
import time
from collections.abc import Callable
from datetime import datetime
from types import TracebackType
from typing import Self, Unpack, get_args

from audit_infra.clock import utc_now
from audit_producers import context, folder, lifecycle, recording
from audit_producers.adoption import Adopter
from audit_producers.fields import EventFields, refuse_unknown
from audit_producers.outgoing import Outgoing
from audit_producers.ports import Closed, SpoolFull, Transport, Unconfirmed
from audit_producers.receipt import OnFailure, Receipt
from audit_producers.settings import Mode, ProducerSettings
from audit_producers.stats import Stats
from audit_schemas.acceptance import Acceptance
from audit_schemas.catalogue import load
from audit_schemas.datum import head_of
from audit_schemas.event import Event, refuse_too_large
from audit_schemas.topics import topic_of

_TRY_AGAIN_S = 0.01


def _kafka(settings: ProducerSettings) -> Transport:
    from audit_producers.kafka import KafkaTransport

    return KafkaTransport(settings)


class AuditLog:
    """Takes events and brings them to Kafka. One per service, made anywhere, also at import and before forking.

    Thread-safe, usable from asyncio, in forked workers and in signal handlers. Nothing is opened before the first
    event. What the three modes promise is in docs/emitting.md:

    - `durable`: the event is fsynced in the local spool before its receipt says `spooled`, and goes to Kafka from there.
    - `direct`: it goes to Kafka at once, and to the spool when Kafka does not answer.
    - `sync`: like `direct`, and the call waits for Kafka's acknowledgement.

    Args:
        service: the name of the product service, part of every event's producer stamp.
        version: its version, likewise.
        settings: where Kafka and the spool are, and every limit; read from the environment when not given.
        bootstrap_servers: where Kafka is, instead of the setting.
        mode: how events are emitted where a call doesn't say, instead of the setting.
        on_delivery_failure: called with the receipt and the error of each event that was taken and had to be given
            back, on another thread. Without it such an event is logged as an error; it is never silent.
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
        mode: Mode | None = None,
        on_delivery_failure: OnFailure | None = None,
        transport: Callable[[ProducerSettings], Transport] = _kafka,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        overrides = {} if bootstrap_servers is None else {"kafka_bootstrap_servers": bootstrap_servers}
        self._settings = settings or ProducerSettings.load(**overrides)
        self._mode = _known_mode(mode or self._settings.emit_mode)
        self._service, self._version = service, version
        self._on_failure = on_delivery_failure
        self._make_transport, self._clock = transport, clock
        self._acceptance = Acceptance(load())
        self._begin()
        lifecycle.register(self)
        lifecycle.prepare_process(handle_sigterm=self._settings.handle_sigterm)

    def _begin(self) -> None:
        self._starting = threading.RLock()
        self._outgoing: Outgoing | None = None
        self._made: list[Outgoing] = []
        self._adopter: Adopter | None = None
        self._closed = False

    def emit(self, event_type: str, *, mode: Mode | None = None, **fields: Unpack[EventFields]) -> Receipt:
        """Validates the event, takes it and returns; in mode `sync` once Kafka has it.

        Raises:
            InvalidEvent: with every problem; nothing was taken.
            SpoolFull: there is no room, after at most the setting `spool_full_wait_s`; nothing was taken.
            SpoolUnavailable: the spool's folder can't be used; nothing was taken.
            Unconfirmed: in mode `sync`, the event was taken and Kafka has not answered in time.
            NotDelivered: in mode `sync`, the event was taken and had to be given back.
            Closed: after `close`.
            TypeError: for a field that events don't have.
        """
        how = self._mode if mode is None else _known_mode(mode)
        event = self._accepted(event_type, fields)
        if (recorder := recording.active()) is not None:
            return recorder.take(event)
        receipt = self._take(event, how, self._settings.spool_full_wait_s)
        if how == "sync":
            try:
                receipt.wait(self._settings.confirm_timeout_s)
            except TimeoutError as error:
                raise Unconfirmed(str(error), receipt) from None
        return receipt

    async def aemit(self, event_type: str, *, mode: Mode | None = None, **fields: Unpack[EventFields]) -> Receipt:
        """`emit` for asyncio: returns once the mode's promise holds, and the loop goes on meanwhile.

        That is, in mode `durable`, when the event is fsynced in the spool (some milliseconds); in mode `direct` at once;
        in mode `sync` when Kafka has it. Raises what `emit` raises; `Unconfirmed` and `NotDelivered` in mode `durable` too.
        """
        how = self._mode if mode is None else _known_mode(mode)
        event = self._accepted(event_type, fields)
        if (recorder := recording.active()) is not None:
            return recorder.take(event)
        receipt = await self._take_without_blocking(event, how)
        try:
            if how == "sync":
                await receipt.acknowledged(self._settings.confirm_timeout_s)
            elif how == "durable":
                await receipt.durable(self._settings.confirm_timeout_s)
        except TimeoutError as error:
            raise Unconfirmed(str(error), receipt) from None
        return receipt

    def submit(self, event: Event, *, mode: Mode | None = None) -> Receipt:
        """Takes an event that `Acceptance.accept` made elsewhere; returns at once in every mode, and waits for no room.

        Raises `InvalidEvent` when it is too large, `SpoolFull`, `SpoolUnavailable` and `Closed`.
        """
        return self._take(event, self._mode if mode is None else _known_mode(mode), 0.0)

    def stats(self) -> Stats:
        """How emitting goes in this process, for its metrics and alarms."""
        outgoing, adopter = self._outgoing, self._adopter
        found = Stats() if outgoing is None else outgoing.stats()
        return found if adopter is None else dataclasses.replace(found, adopted=adopter.adopted)

    def flush(self, timeout: float = 30.0) -> int:
        """Waits until Kafka has every event that was taken; returns how many it still has not after `timeout` seconds."""
        outgoing = self._outgoing
        return 0 if outgoing is None else outgoing.flush(timeout)

    def close(self, timeout: float = 30.0) -> int:
        """Takes no further events, makes those taken durable, and waits at most `timeout` seconds for Kafka.

        Returns how many Kafka does not have yet. They stay in the spool, for the next process that looks there.
        """
        with self._starting:
            self._closed = True
            outgoing, adopter = self._outgoing, self._adopter
        if adopter is not None:
            adopter.stop()
        return 0 if outgoing is None else outgoing.close(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.close, self._settings.exit_timeout_s)

    def begin_in_child(self) -> None:
        """See `audit_producers.lifecycle`: a forked child has an instance, a spool and a connection of its own."""
        for parents in (self._outgoing, self._adopter):
            if parents is not None:
                lifecycle.keep_for_ever(parents)
        self._begin()

    def end_with_process(self) -> None:
        """See `audit_producers.lifecycle`: everything becomes durable, and Kafka gets some seconds."""
        self.close(self._settings.exit_timeout_s)

    def _accepted(self, event_type: str, fields: EventFields) -> Event:
        refuse_unknown(fields)
        return self._acceptance.accept(event_type, context.filled(fields), self._clock())  # type: ignore[arg-type]  # a dictionary

    def _take(self, event: Event, mode: Mode, wait_s: float) -> Receipt:
        outgoing = self._outgoing or self._begun()
        head = head_of(event)
        refuse_too_large(len(head) + outgoing.stamp_bytes)
        receipt = Receipt(event.event_id)
        topic = topic_of(self._settings.topic_prefix, event.category)
        outgoing.take(topic, event.workspace_id, head, receipt, direct=mode != "durable", wait_s=wait_s)
        return receipt

    async def _take_without_blocking(self, event: Event, mode: Mode) -> Receipt:
        deadline = time.monotonic() + self._settings.spool_full_wait_s
        while True:
            try:
                return self._take(event, mode, 0.0)
            except SpoolFull:
                if time.monotonic() >= deadline:
                    raise
            await asyncio.sleep(_TRY_AGAIN_S)

    def _begun(self) -> Outgoing:
        """Begins with the first event, so that a service which forks its workers begins in each of them."""
        with self._starting:
            if self._outgoing is None:
                if self._closed:
                    raise Closed("this audit log is closed")
                folder.prepare(self._settings.spool_dir)
                lifecycle.prepare_process(handle_sigterm=self._settings.handle_sigterm)
                make = self._new_transport
                made = Outgoing(self._settings, self._service, self._version, make, self._now_ms, self._on_failure)
                # A signal handler may emit on this very thread meanwhile and come here too: the first one made stays.
                self._made.append(made)
                self._outgoing = self._made[0]
                if self._outgoing is made:
                    made.start()
                    self._start_adopter()
            return self._outgoing

    def _start_adopter(self) -> None:
        if self._settings.adopt_interval_s:
            self._adopter = Adopter(self._settings, self._new_transport)
            threading.Thread(target=self._adopter.run, name="audit-log-adopter", daemon=True).start()

    def _new_transport(self) -> Transport:
        return self._make_transport(self._settings)

    def _now_ms(self) -> int:
        return int(self._clock().timestamp() * 1000)


def _known_mode(mode: Mode) -> Mode:
    if mode not in get_args(Mode):
        raise ValueError(f"the mode {mode!r} is none of {', '.join(get_args(Mode))}")
    return mode


__all__ = ["AuditLog"]
