"""Brings committed rows of an outbox to the log, in their order, and removes those that are kept elsewhere.

Rows are read in the order of their numbers, all that are there each time: a transaction that commits late shows rows
with numbers below those that have gone already, and a relay that remembers how far it came would skip them. The next
rows are handed over only when all those before are kept. So each relay sends, from the first row that is left, every
row in order; when two work at once for a moment, or one is killed before it removes what it sent, the same event
arrives again behind its first copy, with the same id and instant, and readers show the first.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, get_args

from sqlalchemy import Engine, delete, select, update

from audit_producers.client import AuditLog
from audit_producers.outbox.lease import RENEWED_WITHIN, Lease
from audit_producers.outbox.outbox import Outbox
from audit_producers.outbox.stored import event_of_text
from audit_producers.ports import Closed
from audit_producers.receipt import Durability, Receipt
from audit_producers.relay import pause_s
from audit_producers.stats import Alarm
from audit_schemas.errors import AuditError, InvalidEvent, Transient

STOP_NOTICED_S = 0.5
MOST_AT_ONCE = 10_000
"""Rows removed by one statement; databases limit its parameters, SQLite at 32 766."""
LONGEST_WAIT_S = 1.0
"""How long one look waits for receipts at most."""
_log = logging.getLogger("audit_producers")


class _Row(NamedTuple):
    number: int
    event_id: str
    text: str


@dataclass(frozen=True, slots=True)
class OutboxStats:
    """One relay so far. `relayed`: rows removed because their events are kept elsewhere; `set_aside`: rows that were no
    events; `in_flight`: handed to the log, no receipt yet; `leading`: whether this relay works, and not another;
    `alarm`: what is wrong now, None when nothing is."""

    relayed: int = 0
    set_aside: int = 0
    in_flight: int = 0
    leading: bool = False
    alarm: str | None = None


class OutboxRelay:
    """Relays one outbox. As many as wanted may run, in any processes; one works, the others wait to take over.

    `run` and `look` belong to one thread; `wake` and `stats` are for all. Start it after forking.

    Args:
        outbox: the tables.
        engine: the database they are in. Its time-outs should be finite: a call that hangs delays this relay.
        log: takes the events; its service and version are the stamp they get.
        until: where an event must be before its row is removed. `kafka`: acknowledged by Kafka; the relay's machine
            may then be lost at any time, and order holds over it. `spooled`: fsynced in the relay's spool at least; the
            table stays small while Kafka is away, and what waits is as durable as the volume of the spool.
        poll_s: seconds between two looks when nothing was found and nobody called `wake`.
        batch: rows handed over at a time, at most 10 000.
        takeover_s: seconds without a sign of life from the working relay after which another takes over.
        rng: spreads the pauses after trouble; for tests.
    """

    def __init__(
        self,
        outbox: Outbox,
        engine: Engine,
        log: AuditLog,
        *,
        until: Durability = "kafka",
        poll_s: float = 0.5,
        batch: int = 500,
        takeover_s: float = 10.0,
        rng: random.Random | None = None,
    ) -> None:
        if until not in get_args(Durability):
            raise ValueError(f"until {until!r} is none of {', '.join(get_args(Durability))}")
        if not 1 <= batch <= MOST_AT_ONCE or poll_s <= 0 or takeover_s <= 0:
            raise ValueError(f"batch must be 1 to {MOST_AT_ONCE}, poll_s and takeover_s above 0")
        self._table, self._engine, self._audit = outbox.table, engine, log
        self._kafka, self._poll_s, self._batch = until == "kafka", poll_s, batch
        self._lease = Lease(outbox.relay_table, takeover_s)
        self._wait_s = min(LONGEST_WAIT_S, takeover_s * RENEWED_WITHIN)
        self._random = rng or random.Random()  # noqa: S311 - spreads retries, no secret
        self._woken = threading.Event()
        self._pending: dict[int, Receipt] = {}
        self._relayed = self._set_aside = 0
        self._alarm = Alarm()

    def run(self, stop: threading.Event) -> None:
        """Relays until `stop` is set, which is noticed within a second or two; the log stays open.

        Trouble, of the database as of the log, is waited out with growing pauses. Raises `Closed` when the log is
        closed before the relay stops.
        """
        failures = 0
        try:
            while not stop.is_set():
                self._woken.clear()
                try:
                    progress = self.look()
                except Closed:
                    raise
                except Exception as error:  # noqa: BLE001 - whatever it is, the rows stay and are tried again
                    self._alarm.raise_(f"the outbox is not relayed: {type(error).__name__}: {error}")
                    stop.wait(self.pause_s(failures))
                    failures += 1
                else:
                    failures = 0
                    self._alarm.clear()
                    if not progress and not self._pending:
                        self._idle(stop)
        finally:
            self._leave()

    def look(self) -> int:
        """Hands over the next rows and waits a moment for their receipts; how many rows are dealt with.

        0 means that nothing is left, that another relay works, or that receipts are still outstanding, for which the
        next look waits on. Raises what the database raises, `SpoolFull`, `SpoolUnavailable` and `NotDelivered` when
        that stopped everything, and `Closed`; rows that were not removed are relayed by a later look.
        """
        leading = self._lease.hold(self._engine)
        trouble: AuditError | None = None
        refused = 0
        if leading and not self._pending:
            refused, trouble = self._hand_over(self._read())
        removed, failure = self._settle(self._wait_s)
        trouble = trouble or failure
        if trouble is not None and not removed:
            raise trouble
        return removed + refused

    def wake(self) -> None:
        """Says that a transaction with events has committed, so that they need not wait for the next look."""
        self._woken.set()

    def stats(self) -> OutboxStats:
        """How it goes."""
        return OutboxStats(self._relayed, self._set_aside, len(self._pending), self._lease.held, self._alarm.text)

    def pause_s(self, failures: int) -> float:
        """How long to wait after so many failures in a row and one more; as the log's own relay does."""
        return pause_s(failures, self._random)

    def _read(self) -> Sequence[_Row]:
        row = self._table.c
        wanted = select(row.id, row.event_id, row.event).where(row.set_aside.is_(None))
        with self._engine.connect() as connection:
            found = connection.execute(wanted.order_by(row.id).limit(self._batch))
            return [_Row(*one) for one in found]

    def _hand_over(self, rows: Iterable[_Row]) -> tuple[int, AuditError | None]:
        """Submits rows until the log takes no more; how many were no events, and why it took no more."""
        refused: list[tuple[_Row, str]] = []
        trouble: AuditError | None = None
        for row in rows:
            try:
                self._pending[row.number] = self._audit.submit(event_of_text(row.text))
            except InvalidEvent as error:
                refused.append((row, str(error)))
            except Transient as error:
                trouble = error
                break
        if refused:
            self._put_aside(refused)
        return len(refused), trouble

    def _put_aside(self, refused: Sequence[tuple[_Row, str]]) -> None:
        with self._engine.begin() as connection:
            for row, reason in refused:
                connection.execute(update(self._table).where(self._table.c.id == row.number).values(set_aside=reason))
        for row, reason in refused:
            _log.error("row %d of the outbox, event %s, is set aside: %s", row.number, row.event_id, reason)
        self._set_aside += len(refused)

    def _settle(self, seconds: float) -> tuple[int, AuditError | None]:
        """Waits for receipts and removes the rows of those that came; how many, and why an event was given back."""
        deadline = time.monotonic() + seconds
        kept: list[int] = []
        given_back: list[int] = []
        failure: AuditError | None = None
        for number, receipt in self._pending.items():
            wait = receipt.wait if self._kafka else receipt.wait_durable
            try:
                wait(max(0.0, deadline - time.monotonic()))
            except TimeoutError:
                break
            except AuditError as error:
                given_back.append(number)
                failure = error
            else:
                kept.append(number)
        if kept:
            with self._engine.begin() as connection:
                connection.execute(delete(self._table).where(self._table.c.id.in_(kept)))
            self._relayed += len(kept)
        # Only now: when the rows can't be removed, they are not to be handed over again for that.
        for number in (*kept, *given_back):
            del self._pending[number]
        return len(kept), failure

    def _idle(self, stop: threading.Event) -> None:
        deadline = time.monotonic() + self._poll_s
        while not stop.is_set() and (left := deadline - time.monotonic()) > 0:
            if self._woken.wait(min(left, STOP_NOTICED_S)):
                return

    def _leave(self) -> None:
        """Removes what is kept by now and lets another relay take over at once."""
        try:
            self._settle(self._wait_s)
            self._lease.release(self._engine)
        except Exception as error:  # noqa: BLE001 - it ends either way; another relay finds the rows
            _log.warning("the outbox relay ended without telling the others: %s", error)


__all__ = ["OutboxRelay", "OutboxStats"]
