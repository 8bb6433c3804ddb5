"""What exported files are called."""

from __future__ import annotations

import pytest

from audit_query.exports.file_names import file_name, headers
from audit_query.exports.form import Form, Format
from audit_query.filters import Params, parse
from tests.builders import NOON

BERLIN = ("tz", "Europe/Berlin")


@pytest.mark.parametrize(
    ("params", "name"),
    [
        ([("since", "2026-03-01"), ("until", "2026-03-08"), BERLIN], "2026-03-01-to-2026-03-08-Europe-Berlin"),
        ([("since", "2026-03-01T00:00:00Z"), ("until", "2026-03-08T00:00:00Z")], "2026-03-01-to-2026-03-07-UTC"),
        ([("since", "2026-02-28T23:30:00Z"), BERLIN], "2026-03-01-to-2026-03-14-Europe-Berlin"),
        ([("since", "7d")], "2026-03-07-to-2026-03-14-UTC"),
        ([("until", "2026-03-08"), BERLIN], "until-2026-03-08-Europe-Berlin"),
        ([("tz", "Pacific/Kiritimati")], "until-2026-03-15-Pacific-Kiritimati"),
        ([("since", "0001-01-01T00:00:00Z"), ("tz", "Etc/GMT+12")], "0001-01-01-to-2026-03-14-Etc-GMT-12"),
        ([("until", "9999-12-31T00:00:00Z"), ("tz", "Etc/GMT-14")], "until-9999-12-30-Etc-GMT-14"),
    ],
)
def test_a_name_tells_workspace_days_and_zone(params: Params, name: str) -> None:
    """First and last day in the zone, both held; until today where the range is open, from the beginning where it is."""
    filter_, _, _ = parse(params, NOON, paging=False)
    form = Form(zone=filter_.zone.key if filter_.zone else "UTC")
    assert file_name("w1", filter_, form, NOON) == f"audit-log-w1-{name}.csv"


@pytest.mark.parametrize("format_", ["csv", "ndjson", "parquet"])
def test_a_name_fits_every_file_system(format_: Format) -> None:
    """Whatever a workspace is called, the name is one of a few plain characters, quoted as RFC 6266 has it."""
    form = Form(format=format_)
    name = file_name('a:b/../"c é\r\n', parse([], NOON, paging=False)[0], form, NOON)
    assert name == f"audit-log-a-b-..--c-----until-2026-03-14-UTC.{format_}"
    assert ("content-disposition", f'attachment; filename="{name}"') in headers(name, form)
