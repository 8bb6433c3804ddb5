"""What is counted of an export while its bytes pass."""

from __future__ import annotations

import csv
import hashlib
import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_query.exports import parquet_footer
from audit_query.exports.form import Form, Format
from audit_query.exports.parquet_footer import FooterRows
from audit_query.exports.rows import head
from audit_query.exports.tally import Tally

cells = st.text(st.sampled_from('",\r\nax'), max_size=12)


def counted(format_: Format, content: bytes, size: int) -> Tally:
    """The content in pieces of this size."""
    tally = Tally(format_)
    for start in range(0, len(content), size):
        tally.add(content[start : start + size])
    return tally


@given(st.lists(st.tuples(cells, cells), max_size=8), st.integers(1, 9))
def test_rows_are_counted_however_the_bytes_are_cut(rows: list[tuple[str, str]], size: int) -> None:
    """Of CSV: cells that hold quotes, commas and line breaks, empty ones and such at either end, are no rows."""
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows(rows)
    content = head(Form()) + text.getvalue().encode()
    tally = counted("csv", content, size)
    assert (tally.rows, tally.bytes, tally.sha256) == (len(rows), len(content), hashlib.sha256(content).hexdigest())


def test_nothing_has_no_rows() -> None:
    """Before the first byte; a Parquet file of which the end is missing does not say how many it would have had."""
    assert [Tally(one).rows for one in ("csv", "ndjson", "parquet")] == [0, 0, None]
    assert counted("ndjson", b'{"a":"\\n"}\n{}\n', 3).rows == 2


@pytest.mark.parametrize("columns", [1, 40])
@pytest.mark.parametrize("rows", [0, 1, 70_000])
def test_a_parquet_file_says_its_rows_itself(rows: int, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of any number of columns, types and row groups; cut anywhere, and no more kept of it than its end."""
    table = pa.table({f"c{number}": pa.array(range(rows), pa.int64()) for number in range(columns)})
    nested = pa.array([[{"a": "x", "b": None}]] * rows, pa.list_(pa.struct([("a", pa.string()), ("b", pa.float64())])))
    sink = io.BytesIO()
    pq.write_table(table.append_column("n", nested), sink, row_group_size=7_000)
    content = sink.getvalue()
    assert counted("parquet", content, 4_099).rows == rows
    assert counted("parquet", content[:-1], 4_099).rows is None
    footer = int.from_bytes(content[-8:-4], "little")
    monkeypatch.setattr(parquet_footer, "MOST_BYTES", footer + 8)
    assert counted("parquet", content, 97).rows == rows
    monkeypatch.setattr(parquet_footer, "MOST_BYTES", footer // 2)
    found = FooterRows()
    for start in range(0, len(content), 97):
        found.add(content[start : start + 97])
    assert found.rows is None
