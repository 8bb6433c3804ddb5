"""How the bytes of an export look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

Format = Literal["csv", "ndjson", "parquet"]
FORMATS: Final[tuple[Format, ...]] = get_args(Format)
MEDIA: Final[dict[Format, str]] = {
    "csv": "text/csv; charset=utf-8",
    "ndjson": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
}
"""The content type of each format."""


@dataclass(frozen=True, slots=True)
class Form:
    """One way to write events.

    `columns` are names of the format's columns, in this order; empty for all of them.

    `zone` is the IANA name that local timestamps of CSV are in. Of CSV alone: `raw` leaves cells that a spreadsheet would
    run as they are, `names` heads columns with field names, `bom` puts a byte-order mark first. `late_after_s`: from which
    delay on NDJSON and Parquet call an event late.
    """

    format: Format = "csv"
    columns: tuple[str, ...] = ()
    zone: str = "UTC"
    raw: bool = False
    names: bool = False
    ascending: bool = False
    bom: bool = False
    late_after_s: float = 60.0


__all__ = ["FORMATS", "MEDIA", "Form", "Format"]
