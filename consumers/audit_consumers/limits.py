"""When bad records are so many that something is wrong upstream: then the partition pauses instead of draining. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BadRecordLimits:
    """`share` of the last `window` records at least, or `run` bad ones without a good one between."""

    share: float = 0.5
    window: int = 10_000
    run: int = 5_000


class BadRecords:
    """Counts the good and bad records of one partition."""

    def __init__(self, limits: BadRecordLimits) -> None:
        self._limits = limits
        self._total = 0
        self._seen = 0.0
        self._bad = 0.0
        self._run = 0

    def add(self, rows: int, bad: int) -> None:
        """One batch's records. Older batches count less, so that about `window` records decide."""
        if rows <= 0:
            return
        self._total += rows
        keep = max(0.0, 1.0 - rows / self._limits.window)
        self._seen = self._seen * keep + rows
        self._bad = self._bad * keep + bad
        self._run = self._run + bad if bad == rows else 0

    @property
    def exceeded(self) -> str:
        """Which limit is passed, in words; "" when none is."""
        limits = self._limits
        if self._run >= limits.run:
            return f"{self._run} records in a row are bad"
        if self._total >= limits.window and self._bad >= limits.share * self._seen:
            return f"{self._bad:.0f} of the last {self._seen:.0f} records are bad"
        return ""


__all__ = ["BadRecordLimits", "BadRecords"]
