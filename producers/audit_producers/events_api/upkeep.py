"""What goes on beside requests: counts of refused events are written down, and old retry keys are deleted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Final

import structlog

from audit_producers.events_api.keys import Keys
from audit_producers.events_api.refusals import Refusals
from audit_producers.events_api.work import Work
from audit_schemas.errors import AuditError

FLUSH_S: Final = 5.0
"""A process that is killed loses the counts of so many seconds."""
PRUNE_EVERY: Final = 12
"""Keys are looked through at every so many flushes."""

log = structlog.get_logger("audit_events_api")


class Upkeep:
    """One round after the other, until cancelled."""

    def __init__(self, refusals: Refusals, keys: Keys, work: Work, clock: Callable[[], datetime]) -> None:
        self._refusals, self._keys, self._work, self._clock = refusals, keys, work, clock

    async def run(self) -> None:
        """Ends only when cancelled: what fails now is tried again in the next round."""
        rounds = 0
        while True:
            await asyncio.sleep(FLUSH_S)
            await self.flush()
            rounds += 1
            if rounds % PRUNE_EVERY == 0:
                await self.prune()

    async def flush(self) -> None:
        """Writes the counts down; they stay in memory when that fails."""
        try:
            await self._work.database(self._refusals.flush)
        except AuditError as error:
            log.warning("counts of refused events wait in memory", error=str(error))

    async def prune(self) -> int:
        """Deletes all keys that need not be kept any more, some at a time so that requests get their turn; how many."""
        deleted = 0
        try:
            while some := await self._work.database(self._keys.prune, int(self._clock().timestamp() * 1000)):
                deleted += some
        except AuditError as error:
            log.warning("old retry keys stay for now", error=str(error))
        return deleted


__all__ = ["Upkeep"]
