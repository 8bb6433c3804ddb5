"""How many rows a Parquet file says it has: what its footer begins with.

The footer is `FileMetaData` of the format's specification (parquet-format 2.9, `parquet.thrift`) in Thrift's compact
protocol, then its length in four bytes and `PAR1`. Version, schema and number of rows are its first three fields.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from audit_query.exports.thrift import Compact

MAGIC: Final = b"PAR1"
_END: Final = 8
MOST_BYTES: Final = 32 * 1024 * 1024
"""The longest footer that is looked at, and so the most that is kept: that of some 200 million events."""
_NUM_ROWS: Final = 3


class FooterRows:
    """Keeps the end of the file that passes, up to `MOST_BYTES`."""

    def __init__(self) -> None:
        self._kept: deque[bytes] = deque()
        self._size = 0

    def add(self, chunk: bytes) -> None:
        """The next bytes, cut anywhere."""
        self._kept.append(chunk)
        self._size += len(chunk)
        while self._size - len(self._kept[0]) >= MOST_BYTES:
            self._size -= len(self._kept.popleft())

    @property
    def rows(self) -> int | None:
        """None when the bytes so far are no whole file, or one with a longer footer, or one that can't be read."""
        end = b"".join(self._kept)
        if len(end) < _END + len(MAGIC) or not end.endswith(MAGIC):
            return None
        begin = len(end) - _END - int.from_bytes(end[-_END:-4], "little")
        if begin < 0:
            return None
        try:
            return rows_of(end[begin:-_END])
        except (IndexError, ValueError):
            return None


def rows_of(footer: bytes) -> int:
    """The number of rows in a footer. Raises `ValueError` or `IndexError` for what is none."""
    return Compact(footer).number(_NUM_ROWS)


__all__ = ["MAGIC", "MOST_BYTES", "FooterRows", "rows_of"]
