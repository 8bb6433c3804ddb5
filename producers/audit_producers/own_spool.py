"""The spool of this process: its file and the right to it, opened when first needed and given back at the end."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from pathlib import Path

from audit_producers import folder
from audit_producers.entry import Batch, Entry
from audit_producers.ports import SpoolUnavailable
from audit_producers.spool import Spool

_TRIES = 100
_log = logging.getLogger("audit_producers")


class OwnSpool:
    """Belongs to one thread; others may read the counts. `name` is the producer instance's."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory, self._name = directory, name
        self._spool: Spool | None = None
        self._claim: folder.Claim | None = None

    @property
    def events(self) -> int:
        """Events in the file."""
        spool = self._spool
        return 0 if spool is None else spool.events

    @property
    def bytes(self) -> int:
        """Bytes of the events in the file."""
        spool = self._spool
        return 0 if spool is None else spool.bytes

    @property
    def oldest_ms(self) -> int | None:
        """Since when the first of them waits, in milliseconds since 1970."""
        spool = self._spool
        return None if spool is None else spool.oldest_ms

    @property
    def damaged(self) -> int:
        """Rows of the file that can't be read."""
        spool = self._spool
        return 0 if spool is None else spool.damaged

    def commit(
        self, entries: Sequence[Entry], removed: Sequence[Batch], now_ms: int, strays: Sequence[Entry] = ()
    ) -> None:
        """See `Spool.commit`."""
        self._opened().commit(entries, removed, now_ms, strays)

    def read(self, after: int) -> tuple[list[Entry], list[int]]:
        """The next events behind a number, and the numbers of those that can't be read. Raises `SpoolUnavailable`."""
        if self._spool is None:
            return [], []
        entries = self._spool.read(after)
        return entries, self._spool.take_unreadable()

    def set_aside(self) -> Path | None:
        """Leaves a file that is damaged where people find it; the next commit begins another.

        Raises `SpoolUnavailable` when it can't be renamed.
        """
        claim, _ = self._leave()
        return None if claim is None else claim.set_aside()

    def discard_when_only(self, unneeded: Sequence[Batch]) -> bool:
        """Removes a file that holds nothing else, or could not be made; the next commit begins another."""
        spool = self._spool
        unneeded_events = sum(batch.events for batch in unneeded if batch.file is spool)
        if spool is not None and (spool.damaged or spool.events != unneeded_events):
            return False
        claim, _ = self._leave()
        if claim is not None:
            claim.release(remove=True)
        return True

    def close(self) -> None:
        """Removes the file when it is empty, and leaves it for the next process when events wait in it.

        Raises `SpoolUnavailable` when a damaged one can't be renamed.
        """
        events, damaged = self.events, self.damaged
        claim, empty = self._leave()
        if claim is None:
            return
        if events:
            _log.warning("%d audit events wait in %s for the next process", events, claim.spool)
        if damaged and not events:
            _log.error("damaged audit events are kept in %s", claim.set_aside())
        else:
            claim.release(remove=empty)

    def _opened(self) -> Spool:
        if self._spool is None:
            folder.prepare(self._directory)
            if self._claim is None:
                self._claim = self._claimed()
            self._spool = Spool(self._claim.spool)
        return self._spool

    def _claimed(self) -> folder.Claim:
        # Whoever tidies the folder may have a new lock file for an instant before its maker locks it.
        for _ in range(_TRIES):
            claim = folder.claim(self._directory, self._name)
            if claim is not None:
                return claim
        raise SpoolUnavailable(f"another process has the spool {self._name}")

    def _leave(self) -> tuple[folder.Claim | None, bool]:
        """Closes the file; the right to it, and whether nothing is in it."""
        spool, self._spool = self._spool, None
        claim, self._claim = self._claim, None
        empty = spool is None
        if spool is not None:
            with contextlib.suppress(SpoolUnavailable):
                empty = spool.close()
        return claim, empty


__all__ = ["OwnSpool"]
