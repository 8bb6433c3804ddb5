"""Whether SQLite's write-ahead log of a spool is damaged in its middle, which SQLite takes for its end.

A log's last commit may be torn: nobody was told of it, and recovery leaves it out. But recovery ends at the first frame
that does not fit its checksum, wherever that is, and the commits behind it would be gone without a word. They still say
of themselves that they are there. After a power cut a torn last commit can look so too; then nothing is missing. The
format is https://www.sqlite.org/fileformat2.html#the_write_ahead_log.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import struct
from pathlib import Path

_HEADER = struct.Struct(">IIII8sII")
"""Magic number, version, page size, checkpoint number, salts, checksums."""
_FRAME = struct.Struct(">II8sII")
"""Page number, size of the database after a commit or 0, salts, checksums."""


def last_commit(log: Path) -> int:
    """The number of the last frame that ends a commit of this log, by its own word; 0 when there is none."""
    found = 0
    with contextlib.suppress(FileNotFoundError), log.open("rb") as file:
        end = os.fstat(file.fileno()).st_size
        if end < _HEADER.size:
            return 0
        _, _, page, _, header_salts, _, _ = _HEADER.unpack(file.read(_HEADER.size))
        salts = {header_salts}
        for frame in itertools.count(1):
            if file.tell() + _FRAME.size + page > end:
                break
            _, size, frame_salts, _, _ = _FRAME.unpack(file.read(_FRAME.size))
            if frame == 1:
                salts.add(frame_salts)  # the damage may be in the header
            if size and frame_salts in salts:
                found = frame
            file.seek(page, os.SEEK_CUR)
    return found


def keep(log: Path) -> Path:
    """Copies a log, before SQLite writes over it, to where people find it; its name. Raises `OSError`."""
    names = (log.with_suffix(f".damaged{count or ''}-wal") for count in itertools.count())
    kept = next(name for name in names if not name.exists())
    shutil.copyfile(log, kept)
    kept.chmod(0o600)
    return kept


__all__ = ["keep", "last_commit"]
