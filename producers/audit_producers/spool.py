"""The durable spool: one SQLite file per producer instance that keeps accepted events until Kafka has them.

What one commit adds is one row, however many events it holds. A row per event would give the interpreter's lock away
and wait for it again with every event, 5 ms each beside a busy thread (docs/decisions/0008 has the figures). Each event
in a row carries its number and a CRC; SQLite's own log makes a commit whole or absent, so a torn tail is no event.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from audit_producers import broken_log
from audit_producers.entry import Batch, Entry
from audit_producers.folder import sync
from audit_producers.forks import unforked
from audit_producers.ports import SpoolDamaged, SpoolUnavailable

FORMAT = 1
MAX_BATCH_EVENTS = 1_000
MAX_BATCH_BYTES = 1_048_576
_HEAD = struct.Struct(">IQHH")
"""CRC-32 of everything behind it; number; lengths of topic and key. The rest of the event is its value."""
_CRC_BYTES = 4
_DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB")
_log = logging.getLogger("audit_producers")

_TABLES = f"""
BEGIN IMMEDIATE;
CREATE TABLE about (format INTEGER NOT NULL);
CREATE TABLE batches (
  first INTEGER PRIMARY KEY, spooled_at_ms INTEGER NOT NULL, sizes BLOB NOT NULL, body BLOB NOT NULL);
CREATE TABLE damaged (first INTEGER, spooled_at_ms INTEGER, sizes BLOB, body BLOB, found TEXT);
INSERT INTO about VALUES ({FORMAT});
COMMIT;
"""


class Spool:
    """The file. Belongs to one thread; who may open it is settled by `audit_producers.folder`.

    Every method raises `SpoolUnavailable` when SQLite or the disk refuses; nothing was changed then.
    `events` and `bytes` wait in it, the first of them since `oldest_ms` (milliseconds since 1970, None when nothing
    waits); `damaged` rows can't be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._unreadable: list[int] = []
        self.broken_log: Path | None = None
        """Where the log is kept that this file had when it was opened, if it was damaged: commits may be only there."""
        log = path.with_name(path.name + "-wal")
        with _translated(path):
            logged = broken_log.last_commit(log)
            # Events speak of people: the file is its owner's alone, and SQLite makes its log alike.
            path.touch(mode=0o600)
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            try:
                self._prepare(log, logged)
                # Also when the file is not new: whoever made it may have died before this.
                sync(path.parent)
                self.events: int
                self.bytes: int
                self.events, self.bytes = self._one(
                    "SELECT coalesce(sum(length(sizes) / 4), 0), coalesce(sum(length(body)), 0) FROM batches"
                )
                self.damaged: int = self._one("SELECT count(*) FROM damaged")[0]
                self.oldest_ms: int | None = self._oldest()
            except BaseException:
                self._connection.close()
                raise

    def _prepare(self, log: Path, logged: int) -> None:
        execute = self._connection.execute
        # One process at a time has the file: no shared memory beside it, no lock per transaction.
        execute("PRAGMA locking_mode = EXCLUSIVE")
        execute("PRAGMA journal_mode = WAL")
        execute("PRAGMA synchronous = FULL")
        if logged > (recovered := self._one("PRAGMA wal_checkpoint(PASSIVE)")[1]):
            self.broken_log = broken_log.keep(log)
            _log.error(
                "the log of the spool %s is damaged behind frame %d, what was committed up to frame %d is only in %s",
                self.path,
                recovered,
                logged,
                self.broken_log,
            )
        if self._one("SELECT count(*) FROM sqlite_master WHERE name = 'about'") == (0,):
            self._connection.executescript(_TABLES)
        found = execute("SELECT format FROM about").fetchone()
        if found != (FORMAT,):
            raise SpoolUnavailable(f"{self.path} has format {found and found[0]}, this version reads {FORMAT}")

    def _one(self, statement: str) -> tuple[Any, ...]:
        row: tuple[Any, ...] = self._connection.execute(statement).fetchone()
        return row

    def commit(
        self, entries: Sequence[Entry], removed: Sequence[Batch], now_ms: int, strays: Sequence[Entry] = ()
    ) -> None:
        """Adds events and removes batches, both or neither, fsynced. Sets `batch` of every entry.

        `entries` and `strays` are in order of their numbers. Strays come late: their numbers are before some that are
        in the file already. The two never share a batch, so that `read` can begin between them.
        """
        added = [self._packed(chunk) for group in (strays, entries) for chunk in _chunks(group)]
        removed = [batch for batch in removed if batch.file is self]
        execute = self._connection.execute
        with _translated(self.path):
            execute("BEGIN IMMEDIATE")
            try:
                if removed:
                    firsts = ",".join(str(batch.first) for batch in removed)
                    execute(f"DELETE FROM batches WHERE first IN ({firsts})")
                for batch, _, sizes, body in added:
                    execute("INSERT INTO batches VALUES (?, ?, ?, ?)", (batch.first, now_ms, sizes, body))
                execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    execute("ROLLBACK")
                raise
        # It is done: what follows must not fail, or the caller would do it again.
        self.events -= sum(batch.events for batch in removed)
        self.bytes -= sum(batch.size for batch in removed)
        for batch, chunk, _, _ in added:
            self.events += batch.events
            self.bytes += batch.size
            for entry in chunk:
                entry.batch = batch
        if removed or self.oldest_ms is None:
            with contextlib.suppress(sqlite3.Error), unforked:
                self.oldest_ms = self._oldest()

    def remove(self, batches: Sequence[Batch]) -> None:
        """Removes batches; `commit` that adds nothing, and so needs no time."""
        self.commit((), batches, 0)

    def read(self, after: int) -> list[Entry]:
        """The events of the next batches that begin behind this number, about a mebibyte; empty when there are none.

        Events whose CRC does not fit are left out: their row is copied to the table `damaged`, which is kept for ever,
        and `take_unreadable` names them.
        """
        entries: list[Entry] = []
        unreadable: list[int] = []
        rows = self._next_rows(after)
        while rows and not entries:
            empty: list[Batch] = []
            for row in rows:
                batch = Batch(row[0], len(row[3]), len(row[2]) // 4, 0, self)
                found, faults = _unpacked(row[2], row[3], batch)
                if faults:
                    self._set_aside(row, [text for _, text in faults])
                    unreadable += [number for number, _ in faults if number is not None]
                batch.remaining = len(found)
                if not found:
                    empty.append(batch)
                entries += found
            if empty:
                self.remove(empty)
            if not entries:
                rows = self._next_rows(rows[-1][0])
        self._unreadable += unreadable
        return entries

    def take_unreadable(self) -> list[int]:
        """The numbers of the events that `read` found damaged since the last call."""
        found, self._unreadable = self._unreadable, []
        return found

    def _oldest(self) -> int | None:
        row = self._connection.execute("SELECT spooled_at_ms FROM batches ORDER BY first LIMIT 1").fetchone()
        return None if row is None else int(row[0])

    def _next_rows(self, after: int) -> list[tuple[int, int, bytes, bytes]]:
        rows: list[tuple[int, int, bytes, bytes]] = []
        size = 0
        try:
            with _translated(self.path), contextlib.closing(self._connection.cursor()) as cursor:
                cursor.execute(
                    "SELECT first, spooled_at_ms, sizes, body FROM batches WHERE first > ? ORDER BY first", (after,)
                )
                for row in cursor:
                    if not (isinstance(row[2], bytes) and isinstance(row[3], bytes)):
                        raise SpoolDamaged(f"the spool {self.path} is damaged: batch {row[0]} holds no bytes")
                    rows.append(row)
                    size += len(row[3])
                    if size >= MAX_BATCH_BYTES or len(rows) >= MAX_BATCH_EVENTS:
                        break
        except SpoolDamaged:
            # What is in front of the damage is good; whoever asks for what follows hears of it.
            if not rows:
                raise
        return rows

    def _set_aside(self, row: tuple[int, int, bytes, bytes], faults: Sequence[str]) -> None:
        text = "; ".join(faults)
        _log.error("the spool %s is damaged: %s. The rows are kept there.", self.path, text)
        with _translated(self.path):
            known = self._connection.execute("SELECT 1 FROM damaged WHERE first = ?", (row[0],)).fetchone()
            if known is None:
                self._connection.execute("INSERT INTO damaged VALUES (?, ?, ?, ?, ?)", (*row, text))
                self.damaged += 1

    def close(self) -> bool:
        """Closes the file; whether it is empty, and of no use any more."""
        # The file is asked, not the counts: whoever hears that it is empty removes it.
        with _translated(self.path), contextlib.closing(self._connection):
            held = self._one("SELECT EXISTS (SELECT 1 FROM batches) OR EXISTS (SELECT 1 FROM damaged)")
        return held == (0,)

    def _packed(self, chunk: Sequence[Entry]) -> tuple[Batch, Sequence[Entry], bytes, bytes]:
        pieces, sizes = [], []
        for entry in chunk:
            topic, key, value = entry.topic.encode(), entry.key.encode(), entry.value
            checked = _HEAD.pack(0, entry.seq, len(topic), len(key))[_CRC_BYTES:] + topic + key + value
            pieces.append(zlib.crc32(checked).to_bytes(_CRC_BYTES, "big") + checked)
            sizes.append(len(checked) + _CRC_BYTES)
        body = b"".join(pieces)
        batch = Batch(chunk[0].seq, len(body), len(chunk), len(chunk), self)
        return batch, chunk, struct.pack(f">{len(sizes)}I", *sizes), body


def _chunks(entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    """Runs of consecutive numbers, so that batches in order of their first number are events in order."""
    start, size = 0, 0
    for index, entry in enumerate(entries):
        if index > start and (
            entry.seq != entries[index - 1].seq + 1
            or index - start >= MAX_BATCH_EVENTS
            or size + len(entry.value) > MAX_BATCH_BYTES
        ):
            yield entries[start:index]
            start, size = index, 0
        size += len(entry.value)
    if entries:
        yield entries[start:]


def _unpacked(sizes: bytes, body: bytes, batch: Batch) -> tuple[list[Entry], list[tuple[int | None, str]]]:
    """The events of a row; numbers of those that can't be read, with why. Numbers in a row follow each other."""
    lengths = struct.unpack_from(f">{len(sizes) // 4}I", sizes)
    entries: list[Entry] = []
    faults: list[tuple[int | None, str]] = []
    at = 0
    for number, length in enumerate(lengths, batch.first):
        raw = body[at : at + length]
        at += length
        if len(raw) < _HEAD.size or zlib.crc32(raw[_CRC_BYTES:]) != int.from_bytes(raw[:_CRC_BYTES], "big"):
            faults.append((number, f"event {number} does not fit its CRC"))
            continue
        _, seq, topic, key = _HEAD.unpack_from(raw)
        if seq != number:
            faults.append((number, f"in the place of event {number} is event {seq}"))
            continue
        start = _HEAD.size + topic
        entries.append(
            Entry(
                seq,
                raw[_HEAD.size : start].decode(),
                raw[start : start + key].decode(),
                raw[start + key :],
                batch=batch,
            )
        )
    if at != len(body):
        faults.append((None, f"the events of batch {batch.first} have {at} bytes, it has {len(body)}"))
    return entries, faults


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        with unforked:
            yield
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorname", "") in _DAMAGED:
            raise SpoolDamaged(f"the spool {path} is damaged: {error}") from error
        raise SpoolUnavailable(f"the spool {path} can't be used: {error}") from error
    except OSError as error:
        raise SpoolUnavailable(f"the spool {path} can't be used: {error.strerror}") from error


__all__ = ["MAX_BATCH_EVENTS", "Spool"]
