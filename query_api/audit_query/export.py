"""The CSV: its columns, and the query by which ClickHouse makes its bytes. Pure.

The columns are a contract (RFC 4180, CRLF). Cells a spreadsheet would run as a formula get an apostrophe in front, and
so do cells that begin with one, so that taking away one leading apostrophe gives back the exact value.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from audit_query.filters import Filter
from audit_query.rows import MASK
from audit_query.sql import FIRST_COPY, Query, where_first
from audit_schemas.catalogue import Catalogue

BOM = "\ufeff".encode()
# Blanks or byte-order marks and then = + - @ tab CR or their full-width forms; a line feed at once; an apostrophe.
_DANGEROUS = r"^[\s\x0b\p{Z}\x{FEFF}]*[=+\-@\t\r\x{FF1D}\x{FF0B}\x{FF0D}\x{FF20}]|^[\n\']"


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its English header, its field name, and its expression. Text columns get the guard."""

    header: str
    name: str
    sql: str
    text: bool = True
    personal: bool = False


_LOCAL = (
    "concat(formatDateTime(occurred_at, '%Y-%m-%dT%H:%i:%S.%f', {tz:String}),"
    " replaceRegexpOne(formatDateTime(occurred_at, '%z', {tz:String}), '(\\\\d\\\\d)$', ':\\\\1'))"
)
_TARGETS = (
    "arrayStringConcat(arrayMap((t, i, n) -> concat(t, ':', i, if(n = '', '', concat(' (', n, ')'))),"
    " `targets.type`, `targets.id`, `targets.name`), '; ')"
)
COLUMNS: tuple[Column, ...] = (
    Column("Timestamp", "timestamp", _LOCAL, text=False),
    Column(
        "Timestamp (UTC)",
        "timestamp_utc",
        "concat(formatDateTime(occurred_at, '%Y-%m-%dT%H:%i:%S.%f', 'UTC'), 'Z')",
        text=False,
    ),
    Column(
        "Actor",
        "actor",
        "multiIf(actor_name != '', toString(actor_name), actor_email != '', toString(actor_email), toString(actor_id))",
    ),
    Column("Actor type", "actor_type", "toString(actor_type)"),
    Column("Actor ID", "actor_id", "toString(actor_id)"),
    Column("Actor email", "actor_email", "toString(actor_email)", personal=True),
    Column("Source", "source", "toString(source)"),
    Column(
        "Event",
        "event",
        "transform(toString(event_type), {names:Array(String)}, {labels:Array(String)},"
        " if(label != '', toString(label), toString(event_type)))",
    ),
    Column("Event name", "event_type", "toString(event_type)"),
    Column("Category", "category", "toString(category)"),
    Column(
        "IP address",
        "ip",
        "if(ip = toIPv6('::'), '', replaceRegexpOne(IPv6NumToString(ip), '^::ffff:([0-9.]+)$', '\\\\1'))",
        personal=True,
    ),
    Column("User agent", "user_agent", "toString(user_agent)", personal=True),
    Column("Outcome", "outcome", "toString(outcome)"),
    Column("Targets", "targets", _TARGETS),
    Column("Changes", "changes", "if(changes = '[]', '', changes)"),
    Column("Metadata", "metadata", "if(metadata = '{}', '', metadata)"),
    Column("Event ID", "event_id", "toString(event_id)", text=False),
)


@dataclass(frozen=True, slots=True)
class Form:
    """How the CSV is to look."""

    zone: str = "UTC"
    raw: bool = False
    names: bool = False
    ascending: bool = False
    bom: bool = False


def head(form: Form) -> bytes:
    """The byte-order mark, if asked for, and the header line."""
    text = io.StringIO()
    csv.writer(text).writerow([column.name if form.names else column.header for column in COLUMNS])
    return (BOM if form.bom else b"") + text.getvalue().encode()


def query(workspace_id: str, filter_: Filter, catalogue: Catalogue, form: Form, *, pii: bool) -> Query:
    """The rows as CSV, each event once: of copies the first, as on the page."""
    base = where_first(workspace_id, filter_)
    order = "ASC" if form.ascending else "DESC"
    # The output names differ from the table's columns: an alias `occurred_at` would be what ORDER BY sorts.
    cells = [f"{_cell(column, raw=form.raw, pii=pii)} AS c{number}" for number, column in enumerate(COLUMNS)]
    values = {"tz": form.zone, "names": [one.name for one in catalogue], "labels": [one.label for one in catalogue]}
    values |= {} if pii else {"mask": MASK}
    values |= {} if form.raw else {"dangerous": _DANGEROUS}
    in_order = ", optimize_aggregation_in_order = 1" if filter_.values else ""
    return Query(
        f"SELECT {', '.join(cells)} FROM audit_events WHERE {base.sql}"
        f" ORDER BY occurred_at {order}, event_id {order}, {FIRST_COPY} LIMIT 1 BY occurred_at, event_id"
        f" SETTINGS output_format_csv_crlf_end_of_line = 1, max_threads = 1{in_order} FORMAT CSV",
        {**base.values, **values},
    )


def _cell(column: Column, *, raw: bool, pii: bool) -> str:
    sql = column.sql
    if not pii:
        if column.personal:
            sql = f"if({sql} = '', '', {{mask:String}})"
        elif column.name == "actor":
            hidden = "actor_type = 'anonymous' OR (actor_name = '' AND actor_email != '')"
            sql = f"if({hidden}, {{mask:String}}, {sql})"
        elif column.name in ("changes", "metadata"):
            secrets = "[toString(actor_email), toString(user_agent), replaceOne(IPv6NumToString(ip), '::ffff:', '')]"
            sql = (
                f"if(multiSearchAny({sql}, arrayFilter(x -> x != '' AND x != '::', {secrets})), {{mask:String}}, {sql})"
            )
    if raw or not column.text:
        return sql
    return f"if(match({sql} AS v_{column.name}, {{dangerous:String}}), concat('\\'', v_{column.name}), v_{column.name})"


def headers(workspace_id: str, day: str) -> Sequence[tuple[str, str]]:
    """The HTTP headers of the download."""
    safe = "".join(character if character.isalnum() or character in "-_." else "-" for character in workspace_id)
    return (
        ("content-type", "text/csv; charset=utf-8"),
        ("content-disposition", f'attachment; filename="audit-log-{safe}-{day}.csv"'),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
    )


__all__ = ["COLUMNS", "Column", "Form", "head", "headers", "query"]
