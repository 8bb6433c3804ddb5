"""How much may wait in one process, and whether there is room for another event."""

from __future__ import annotations

from collections.abc import Callable

from audit_producers.settings import ProducerSettings

MIB = 1_048_576


class Room:
    """Whoever has it guards it with a lock. `oldest_s` says for how many seconds the first event of the spool waits."""

    def __init__(self, settings: ProducerSettings, oldest_s: Callable[[], float]) -> None:
        self._buffer = settings.spool_buffer_mib * MIB
        self._spool = settings.spool_max_mib * MIB
        self._age_s = settings.spool_max_age_h * 3600
        self._oldest_s = oldest_s
        self.queued = 0
        """Bytes in memory that are not on the disk yet, also while they are being written."""
        self.spooled = 0
        """Bytes on the disk."""

    def lacks(self, size: int) -> str | None:
        """Why so many more bytes can't be taken; None when they can."""
        if self.queued + size > self._buffer:
            return f"the disk does not keep up: {self.queued} bytes wait for it"
        if self.spooled + self.queued + size > self._spool:
            return f"the spool is full: {self.spooled} bytes wait for Kafka, at most {self._spool // MIB} MiB may"
        oldest = self._oldest_s()
        if oldest > self._age_s:
            return f"the spool is too old: its first event waits for {oldest / 3600:.1f} h"
        return None

    def is_comfortable(self) -> bool:
        """Whether an alarm is over. With less room it would come and go."""
        return self.lacks(min(self._buffer, self._spool) // 10) is None


__all__ = ["MIB", "Room"]
