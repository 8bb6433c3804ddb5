"""One number out of a struct in Thrift's compact protocol, which the footers of Parquet files are written in. Pure.

Footers may come from anywhere: nothing in one makes reading it take long or deep.
"""

from __future__ import annotations

from typing import Final

_STOP, _TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(13)
_DEEPEST: Final = 16


class Compact:
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


__all__ = ["Compact"]
