"""How long to wait before a process that ended is started again."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """Doubling waits; all in seconds."""

    first: float = 0.5
    ceiling: float = 30.0
    healthy_after: float = 60.0
    """A process that ran this long has recovered: its next end counts as the first."""

    def failures_after(self, failures: int, ran_for: float) -> int:
        """The count of failures in a row, including the end just seen."""
        return 1 if ran_for >= self.healthy_after else failures + 1

    def wait(self, failures: int) -> float:
        """Seconds to wait after that many failures in a row (at least one)."""
        return float(min(self.ceiling, self.first * 2 ** min(failures - 1, 32)))


__all__ = ["Backoff"]
