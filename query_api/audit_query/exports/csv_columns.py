"""The columns of the CSV, as ClickHouse makes them. Pure.

The columns are a contract (RFC 4180, CRLF). Cells a spreadsheet would run as a formula get an apostrophe in front, and
so do cells that begin with one, so that taking away one leading apostrophe gives back the exact value.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass

from audit_query.conditions import Condition
from audit_query.exports import texts
from audit_query.exports.form import Form
from audit_query.exports.texts import HIDDEN_NAME, IP, LABEL, hidden, json_without_secrets
from audit_schemas.catalogue import Catalogue

BOM = "\ufeff".encode()
# Blanks or byte-order marks and then = + - @ tab CR or their full-width forms; a line feed at once; an apostrophe.
_DANGEROUS = r"^[\s\x0b\p{Z}\x{FEFF}]*[=+\-@\t\r\x{FF1D}\x{FF0B}\x{FF0D}\x{FF20}]|^[\n\']"


# The first byte tells of nearly every cell that it needs no guard, at a tenth of what the expression costs: a letter, a
# digit, a bracket or brace, or no byte at all.
_SAFE_START = "(ascii({0}) BETWEEN 65 AND 126 OR ascii({0}) BETWEEN 48 AND 58 OR ascii({0}) = 0)"


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its English header, its field name, its expression, and the one for those who lack audit:pii where
    that is another. Text columns get the guard.
    """

    header: str
    name: str
    sql: str
    masked: str = ""
    text: bool = True

    def plain(self, *, pii: bool) -> str:
        """The cell's value."""
        return self.sql if pii else self.masked or self.sql

    def changed(self, *, pii: bool) -> str:
        """Whether the guard changes the cell; its value is then called `v_` and the column's name."""
        value = f"v_{self.name}"
        return (
            f"NOT {_SAFE_START.format(f'({self.plain(pii=pii)} AS {value})')} AND match({value}, {{dangerous:String}})"
        )

    def guarded(self, *, pii: bool) -> str:
        """The cell behind the guard."""
        return f"if({self.changed(pii=pii)}, concat('\\'', v_{self.name}), v_{self.name})"


_MICROSECONDS = "%Y-%m-%dT%H:%i:%S.%f"
# The offset stands in the text without its colon.
_LOCAL = (
    f"concat(substring(formatDateTime(occurred_at, '{_MICROSECONDS}%z', {{tz:String}}) AS local, 1, 29), ':',"
    " substring(local, 30))"
)
_ACTOR = "multiIf(actor_name != '', toString(actor_name), actor_email != '', toString(actor_email), toString(actor_id))"
_HIDDEN_ACTOR = f"({HIDDEN_NAME}) OR (actor_name = '' AND actor_email != '')"
_TARGETS = (
    "arrayStringConcat(arrayMap((t, i, n) -> concat(t, ':', i, if(n = '', '', concat(' (', n, ')'))),"
    " `targets.type`, `targets.id`, `targets.name`), '; ')"
)


def _json(header: str, column: str, nothing: str) -> Column:
    empty = f"{column} = '{nothing}'"
    without = json_without_secrets(column)
    return Column(header, column, f"if({empty}, '', {column})", f"if({empty}, '', {without})")


COLUMNS: tuple[Column, ...] = (
    Column("Timestamp", "timestamp", _LOCAL, text=False),
    Column("Timestamp (UTC)", "timestamp_utc", f"formatDateTime(occurred_at, '{_MICROSECONDS}Z', 'UTC')", text=False),
    Column("Actor", "actor", _ACTOR, f"if({_HIDDEN_ACTOR}, {{mask:String}}, {_ACTOR})"),
    Column("Actor type", "actor_type", "toString(actor_type)"),
    Column("Actor ID", "actor_id", "toString(actor_id)"),
    Column("Actor email", "actor_email", "toString(actor_email)", hidden("toString(actor_email)")),
    Column("Source", "source", "toString(source)"),
    Column("Event", "event", LABEL),
    Column("Event name", "event_type", "toString(event_type)"),
    Column("Category", "category", "toString(category)"),
    Column("IP address", "ip", IP, hidden(IP), text=False),
    Column("User agent", "user_agent", "toString(user_agent)", hidden("toString(user_agent)")),
    Column("Outcome", "outcome", "toString(outcome)"),
    Column("Targets", "targets", _TARGETS),
    _json("Changes", "changes", "[]"),
    _json("Metadata", "metadata", "{}"),
    Column("Event ID", "event_id", "toString(event_id)", text=False),
)
_NAMED: Mapping[str, Column] = {column.name: column for column in COLUMNS}


def chosen(form: Form) -> tuple[Column, ...]:
    """The columns of a file, in its order."""
    return tuple(_NAMED[name] for name in form.columns) or COLUMNS


def head(form: Form) -> bytes:
    """The byte-order mark, if asked for, and the header line."""
    text = io.StringIO()
    csv.writer(text).writerow([column.name if form.names else column.header for column in chosen(form)])
    return (BOM if form.bom else b"") + text.getvalue().encode()


def cells(form: Form, catalogue: Catalogue, *, pii: bool) -> Condition:
    """The expressions of a row, and the values bound in them."""
    # The output names differ from the table's columns: an alias `occurred_at` would be what ORDER BY sorts.
    found = [
        f"{one.guarded(pii=pii) if one.text and not form.raw else one.plain(pii=pii)} AS c{number}"
        for number, one in enumerate(chosen(form))
    ]
    guard = {} if form.raw else {"dangerous": _DANGEROUS}
    return Condition(", ".join(found), {"tz": form.zone, **texts.values(catalogue, pii=pii), **guard})


def guarded(form: Form, catalogue: Catalogue, *, pii: bool) -> Condition:
    """How many cells of a row the guard changes."""
    found = [f"({one.changed(pii=pii)})" for one in chosen(form) if one.text and not form.raw]
    return Condition(" + ".join(["toUInt64(0)", *found]), {"dangerous": _DANGEROUS, **texts.values(catalogue, pii=pii)})


__all__ = ["COLUMNS", "Column", "cells", "chosen", "guarded", "head"]
