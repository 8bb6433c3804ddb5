"""How much a key and an app may send. Counted in memory, per process."""

from __future__ import annotations

from audit_infra.http.rates import Counter, Rate, Window, rate_limited
from audit_producers.events_api.fields import Caller
from audit_producers.events_api.problems import NOT_RECORDED


class Rates:
    """The limits of events and requests; a rate is text such as "100000/minute", or several between semicolons."""

    def __init__(self, events: str, requests: str) -> None:
        self._events, self._requests = Rate.all_of(events), Rate.all_of(requests)
        self._window = Window()

    def take_request(self, caller: Caller) -> None:
        """Counts one request. Raises the problem 429 when it is too many; it does not count then."""
        self._take("requests", self._requests, caller, 1)

    def take_events(self, caller: Caller, events: int) -> None:
        """Counts events. Raises the problem 429 when they are too many; none of them counts then."""
        self._take("events", self._events, caller, events)

    def _take(self, what: str, rates: list[Rate], caller: Caller, cost: int) -> None:
        counters = [
            Counter(rate, (what, *name))
            for rate in rates
            for name in (("key", caller.key_id), ("app", caller.workspace_id, caller.app_id))
        ]
        full = self._window.take(counters, cost)
        if full is not None:
            raise rate_limited(full.rate.text(what), self._window.left(full).seconds, NOT_RECORDED)


__all__ = ["Rates"]
