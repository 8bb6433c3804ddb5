"""How many rows a Parquet file says it has: what its footer begins with.

The footer is `FileMetaData` of the format's specification (parquet-format 2.9, `parquet.thrift`) in Thrift's compact
protocol, then its length in four bytes and `PAR1`. Version, schema and number of rows are its first three fields.
"""

from __future__ import annotations

from collections import deque
from typing import Final

_MAGIC: Final = b"PAR1"
_END: Final = 8
MOST_BYTES: Final = 32 * 1024 * 1024
"""The longest footer that is looked at, and so the most that is kept: that of some 200 million events."""
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 12
_VARINTS: Final = (4, 5, 6)
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
        """None when the bytes so far are no whole file, or one with a longer footer."""
        end = b"".join(self._kept)
        if len(end) < _END + len(_MAGIC) or not end.endswith(_MAGIC):
            return None
        begin = len(end) - _END - int.from_bytes(end[-_END:-4], "little")
        return None if begin < 0 else _rows_of(_Compact(end, begin))


def _rows_of(found: _Compact) -> int | None:
    field = 0
    while header := found.byte():
        field = field + (header >> 4) if header >> 4 else found.whole()
        if field == _NUM_ROWS:
            return found.whole()
        found.skip(header & 15)
    return None


class _Compact:
    """Reads Thrift's compact protocol."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data, self._at = data, at

    def byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def _varint(self) -> int:
        found = shift = 0
        while True:
            one = self.byte()
            found |= (one & 0x7F) << shift
            shift += 7
            if one < 0x80:
                return found

    def whole(self) -> int:
        """A signed number."""
        found = self._varint()
        return (found >> 1) ^ -(found & 1)

    def skip(self, kind: int) -> None:
        """A value of this type, as a field has it."""
        if kind == _BYTE:
            self._at += 1
        elif kind in _VARINTS:
            self._varint()
        elif kind == _DOUBLE:
            self._at += 8
        elif kind == _BINARY:
            size = self._varint()
            self._at += size
        elif kind in (_LIST, _SET):
            header = self.byte()
            count = header >> 4 if header >> 4 < 15 else self._varint()
            for _ in range(count):
                # In lists a truth value is a byte of its own; as a field it is part of the type.
                self.skip(_BYTE if header & 15 in (_TRUE, _FALSE) else header & 15)
        elif kind == _STRUCT:
            while header := self.byte():
                if not header >> 4:
                    self._varint()
                self.skip(header & 15)


__all__ = ["MOST_BYTES", "FooterRows"]
