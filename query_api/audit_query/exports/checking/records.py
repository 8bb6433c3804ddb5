"""What the content of a part is made of: how many rows, and which are the first and the last. Memory is flat."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from typing import Any

from audit_query.exports.checking.manifest import Order, order, strict_json
from audit_query.exports.tally import CsvRows, LineRows

LONGEST = 1024 * 1024
"""No row is longer: an event has at most 64 KiB, and its text grows at most sixfold when it is escaped."""
_BOM = b"\xef\xbb\xbf"
_OCCURRED = ("timestamp_utc", "Timestamp (UTC)")
_IDENTITY = ("event_id", "Event ID")


class Malformed(ValueError):
    """The content is not of its format."""


class Records:
    """Counts the records of a text piece by piece. A line end within quotes, as CSV has them, ends no record."""

    def __init__(self, *, quotes: bool) -> None:
        self._quotes = quotes
        self._lines = CsvRows() if quotes else LineRows()
        self._head, self._tail = b"", b""

    def feed(self, piece: bytes) -> None:
        """Takes the next piece, of any size above nothing."""
        self._lines.add(piece)
        if len(self._head) < LONGEST:
            self._head += piece[: LONGEST - len(self._head)]
        self._tail = (self._tail + piece)[-LONGEST:]

    @property
    def count(self) -> int:
        """How many records have ended."""
        return self._lines.lines

    def require_end(self, line_end: bytes) -> None:
        """Raises `Malformed` when the text does not end where a record ends."""
        if self._lines.inside or (self._tail and not self._tail.endswith(line_end)):
            raise Malformed("its content ends in the middle of a row")

    def first(self, number: int) -> list[bytes]:
        """The first records, as many as there are and at most `number`. Raises `Malformed` when one is too long."""
        found: list[bytes] = []
        start = at = quotes = 0
        while len(found) < min(number, self.count):
            before, at = at, self._head.find(b"\n", at) + 1
            if not at:
                raise Malformed(f"a row is longer than {LONGEST} bytes")
            quotes += self._head.count(b'"', before, at)
            if not (self._quotes and quotes % 2):
                found.append(self._head[start:at])
                start = at
        return found

    def last(self) -> bytes:
        """The last record of a text that ends with one. Raises `Malformed` when it is too long."""
        at = end = len(self._tail)
        quotes = 0
        while True:
            before = self._tail.rfind(b"\n", 0, at - 1) + 1
            quotes += self._tail.count(b'"', before, at)
            if not before and self.count > 1 and len(self._tail) == LONGEST:
                raise Malformed(f"a row is longer than {LONGEST} bytes")
            if not before or not (self._quotes and quotes % 2):
                return self._tail[before:end]
            at = before


Place = Callable[[bytes], Order | None]
"""Reads a record's place in the order, None when it does not tell it. Raises `Malformed`."""


def csv_names(header: bytes) -> list[str]:
    """The cells of a header. Raises `Malformed`."""
    return _cells(header.removeprefix(_BOM))


def csv_place(names: Sequence[str]) -> Place | None:
    """How the rows under these names tell their place; None when they have not the columns for it."""
    at = [next((names.index(name) for name in found if name in names), None) for found in (_OCCURRED, _IDENTITY)]
    occurred, identity = at
    if occurred is None or identity is None:
        return None

    def place(record: bytes) -> Order:
        cells = _cells(record)
        if len(cells) != len(names):
            raise Malformed(f"a row has {len(cells)} cells, the header {len(names)}")
        return _order(cells[occurred], cells[identity])

    return place


def json_place(record: bytes) -> Order | None:
    """The place of a row of NDJSON; None when it has not the fields for it. Raises `Malformed`."""
    try:
        row: Any = strict_json(record.decode())
    except (ValueError, RecursionError):
        raise Malformed("a row is not JSON") from None
    if not isinstance(row, dict):
        raise Malformed("a row is not a JSON object")
    if "occurred_at" not in row or "event_id" not in row:
        return None
    return _order(str(row["occurred_at"]), str(row["event_id"]))


def _cells(record: bytes) -> list[str]:
    try:
        return next(csv.reader([record.decode().removesuffix("\r\n")], strict=True), [])
    except (ValueError, csv.Error):
        raise Malformed("a row is not CSV") from None


def _order(occurred_at: str, event_id: str) -> Order:
    try:
        return order(occurred_at, event_id)
    except ValueError:
        raise Malformed("a row has no instant or no event id where it should") from None


__all__ = ["LONGEST", "Malformed", "Records", "csv_names", "csv_place", "json_place"]
