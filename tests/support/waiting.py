"""How tests wait: for a condition, with a deadline, never for a length of time."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def eventually(
    check: Callable[[], T],
    deadline_seconds: float = 10.0,
    message: str = "the condition",
    *,
    interval_seconds: float = 0.02,
    ignore: tuple[type[Exception], ...] = (),
) -> T:
    """Calls `check` until it gives something true, which is returned; fails the test after the deadline.

    Exceptions listed in `ignore` count as "not yet"; the last one is named when time runs out.
    """
    deadline = time.monotonic() + deadline_seconds
    pause = threading.Event()
    while True:
        last: object
        try:
            last = value = check()
        except ignore as error:
            last = error
        else:
            if value:
                return value
        if time.monotonic() >= deadline:
            raise AssertionError(f"{message}: still not so after {deadline_seconds:g} s (last: {last!r})")
        pause.wait(interval_seconds)
