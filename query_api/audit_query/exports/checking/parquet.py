"""How many rows a Parquet file says it has: the one number read from its footer, without a Parquet library."""

from __future__ import annotations

from typing import BinaryIO

from audit_query.exports.checking.folder import size
from audit_query.exports.checking.records import Malformed
from audit_query.exports.parquet_footer import MAGIC, rows_of

_LONGEST = 64 * 1024 * 1024
"""Bytes of a footer; one of a million rows has a few kilobytes."""


def rows(file: BinaryIO) -> int:
    """The number of rows in the footer of an open file. Raises `Malformed` when there is none to be read."""
    length = size(file)
    if length < 12:
        raise Malformed("it is too short for a Parquet file")
    file.seek(length - 8)
    end = file.read(8)
    footer = int.from_bytes(end[:4], "little")
    if end[4:] != MAGIC or not 0 < footer <= min(length - 12, _LONGEST):
        raise Malformed("it has no Parquet footer")
    file.seek(length - 8 - footer)
    try:
        return rows_of(file.read(footer))
    except (IndexError, ValueError):
        raise Malformed("its Parquet footer can't be read") from None


__all__ = ["rows"]
