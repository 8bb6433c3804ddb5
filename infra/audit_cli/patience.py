"""How often and after what pauses a request is sent again, when that may help."""

from __future__ import annotations

from collections.abc import Callable

from audit_cli.service import AGAIN, ServiceProblem, Unreachable

TRIES = 12
LONGEST_PAUSE_S = 30.0
"""With the pauses doubling from a second, a service may be away for four minutes."""
MOST_WAITED_S = 300.0
"""A service that asks to be left alone for longer is not waited for."""


class Patience:
    """Counts the failures in a row. `note` is told why something takes long; `wait` waits seconds."""

    def __init__(self, note: Callable[[str], None], wait: Callable[[float], None]) -> None:
        self._note, self._wait = note, wait
        self._failures = 0

    def progressed(self) -> None:
        """Something arrived: the next failure is the first again."""
        self._failures = 0

    def after(self, error: ServiceProblem | Unreachable) -> None:
        """Waits before the next try. Raises the error when another try can't help, or there were enough."""
        asked, soon = 0.0, False
        if isinstance(error, ServiceProblem):
            asked = error.retry_after_s or 0.0
            # A conflict that tells when to come again passes by itself: something is about to be ready.
            soon = error.status == 409 and error.retry_after_s is not None
            if error.status not in AGAIN and not soon:
                raise error
        self._failures += 1
        if self._failures >= TRIES or asked > MOST_WAITED_S:
            raise error
        pause = max(asked, min(2.0 ** (self._failures - 1), LONGEST_PAUSE_S))
        if not soon:
            self._note(f"{error}; going on in {pause:g} s")
        self._wait(pause)


__all__ = ["LONGEST_PAUSE_S", "TRIES", "Patience"]
