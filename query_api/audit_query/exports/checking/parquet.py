"""How many rows a Parquet file says it has: the one number read from its footer, without a Parquet library.

The footer is `FileMetaData` in Thrift's compact protocol (parquet.thrift); field 3 is the number of rows. What comes
before it is skipped.
"""

from __future__ import annotations

from typing import BinaryIO

from audit_query.exports.checking.folder import size
from audit_query.exports.checking.records import Malformed

_MAGIC = b"PAR1"
_LONGEST = 64 * 1024 * 1024
"""Bytes of a footer; one of a million rows has a few kilobytes."""
_ROWS = 3
_STOP, _TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(13)
_DEEPEST = 16


def rows(file: BinaryIO) -> int:
    """The number of rows in the footer of an open file. Raises `Malformed` when there is none to be read."""
    length = size(file)
    if length < 12:
        raise Malformed("it is too short for a Parquet file")
    file.seek(length - 8)
    end = file.read(8)
    footer = int.from_bytes(end[:4], "little")
    if end[4:] != _MAGIC or not 0 < footer <= min(length - 12, _LONGEST):
        raise Malformed("it has no Parquet footer")
    file.seek(length - 8 - footer)
    try:
        return _Compact(file.read(footer)).number(_ROWS)
    except (IndexError, ValueError):
        raise Malformed("its Parquet footer can't be read") from None


class _Compact:
    """A reader of one struct. Raises IndexError at the end of the bytes and ValueError for what is not Thrift."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def number(self, wanted: int) -> int:
        """The 64-bit field with this number."""
        field = 0
        while True:
            head = self._byte()
            kind = head & 0x0F
            if kind == _STOP:
                raise ValueError("the field is missing")
            field = field + (head >> 4) if head >> 4 else self._zigzag()
            if field == wanted and kind == _I64:
                return self._zigzag()
            self._skip(kind, 0)

    def _byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def _varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise ValueError("a number is too long")

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def _skip(self, kind: int, depth: int, *, element: bool = False) -> None:
        if depth > _DEEPEST:
            raise ValueError("nested too deeply")
        if kind in (_TRUE, _FALSE):
            self._at += element  # as a field its value is in its head
        elif kind == _BYTE:
            self._at += 1
        elif kind in (_I16, _I32, _I64):
            self._varint()
        elif kind == _DOUBLE:
            self._at += 8
        elif kind == _BINARY:
            length = self._varint()
            self._at += length
        elif kind in (_LIST, _SET):
            head = self._byte()
            count = head >> 4 if head >> 4 < 15 else self._varint()
            self._elements(count, (head & 0x0F,), depth)
        elif kind == _MAP:
            count = self._varint()
            kinds = self._byte() if count else 0
            self._elements(count, (kinds >> 4, kinds & 0x0F), depth)
        elif kind == _STRUCT:
            while head := self._byte():
                if not head >> 4:
                    self._zigzag()
                self._skip(head & 0x0F, depth + 1)
        else:
            raise ValueError("an unknown type")

    def _elements(self, count: int, kinds: tuple[int, ...], depth: int) -> None:
        # Each takes at least a byte, or the count is a lie.
        if count * len(kinds) > len(self._data):
            raise ValueError("more elements than bytes")
        for _ in range(count):
            for kind in kinds:
                self._skip(kind, depth + 1, element=True)


__all__ = ["rows"]
