"""How much a key and an app may send. Counted in memory, per process."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import limits
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from audit_infra.http.problems import ProblemError
from audit_producers.events_api.fields import Caller
from audit_producers.events_api.problems import rate_limited


class Rates:
    """The limits of events and requests; a rate is text such as "100000/minute", or several between semicolons.

    The window slides, estimated from two counters, so that neither a batch nor a long memory costs anything.
    """

    def __init__(self, events: str, requests: str, clock: Callable[[], float] = time.time) -> None:  # noqa: TID251 - the library's windows are of this clock
        self._events, self._requests = limits.parse_many(events), limits.parse_many(requests)
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._clock = clock

    def take_request(self, caller: Caller) -> None:
        """Counts one request. Raises the problem 429 when it is too many; it does not count then."""
        self._take("requests", self._requests, caller, 1)

    def take_events(self, caller: Caller, events: int) -> None:
        """Counts events. Raises the problem 429 when they are too many; none of them counts then."""
        self._take("events", self._events, caller, events)

    def _take(self, what: str, rates: list[limits.RateLimitItem], caller: Caller, cost: int) -> None:
        counters = [
            (rate, (what, *name))
            for rate in rates
            for name in (("key", caller.key_id), ("app", caller.workspace_id, caller.app_id))
        ]
        for rate, name in counters:
            if not self._limiter.test(rate, *name, cost=cost):
                raise self._refusal(what, rate, name)
        for rate, name in counters:
            self._limiter.hit(rate, *name, cost=cost)

    def _refusal(self, what: str, rate: limits.RateLimitItem, name: tuple[str, ...]) -> ProblemError:
        window = self._limiter.get_window_stats(rate, *name)
        seconds = math.ceil(window.reset_time - self._clock())
        per = f"{rate.multiples} {rate.GRANULARITY.name}s" if rate.multiples > 1 else rate.GRANULARITY.name
        return rate_limited(f"{rate.amount} {what} per {per}", min(max(seconds, 1), rate.get_expiry()))


__all__ = ["Rates"]
