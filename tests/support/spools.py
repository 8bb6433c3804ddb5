"""Events for spools, and what a spool says when it is opened again."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from audit_producers.entry import Batch, Entry
from audit_producers.spool import Spool


def value_of(seq: int, size: int = 40) -> bytes:
    """Bytes that no other event of the test contains."""
    return b"<event %08d>" % seq + bytes(seq * 7 % 251 for _ in range(size))


def entries(numbers: Iterable[int], size: int = 40, workspaces: int = 3) -> list[Entry]:
    """Events with these numbers, over a few workspaces."""
    return [Entry(seq, "audit.files", f"w{seq % workspaces}", value_of(seq, size)) for seq in numbers]


def make_spool(path: Path, *commits: Iterable[int], size: int = 40) -> Path:
    """A spool as a dead process leaves it, with these numbers in these commits."""
    spool = Spool(path)
    for numbers in commits:
        spool.commit(entries(numbers, size), (), 1_000)
    spool.close()
    return path


def read_all(spool: Spool) -> list[Entry]:
    """Everything in it, as the relay reads it."""
    found: list[Entry] = []
    while more := spool.read(found[-1].seq if found else -1):
        found += more
    return found


def read_file(path: Path) -> list[Entry]:
    """Everything in a file, by a process that opens it anew."""
    spool = Spool(path)
    found = read_all(spool)
    spool.close()
    return found


def acknowledge(found: Iterable[Entry]) -> list[Batch]:
    """The batches of which these events are the last."""
    done = []
    for entry in found:
        assert entry.batch is not None
        entry.batch.remaining -= 1
        if not entry.batch.remaining:
            done.append(entry.batch)
    return done


def rows(path: Path, statement: str) -> list[tuple[object, ...]]:
    """What a closed file says to SQL."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(statement).fetchall()


def flip(path: Path, wanted: bytes) -> None:
    """Changes one bit of a file in the middle of these bytes, as a bad disk does."""
    content = bytearray(path.read_bytes())
    assert content.count(wanted) == 1, f"{wanted!r} is {content.count(wanted)} times in {path}"
    content[content.index(wanted) + len(wanted) // 2] ^= 1
    path.write_bytes(content)
