"""What one process does with accepted events: numbers them, makes them durable, and brings them to Kafka in order.

Callers put events into a queue and go on. One thread, the spooler, takes the whole queue at a time, commits it to the
spool, and hands it to the relay; the next commit also removes what Kafka has acknowledged meanwhile. An event emitted
`direct` skips the spool while nothing waits in front of it.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Sequence

from audit_producers.backlog import Backlog
from audit_producers.entry import Entry, Waiting
from audit_producers.own_spool import OwnSpool
from audit_producers.ports import Closed, NotDelivered, SpoolDamaged, SpoolFull, SpoolUnavailable, Transport
from audit_producers.receipt import OnFailure, Receipt, give_back
from audit_producers.relay import Relay
from audit_producers.room import MIB, Room
from audit_producers.settings import ProducerSettings
from audit_producers.stats import Alarm, Stats
from audit_producers.wake import Wake
from audit_schemas.datum import stamp_of, varint
from audit_schemas.errors import AuditError

IDLE_S, BUSY_S = 1.0, 0.2
"""How often the spooler looks around when nothing calls it: with nothing to do, and with answers outstanding."""
WRITE_AGAIN_S = 0.5
LAST_WRITES_S = 10.0
"""What the disk may take at the end beside the time that Kafka gets."""
MAX_VARINT = 10
OVERHEAD_BYTES = 64
"""What an event takes in a spool beside its value, roughly."""
_log = logging.getLogger("audit_producers")


class Outgoing:
    """Thread-safe. Belongs to one process: a forked child makes its own and never touches its copy of the parent's.

    The producer instance, a fresh random id, names the spool's file and stamps the events: (instance, number) names an
    event for ever, and a hole in the numbers is a lost event.

    A signal handler may emit and close on the thread that is emitting. Hence the lock is re-entrant, and whoever waits
    with it gives it up as a whole, so that the spooler goes on behind the interrupted emit. In the middle of a direct
    emit that must not be: what the handler emits waits for it in the queue then, and what it closes ends behind it.
    """

    def __init__(
        self,
        settings: ProducerSettings,
        service: str,
        version: str,
        make_transport: Callable[[], Transport],
        now_ms: Callable[[], int],
        on_failure: OnFailure | None,
    ) -> None:
        self._settings, self._now_ms, self._on_failure = settings, now_ms, on_failure
        self.instance = secrets.token_hex(8)
        self._stamp = stamp_of(service, self.instance, version)
        self.stamp_bytes = len(self._stamp) + MAX_VARINT
        """What an event grows by when it gets its stamp, at most."""
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._wake = Wake()
        self._queue: list[Waiting] = []
        self._room = Room(settings, self._oldest_s)
        self._seq = 0
        self._in_direct_emit = False
        self._behind_spool = self._only_in_memory = self._fallen_back = False
        self._closing_until: float | None = None
        self._ended = False
        self._flushing = 0
        self._accepted = self._done = self._refused = self._failed = 0
        # From here on the spooler's own.
        self._spool = OwnSpool(settings.spool_dir, self.instance)
        self._backlog = Backlog(self._spool, settings.in_flight_events, self._give_back)
        self._write_at = 0.0
        self._alarm = Alarm()
        self._relay = Relay(
            make_transport,
            max_events=settings.in_flight_events,
            max_bytes=settings.in_flight_mib * MIB,
            progressed=self._on_answer,
        )
        self._thread = threading.Thread(target=self._run, name="audit-log-spooler", daemon=True)

    def start(self) -> None:
        """Begins to work on what was taken."""
        self._thread.start()

    # ── callers' side ────────────────────────────────────────────────────────────────────────────────────────────

    def take(self, topic: str, key: str, head: bytes, receipt: Receipt, *, direct: bool, wait_s: float) -> None:
        """Takes an event: returns at once, or after at most `wait_s` seconds when there is no room.

        Raises `SpoolFull` when there still is none, and `Closed`.
        """
        with self._lock:
            self._refuse_when_closed()
            sent = direct and self._sent_directly(topic, key, head, receipt)
            if self._closing_until is not None:
                self._wait_for_end()  # for a signal handler that could not
            if sent:
                return
            self._refuse_when_closed()
            waiting = Waiting(topic, key, head, receipt, len(head) + len(self._stamp) + OVERHEAD_BYTES)
            if (full := self._room.lacks(waiting.size)) is not None:
                self._wait_for_room(waiting.size, full, wait_s)
            self._room.queued += waiting.size
            self._accepted += 1
            self._queue.append(waiting)
            if self._ended and waiting in self._queue:
                # A signal handler closed the log between the look above and here: nobody takes the queue any more.
                self._queue.remove(waiting)
                self._accepted -= 1
                self._refuse_when_closed()
        self._wake.call()

    def _sent_directly(self, topic: str, key: str, head: bytes, receipt: Receipt) -> bool:
        """Sends an event past the queue and the spool, while nothing is in front of it there; whether it did."""
        if self._in_direct_emit:
            return False
        self._in_direct_emit = True
        seq = self._seq
        entry: Entry | None = None
        try:
            if self._behind_spool or self._fallen_back or self._queue or self._closing_until is not None:
                return False
            if not (self._relay.healthy and self._relay.has_room):
                return False
            entry = Entry(seq, topic, key, head + self._stamp + varint(seq), receipt)
            # No call in these lines: a signal handler comes before them or behind them.
            self._seq = seq + 1
            self._accepted += 1
            self._only_in_memory = True
            self._relay.send(entry)
        except BaseException:
            if entry is not None and self._seq > seq:
                # A signal handler raised. The number is used, so the event is taken.
                self._relay.doubt(entry)
            raise
        finally:
            self._in_direct_emit = False
        return True

    def _refuse_when_closed(self) -> None:
        if self._closing_until is not None:
            raise Closed("this audit log is closed")

    def _wait_for_room(self, size: int, full: str, wait_s: float) -> None:
        if self._in_direct_emit or threading.current_thread() is self._thread:
            wait_s = 0.0  # nobody else could make room meanwhile
        deadline = time.monotonic() + wait_s
        found: str | None = full
        while found is not None:
            left = deadline - time.monotonic()
            if left <= 0 or not self._changed.wait(left):
                self._refused += 1
                self._alarm.raise_(found)
                raise SpoolFull(found)
            self._refuse_when_closed()
            found = self._room.lacks(size)

    def _oldest_s(self) -> float:
        at = self._spool.oldest_ms
        return 0.0 if at is None else max(0.0, (self._now_ms() - at) / 1000)

    def _on_answer(self) -> None:
        """On the transport's thread, for each event: the spooler is called only when something waits for answers."""
        if self._behind_spool or self._flushing or not self._relay.healthy:
            self._wake.call()

    def left(self) -> int:
        """Events that were taken and are neither acknowledged nor given back."""
        return self._accepted - self._done - self._failed

    def flush(self, timeout: float) -> int:
        """Waits until every event is acknowledged or given back; returns how many are not after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        with self._changed:
            self._flushing += 1
            self._wake.call()
            while not self._in_direct_emit and self.left() and (rest := deadline - time.monotonic()) > 0:
                self._changed.wait(rest)
            self._flushing -= 1
        return self.left()

    def stats(self) -> Stats:
        """How it goes."""
        spool = self._spool
        return Stats(
            accepted=self._accepted,
            refused=self._refused,
            acknowledged=self._done,
            failed=self._failed,
            spooled_events=spool.events,
            spooled_bytes=spool.bytes,
            oldest_spooled_s=self._oldest_s(),
            in_flight=self._relay.in_flight,
            producers_replaced=self._relay.replaced,
            damaged=spool.damaged,
            alarm=self._alarm.text or self._relay.trouble,
        )

    def close(self, timeout: float) -> int:
        """Takes no more, makes everything durable, and waits at most `timeout` seconds for Kafka.

        Returns how many events are not acknowledged: they wait in the spool for the next process that looks there.
        Called by a signal handler in the middle of a direct emit, it returns at once, and that emit waits instead.
        """
        with self._changed:
            self._flushing += 1
            if self._closing_until is None:
                self._closing_until = time.monotonic() + timeout
            self._changed.notify_all()
            self._wake.call()
            if not self._in_direct_emit and self._thread.is_alive():
                self._wait_for_end()
        return self.left()

    def _wait_for_end(self) -> None:
        until = (self._closing_until or 0.0) + LAST_WRITES_S
        if threading.current_thread() is not self._thread:
            while not self._ended and (rest := until - time.monotonic()) > 0:
                self._changed.wait(rest)

    # ── the spooler's side ───────────────────────────────────────────────────────────────────────────────────────

    def _run(self) -> None:
        pause = IDLE_S
        while True:
            self._wake.wait(pause)
            try:
                pause = self._turn()
            except Exception as error:  # noqa: BLE001 - whatever it was: events wait, and the next turn tries again
                _log.exception("the spooler of the audit log stumbled")
                self._alarm.raise_(f"the spooler stumbled: {error}")
                pause = IDLE_S
            with self._changed:
                self._changed.notify_all()
            if self._closing_until is not None and (self.left() == 0 or time.monotonic() >= self._closing_until):
                break
        try:
            self._end()
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _turn(self) -> float:
        """One round; seconds until the next when nobody calls."""
        tend_s = self._relay.tend(self._lock)
        self._write(self._settings.direct_patience_s)
        self._hand_over()
        self._account()
        busy = self.left() or self._backlog.removable
        return min(BUSY_S if busy else IDLE_S, IDLE_S if tend_s is None else tend_s)

    def _write(self, patience_s: float) -> None:
        """Commits the queue, and events that only memory has when Kafka lets them wait for longer than that.

        What can't be written stays where it is, for a later turn.
        """
        now = time.monotonic()
        if now < self._write_at:
            return
        with self._lock:
            strays = self._strays(patience_s)
            queue, self._queue = self._queue, []
            self._behind_spool = self._behind_spool or bool(queue)
            self._fallen_back = self._fallen_back or bool(strays)
            self._only_in_memory = self._only_in_memory and not strays
        if not (queue or strays or self._backlog.removable):
            return
        entries: Sequence[Entry] = ()
        try:
            entries = [
                Entry(seq, one.topic, one.key, one.head + self._stamp + varint(seq), one.receipt)
                for seq, one in enumerate(queue, self._seq)
            ]
            self._backlog.commit(entries, self._now_ms(), strays)
        except Exception as error:
            self._write_at = now + WRITE_AGAIN_S
            sent = self._without_spool(entries)
            with self._lock:
                self._queue[:0] = queue[sent:]
                self._only_in_memory = self._only_in_memory or bool(strays or sent)
            self._note_bytes(queue[:sent])
            if not isinstance(error, SpoolUnavailable):
                raise
            self._on_trouble(error)
            return
        if entries:
            # Nobody else gives numbers while events are behind the spool.
            self._seq += len(entries)
        self._note_bytes(queue)
        if self._alarm.text is not None and self._room.is_comfortable():
            self._alarm.clear()
        for entry in (*strays, *entries):
            if entry.receipt is not None:
                entry.receipt.settle_spooled()

    def _note_bytes(self, left_queue: Sequence[Waiting]) -> None:
        size = sum(one.size for one in left_queue)
        with self._lock:
            self._room.queued -= size
            self._room.spooled = self._spool.bytes

    def _strays(self, patience_s: float) -> list[Entry]:
        """Events that only memory has, in order, when Kafka lets them wait for too long."""
        if not self._only_in_memory or (self._relay.healthy and self._relay.oldest_s() < patience_s):
            return []
        return [entry for entry in (*self._relay.window(), *self._backlog.in_memory) if entry.batch is None]

    def _without_spool(self, entries: Sequence[Entry]) -> int:
        """While the disk takes nothing and Kafka does, events go to Kafka: it keeps them just as well. How many do."""
        room = self._backlog.room() if self._relay.healthy else 0
        taken = entries[:room]
        if taken:
            self._seq += len(taken)
            self._backlog.add(taken)
        return len(taken)

    def _on_trouble(self, error: SpoolUnavailable) -> None:
        self._alarm.raise_(f"the spool can't be used: {error}")
        if isinstance(error, SpoolDamaged):
            self._account()
            self._only_in_memory = True
            self._backlog.leave_file(self._relay.window())
        else:
            self._backlog.drop_file_of_removable()
        self._note_bytes(())

    def _hand_over(self) -> None:
        relay, backlog = self._relay, self._backlog
        try:
            while relay.healthy and relay.has_room and (entry := backlog.next()) is not None:
                relay.send(entry)
        except SpoolUnavailable as error:
            self._on_trouble(error)
        with self._lock:
            self._behind_spool = bool(self._queue or backlog)
            if self._fallen_back and not self._behind_spool and relay.healthy:
                self._fallen_back = relay.oldest_s() >= self._settings.direct_patience_s / 2

    def _account(self) -> None:
        acknowledged = self._relay.take_acknowledged()
        self._backlog.acknowledged(acknowledged)
        self._done += len(acknowledged)

    def _end(self) -> None:
        """Last things: what is not acknowledged must be in the spool, or is given back with an error."""
        self._relay.close()
        self._account()
        self._write_at = 0.0
        self._only_in_memory = True
        try:
            self._write(0.0)
            self._account()
            self._write(0.0)
        except Exception:  # noqa: BLE001 - whatever it was, the callers hear of what is not written
            _log.exception("the spooler of the audit log stumbled at its end")
        why = f"the log was closed before the event was durable ({self._alarm.text or 'no time left'})"
        unanswered = [one for one in self._relay.window() if one.batch is None]
        unsent = [one for one in self._backlog.in_memory if one.batch is None]
        for entries, text in (
            (unanswered, f"{why}; Kafka may have it all the same, its answer is missing"),
            (unsent, why),
        ):
            receipts = [one.receipt for one in entries if one.receipt is not None]
            self._give_back(receipts, len(entries), NotDelivered(text))
        self._give_back([one.receipt for one in self._queue], len(self._queue), NotDelivered(why))
        self._queue.clear()
        self._backlog.close()

    def _give_back(self, receipts: Sequence[Receipt], count: int, error: AuditError) -> None:
        self._failed += count
        give_back(receipts, count, error, self._on_failure)


__all__ = ["Outgoing"]
