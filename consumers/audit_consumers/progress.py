"""How far a partition is complete, by the exact rule. Pure.

`complete_through = T` means: every record of the partition with an append time strictly before T is stored.
"""

from __future__ import annotations

MAX_MARGIN_MS = 60_000


class Progress:
    """The progress of one partition. `margin_ms` allows for a skew between the broker's clock and the worker's."""

    def __init__(self, margin_ms: int) -> None:
        self.complete_through_ms = 0
        self.margin_ms = margin_ms
        self.published_ms = 0

    def landed(self, highest_append_ms: int) -> None:
        """The contiguous ledgered prefix grew; its last record was appended then."""
        self._raise_to(highest_append_ms - self.margin_ms)

    def idle(self, clock_before_ms: int, end: int, ledgered_end: int) -> None:
        """A fresh ListOffsets answered `end`; the clock was read before it was asked.

        Every record appended before the clock was read has an offset below `end`; once the ledger reaches it, all of
        them are stored.
        """
        if end <= ledgered_end:
            self._raise_to(clock_before_ms - self.margin_ms)

    def arrived(self, append_ms: int) -> bool:
        """A record was read; True when it is older than the progress, which must never be.

        Then the clocks differ by more than the margin, so the margin is widened.
        """
        if append_ms >= self.complete_through_ms:
            return False
        late = self.complete_through_ms - append_ms
        self.margin_ms = min(MAX_MARGIN_MS, max(2 * self.margin_ms, late + self.margin_ms))
        return True

    @property
    def unpublished(self) -> bool:
        """Whether it has grown since it was last published."""
        return self.complete_through_ms > self.published_ms

    def _raise_to(self, value_ms: int) -> None:
        self.complete_through_ms = max(self.complete_through_ms, value_ms)


__all__ = ["MAX_MARGIN_MS", "Progress"]
