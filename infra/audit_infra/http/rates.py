"""How often something may be done: windows that slide, counted in memory, per process."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Self

import limits
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from audit_infra.http.problems import ProblemError, ProblemType


@dataclass(frozen=True, slots=True)
class Rate:
    """So many in a window of so many seconds."""

    item: limits.RateLimitItem

    @classmethod
    def all_of(cls, text: str) -> list[Self]:
        """From text such as "100/second;5000/minute". Raises `ValueError`."""
        return [cls(item) for item in limits.parse_many(text)]

    @classmethod
    def of(cls, text: str) -> Self:
        """From text such as "600/minute". Raises `ValueError`, also when there are several."""
        (found,) = cls.all_of(text)
        return found

    @property
    def amount(self) -> int:
        """How many."""
        return self.item.amount

    @property
    def window_s(self) -> int:
        """In how many seconds."""
        return self.item.get_expiry()

    def text(self, what: str) -> str:
        """For people: "600 requests per minute"."""
        unit, many = self.item.GRANULARITY.name, self.item.multiples
        return f"{self.item.amount} {what} per {f'{many} {unit}s' if many > 1 else unit}"


@dataclass(frozen=True, slots=True)
class Counter:
    """Who is counted, and how many times that may be."""

    rate: Rate
    name: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Left:
    """What a counter still has, and after how many seconds it has more."""

    amount: int
    seconds: int


class Window:
    """The counters. A window is estimated from two of them, so that neither a batch nor a long memory costs anything."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:  # noqa: TID251 - the library's windows are of this clock
        self._limiter, self._clock = SlidingWindowCounterRateLimiter(MemoryStorage()), clock

    def take(self, counters: Sequence[Counter], cost: int = 1) -> Counter | None:
        """Counts in all of them; or in none, and says which one has no room for it."""
        full = self.full(counters, cost)
        if full is None:
            for counter in counters:
                self._limiter.hit(counter.rate.item, *counter.name, cost=cost)
        return full

    def full(self, counters: Sequence[Counter], cost: int = 1) -> Counter | None:
        """The first that has no room for so many more, None when all have."""
        tested = ((one, self._limiter.test(one.rate.item, *one.name, cost=cost)) for one in counters)
        return next((counter for counter, room in tested if not room), None)

    def left(self, counter: Counter) -> Left:
        """What is left now; never 0 seconds, so that nobody asks at once again."""
        window = self._limiter.get_window_stats(counter.rate.item, *counter.name)
        seconds = math.ceil(window.reset_time - self._clock())
        return Left(window.remaining, min(max(seconds, 1), counter.rate.window_s))


RATE_LIMITED: Final = ProblemType(
    "rate-limited",
    429,
    "Too much for now",
    "There were more requests, events or failed credentials than `limit` allows. Nothing of the request was done.",
    "Repeat after `Retry-After` seconds.",
)


def rate_limited(limit: str, seconds: int, detail: str = "") -> ProblemError:
    """There was too much for now; `limit` says of what, `seconds` when to come back."""
    return ProblemError(
        RATE_LIMITED,
        "; ".join(part for part in (f"the limit is {limit}", detail) if part),
        headers={"Retry-After": str(seconds)},
        extra={"limit": limit},
    )


__all__ = ["RATE_LIMITED", "Counter", "Left", "Rate", "Window", "rate_limited"]
