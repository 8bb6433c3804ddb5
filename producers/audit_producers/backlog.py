"""What waits for Kafka, in order: the next events in memory, and when they are many the rest on the disk only."""

from __future__ import annotations

import logging
import weakref
from collections import deque
from collections.abc import Callable, Sequence

from audit_producers.entry import Batch, Entry, finished
from audit_producers.own_spool import OwnSpool
from audit_producers.ports import SpoolDamaged, SpoolUnavailable
from audit_producers.receipt import Receipt
from audit_schemas.errors import AuditError

_log = logging.getLogger("audit_producers")


class Backlog:
    """Belongs to one thread; others may read the counts of `spool`.

    `give_back` is called with the receipts, as far as somebody still has them, and the number of events that are lost
    because the disk does not give them back.
    """

    def __init__(
        self, spool: OwnSpool, max_in_memory: int, give_back: Callable[[Sequence[Receipt], int, AuditError], None]
    ) -> None:
        self.spool = spool
        self._max_in_memory, self._give_back = max_in_memory, give_back
        self._ready: deque[Entry] = deque()
        self._read_through = -1
        """Events of the file with greater numbers are in no other place."""
        self._only_on_disk = 0
        self._receipts: weakref.WeakValueDictionary[int, Receipt] = weakref.WeakValueDictionary()
        self._removable: list[Batch] = []

    def __bool__(self) -> bool:
        return bool(self._ready or self._only_on_disk)

    @property
    def removable(self) -> bool:
        """Whether the next commit has something to remove."""
        return bool(self._removable)

    @property
    def in_memory(self) -> Sequence[Entry]:
        """The next events, in order."""
        return self._ready

    def commit(self, entries: Sequence[Entry], now_ms: int, strays: Sequence[Entry] = ()) -> None:
        """Makes events durable, and removes what Kafka has. Raises `SpoolUnavailable`; nothing was changed then.

        `strays` are those in memory, here or in the relay's window, that the disk does not have yet.
        """
        removed, self._removable = self._removable, []
        try:
            self.spool.commit(entries, removed, now_ms, strays)
        except BaseException:
            self._removable = removed + self._removable
            raise
        if strays:
            self._read_through = max(self._read_through, strays[-1].seq)
        if not entries:
            return
        if not self._only_on_disk and len(self._ready) + len(entries) <= self._max_in_memory:
            self._ready.extend(entries)
            self._read_through = entries[-1].seq
            return
        self._only_on_disk += len(entries)
        for entry in entries:
            if entry.receipt is not None:
                self._receipts[entry.seq] = entry.receipt

    def room(self) -> int:
        """How many more events `add` takes: it keeps them in memory alone, so none may be in front on the disk."""
        return 0 if self._only_on_disk else max(0, self._max_in_memory - len(self._ready))

    def add(self, entries: Sequence[Entry]) -> None:
        """Keeps events that no disk has; they are strays of a later commit."""
        self._ready.extend(entries)

    def next(self) -> Entry | None:
        """Takes out the next event; None when there is none. Raises `SpoolUnavailable`."""
        if not self._ready and self._only_on_disk:
            self._read()
        return self._ready.popleft() if self._ready else None

    def _read(self) -> None:
        entries, unreadable = self.spool.read(self._read_through)
        for entry in entries:
            entry.receipt = self._receipts.pop(entry.seq, None)
        self._ready.extend(entries)
        self._only_on_disk -= len(entries)
        if entries:
            self._read_through = entries[-1].seq
        self._lose(unreadable, len(unreadable))
        if not entries and self._only_on_disk:
            self._lose(list(self._receipts), self._only_on_disk)

    def _lose(self, numbers: Sequence[int], count: int) -> None:
        if count:
            self._only_on_disk -= count
            receipts = [found for number in numbers if (found := self._receipts.pop(number, None)) is not None]
            self._give_back(receipts, count, SpoolDamaged("the event is damaged in the spool"))

    def acknowledged(self, entries: Sequence[Entry]) -> None:
        """Notes what Kafka has: batches of which it has everything are removed with the next commit."""
        self._removable += finished(entries)

    def leave_file(self, window: Sequence[Entry]) -> None:
        """For a file that is damaged: what is in memory, here and in the relay's window, goes to another one.

        Raises `SpoolUnavailable` when the file can't be renamed; it is left all the same.
        """
        for entry in (*window, *self._ready):
            entry.batch = None
        self._removable = []
        lost = self._only_on_disk
        self._lose(list(self._receipts), lost)
        aside = self.spool.set_aside()
        _log.error("the damaged spool is kept as %s; %d events are only there", aside, lost)

    def drop_file_of_removable(self) -> None:
        """A full disk takes no removal either; without the file there is room again. A file that is needed stays."""
        if self.spool.discard_when_only(self._removable):
            self._removable = []

    def close(self) -> None:
        """Leaves the file to the next process, or removes it when nothing is in it."""
        try:
            self.spool.close()
        except SpoolUnavailable as error:
            _log.error("%s", error)


__all__ = ["Backlog"]
