"""Counts the rows of an export while its bytes pass."""

from __future__ import annotations


class RowCount:
    """Rows of the CSV that ClickHouse makes: every text quoted, quotes in it doubled, the event's id last.

    So `"` CR LF ends a row, unless the quote is the second of a doubled one, or opens a cell that begins with a line
    break. Three searches through the bytes cost a hundredth of what parsing them would.
    """

    def __init__(self) -> None:
        self.rows = 0
        self.bytes = 0
        self._tail = b""

    def add(self, chunk: bytes) -> None:
        """The next bytes, cut anywhere."""
        self.bytes += len(chunk)
        text = self._tail + chunk
        self.rows += text.count(b'"\r\n') - self._tail.count(b'"\r\n')
        self.rows -= text.count(b'""\r\n') + text.count(b',"\r\n')
        self._tail = text[-3:]


__all__ = ["RowCount"]
