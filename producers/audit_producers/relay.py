"""Hands events to Kafka in the order of their numbers, and begins again with the first unacknowledged one on trouble.

What was handed over stays in a window until Kafka acknowledges it. After a failed delivery nothing more is handed over:
the producer is replaced after a pause, and the whole window goes to the new one first. An event can reach Kafka twice
that way, never out of order and never not at all.
"""

from __future__ import annotations

import logging
import random
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from audit_producers.entry import Entry
from audit_producers.forks import unforked
from audit_producers.ports import Position, Transport
from audit_schemas.errors import AuditError

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 30.0
STALLED_S = 300.0
"""A window that makes no progress for so long gets a new producer: the old one may be beyond recovery."""
_log = logging.getLogger("audit_producers")


def pause_s(failures: int, rng: random.Random) -> float:
    """How long to wait after so many failures in a row and one more: twice as long each time, spread, bounded."""
    return float(min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(failures, 16)) * rng.uniform(0.5, 1.0))


class Relay:
    """One sequence of events on its way to Kafka.

    `send` may be called by any thread, one at a time, while `healthy`; everything else belongs to one thread.
    `progressed` is called on the transport's thread after each answer and must be quick.
    """

    def __init__(
        self,
        make_transport: Callable[[], Transport],
        *,
        max_events: int,
        max_bytes: int,
        progressed: Callable[[], None] = lambda: None,
        rng: random.Random | None = None,
    ) -> None:
        self._make_transport, self._progressed = make_transport, progressed
        self._max_events, self._max_bytes = max_events, max_bytes
        self._random = rng or random.Random()  # noqa: S311 - spreads retries, no secret
        self._window: dict[int, Entry] = {}
        self._acknowledged: deque[Entry] = deque()
        self._bytes_sent = self._bytes_done = 0
        self._transport: Transport | None = None
        self._generation = 0
        self._trouble: str | None = None
        self._resuming = False
        self._failures = 0
        self._resume_at: float | None = None
        self._last_progress = time.monotonic()
        self.replaced = 0

    @property
    def healthy(self) -> bool:
        """Whether events may be sent: no delivery has failed since the producer was made, and it has the window."""
        return self._trouble is None and not self._resuming

    @property
    def trouble(self) -> str | None:
        """Why nothing is sent now."""
        return self._trouble

    @property
    def in_flight(self) -> int:
        """Events that were handed over and not acknowledged."""
        return len(self._window)

    @property
    def has_room(self) -> bool:
        """Whether another event may be handed over."""
        return len(self._window) < self._max_events and self._bytes_sent - self._bytes_done < self._max_bytes

    def send(self, entry: Entry) -> None:
        """Hands an event over. It is in the window from now on, whatever happens to it."""
        size, now = len(entry.value), time.monotonic()
        # No call in these lines: a signal handler that raises comes before them or behind them, see `doubt`.
        entry.since = now
        if not self._window:
            self._last_progress = now
        self._bytes_sent += size
        self._window[entry.seq] = entry
        self._hand_over(entry)

    def doubt(self, entry: Entry) -> None:
        """For whoever called `send` and was interrupted, by a signal handler that raised: was it handed over or not?

        It is in the window, unless it is acknowledged, and the producer is replaced.
        """
        if not entry.since:
            self._bytes_sent += len(entry.value)
            entry.since = time.monotonic()
            self._window[entry.seq] = entry
        self._fail(self._generation, f"the sending of event {entry.seq} was interrupted")

    def _hand_over(self, entry: Entry) -> None:
        if self._trouble is not None:
            return
        try:
            if self._transport is None:
                with unforked:
                    self._transport = self._make_transport()
            self._transport.send(entry.topic, entry.key, entry.value, partial(self._delivered, entry, self._generation))
        except Exception as error:  # noqa: BLE001 - whatever it is, the event waits and is tried again
            self._fail(self._generation, f"{type(error).__name__}: {error}")

    def _delivered(self, entry: Entry, generation: int, position: Position | None, error: AuditError | None) -> None:
        """On the transport's thread. An old producer's acknowledgement counts, its failures don't any more."""
        if position is None:
            self._fail(generation, str(error))
        elif self._window.pop(entry.seq, None) is not None:
            self._last_progress = time.monotonic()
            self._acknowledged.append(entry)
            if entry.receipt is not None:
                entry.receipt.settle_kafka(position)
            if self._failures and generation == self._generation:
                self._failures = 0
        self._progressed()

    def _fail(self, generation: int, why: str) -> None:
        if generation == self._generation and self._trouble is None:
            self._trouble = why

    def take_acknowledged(self) -> list[Entry]:
        """The events acknowledged since the last call."""
        acknowledged, found = self._acknowledged, []
        while acknowledged:
            entry = acknowledged.popleft()
            self._bytes_done += len(entry.value)
            found.append(entry)
        return found

    def window(self) -> list[Entry]:
        """What was handed over and is not acknowledged, in order."""
        return list(self._window.values())

    def oldest_s(self) -> float:
        """For how many seconds the first event of the window waits; 0 when there is none."""
        try:
            first = next(iter(self._window.values()))
        except (StopIteration, RuntimeError):  # acknowledged between two steps: it did not wait long
            return 0.0
        return time.monotonic() - first.since

    def tend(self, barrier: AbstractContextManager[Any] | None = None) -> float | None:
        """Replaces the producer when a delivery failed and the pause is over; seconds until it wants to be called.

        Whoever calls `send` on other threads holds `barrier` meanwhile and asks `healthy` under it.
        """
        now = time.monotonic()
        if self._window and now - self._last_progress > STALLED_S:
            self._fail(self._generation, f"no acknowledgement for {STALLED_S:g} s")
        if self._trouble is None:
            return None
        if self._resume_at is None:
            if barrier is not None:
                with barrier:
                    pass  # whoever was sending has finished, and nobody begins any more
            self._give_up()
            pause = pause_s(self._failures, self._random)
            self._failures += 1
            self._resume_at = now + pause
            level = logging.WARNING if self._failures < 4 else logging.ERROR
            _log.log(level, "Kafka takes no audit events: %s. They wait; next attempt in %.1f s", self._trouble, pause)
        if now < self._resume_at:
            return self._resume_at - now
        self._resume()
        return None

    def _give_up(self) -> None:
        self._generation += 1
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abandon()

    def _resume(self) -> None:
        self.replaced += 1
        self._resuming = True
        self._resume_at, self._trouble = None, None
        self._last_progress = time.monotonic()
        for entry in list(self._window.values()):
            self._hand_over(entry)
        self._resuming = False

    def close(self) -> None:
        """Gives up what is on its way, without blocking."""
        self._trouble = self._trouble or "closed"
        self._give_up()


__all__ = ["FIRST_PAUSE_S", "LONGEST_PAUSE_S", "Relay", "pause_s"]
