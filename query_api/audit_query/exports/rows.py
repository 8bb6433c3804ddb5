"""The queries by which ClickHouse makes the bytes of an export, and says what is in them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from audit_query.exports import csv_columns, json_lines, parquet_columns
from audit_query.exports.form import Form, Format
from audit_query.exports.part import Key, Position, Positions, Slice
from audit_query.filters import Filter
from audit_query.sql import FIRST_COPY, POSITION, Query, where_first
from audit_schemas.catalogue import Catalogue

COLUMN_NAMES: Final[Mapping[Format, tuple[str, ...]]] = {
    "csv": tuple(column.name for column in csv_columns.COLUMNS),
    "ndjson": json_lines.COLUMNS,
    "parquet": parquet_columns.COLUMNS,
}
"""What `Form.columns` may name."""
_EVERYTHING: Final = Slice()
_CELLS: Final = {"csv": csv_columns.cells, "ndjson": json_lines.line, "parquet": parquet_columns.cells}
_FORMATS: Final[Mapping[Format, tuple[str, Sequence[str]]]] = {
    "csv": ("CSV", ("output_format_csv_crlf_end_of_line = 1",)),
    # Each row is one text, which is a line as it stands.
    "ndjson": ("TSVRaw", ("output_format_json_escape_forward_slashes = 0",)),
    "parquet": (
        "Parquet",
        (
            "output_format_parquet_row_group_size = 32768",
            # zstd makes files a third smaller in half as much time again.
            "output_format_parquet_compression_method = 'snappy'",
            "output_format_parquet_write_bloom_filter = 0",
            "output_format_parquet_string_as_string = 1",
            "output_format_parquet_parallel_encoding = 0",
        ),
    ),
}
_IN_ORDER: Final = "optimize_aggregation_in_order = 1"
_SETTINGS: Final = [
    "max_threads = 1",
    "output_format_parallel_formatting = 0",
    # Else a part of every month is read before the first row goes out.
    "read_in_order_use_buffering = 0",
]


def query(
    workspace_id: str, filter_: Filter, catalogue: Catalogue, form: Form, *, pii: bool, part: Slice = _EVERYTHING
) -> Query:
    """The bytes of a part behind its `head`: each event once, of its copies in the slice the first, as on the page.

    One thread of the engine, in memory that does not grow with the rows.
    """
    base = where_first(workspace_id, filter_, part.condition())
    order = "ASC" if form.ascending else "DESC"
    cells = _CELLS[form.format](form, catalogue, pii=pii)
    settings = _SETTINGS + ([_IN_ORDER] if filter_.values else [])
    sql = (
        f"SELECT {cells.sql} FROM audit_events WHERE {base.sql}"
        f" ORDER BY occurred_at {order}, event_id {order}, {FIRST_COPY} LIMIT 1 BY occurred_at, event_id"
    )
    if form.format == "parquet":
        # Columns called like those of the table: within, they would be what is sorted by.
        names = ", ".join(f"c_{name} AS {name}" for name in parquet_columns.chosen(form))
        sql = f"SELECT {names} FROM ({sql})"
    formatted, further = _FORMATS[form.format]
    return Query(
        f"{sql} SETTINGS {', '.join((*settings, *further))} FORMAT {formatted}", {**base.values, **cells.values}
    )


def head(form: Form) -> bytes:
    """What stands before the rows: the header of CSV."""
    return csv_columns.head(form) if form.format == "csv" else b""


@dataclass(frozen=True, slots=True)
class Summary:
    """What is in a part: its rows, further copies of them that were left out, cells that the guard changed, and the keys
    of its first and last row, None when there are no rows.
    """

    rows: int
    collapsed: int
    guarded: int
    first: Key | None
    last: Key | None

    @classmethod
    def of(cls, row: Sequence[Any], form: Form) -> Self:
        """From the one row of `summary`."""
        rows, collapsed, guarded, *ends = row
        if not rows:
            return cls(0, 0, 0, None, None)
        oldest, newest = Key(ends[0], ends[1]), Key(ends[2], ends[3])
        first, last = (oldest, newest) if form.ascending else (newest, oldest)
        return cls(rows, collapsed, guarded, first, last)


def summary(
    workspace_id: str, filter_: Filter, catalogue: Catalogue, form: Form, *, pii: bool, part: Slice = _EVERYTHING
) -> Query:
    """What `query` gives for the same arguments, counted: the columns that `Summary.of` takes."""
    base = where_first(workspace_id, filter_, part.condition())
    guard = csv_columns.guarded(form, catalogue, pii=pii)
    each = (
        f"SELECT occurred_at AS at, event_id AS id, {guard.sql} AS changed FROM audit_events WHERE {base.sql}"
        f" ORDER BY occurred_at DESC, event_id DESC, {FIRST_COPY} LIMIT 1 BY occurred_at, event_id"
    )
    # The same Kafka record may lie there twice until parts are merged; that is no copy.
    copies = (
        f"SELECT count() FROM (SELECT 1 FROM audit_events WHERE {base.sql}"
        f" GROUP BY occurred_at, event_id, {', '.join(POSITION)})"
    )
    ends = ", ".join(
        f"toUnixTimestamp64Micro({end}(at)), toString({arg}(id, (at, id)))"
        for end, arg in (("min", "argMin"), ("max", "argMax"))
    )
    settings = ", ".join((*_SETTINGS, _IN_ORDER))
    return Query(
        f"SELECT count(), ({copies}) - count(), sum(changed), {ends} FROM ({each}) SETTINGS {settings}",
        {**base.values, **guard.values},
    )


__all__ = ["COLUMN_NAMES", "Key", "Position", "Positions", "Slice", "Summary", "head", "query", "summary"]
