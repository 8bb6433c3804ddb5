"""A call to a waiting thread that also a signal handler may make: `threading.Event` would hang there.

`Event.set` takes a lock that is not re-entrant. A handler that interrupts it on the same thread, and emits or closes a
log, would wait for itself. `SimpleQueue.put` is made for this.
"""

from __future__ import annotations

import contextlib
import queue


class Wake:
    """One thread waits; any may call it, from signal handlers and finalizers too."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._called = False

    def call(self) -> None:
        """Ends the wait that is going on, or the next one; many calls before it are one. Returns at once."""
        if not self._called:
            self._called = True
            self._calls.put(None)

    def wait(self, seconds: float) -> None:
        """Waits for a call for at most so long. Whatever was changed before the call is seen after it."""
        with contextlib.suppress(queue.Empty):
            self._calls.get(timeout=seconds)
        self._called = False


__all__ = ["Wake"]
