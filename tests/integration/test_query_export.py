"""The CSV: its contract, its safety in spreadsheets, and what happens when the stream breaks."""

from __future__ import annotations

import csv
import io
import shutil
import subprocess
from datetime import timedelta
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import duckdb
import httpx
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings

from audit_infra.access import Scope
from tests.builders import NOON, event, text
from tests.conftest import run_statement
from tests.support.query_service import QueryService
from tests.support.rows import Tables
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartClickHouse

HEADERS = (
    *("Timestamp", "Timestamp (UTC)", "Actor", "Actor type", "Actor ID", "Actor email", "Source", "Event"),
    *("Event name", "Category", "IP address", "User agent", "Outcome", "Targets", "Changes", "Metadata", "Event ID"),
)
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")


def table(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


def test_the_csv_is_the_contract(query: QueryService) -> None:
    """Fixed headers, CRLF, newest first, local time with offset, one row per event, a telling file name."""
    old = event(occurred_at=NOON - timedelta(days=30), ip="2001:db8::1", outcome="failure")
    new = event(event_type="custom.thing", label="Thing", category="developer", changes=[])
    query.tables.put(old, new, new)
    answer = query.client().get("/v1/export?format=csv&tz=Europe/Berlin")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert (
        answer.headers["content-disposition"]
        == 'attachment; filename="audit-log-w1-until-2026-03-14-Europe-Berlin.csv"'
    )
    assert answer.content.startswith(",".join(HEADERS).encode() + b"\r\n")
    assert answer.content.count(b"\r\n") == answer.content.count(b"\n") == 3
    first, second = table(answer.content)
    assert first == dict(
        zip(
            HEADERS,
            [
                *("2026-03-14T13:00:00.000000+01:00", "2026-03-14T12:00:00.000000Z", "Ada Lovelace", "internal_user"),
                *("u1", "ada@example.com", "web", "Thing", "custom.thing", "developer", "203.0.113.7", "Mozilla/5.0"),
                *("success", "file:f1 (plan.pdf)", "", '{"size":5}', new.event_id),
            ],
            strict=True,
        )
    )
    assert (second["Event"], second["IP address"], second["Outcome"]) == ("File Downloaded", "2001:db8::1", "failure")


def test_options_change_only_what_they_name(query: QueryService) -> None:
    """Order, header names, byte-order mark; anything else is refused."""
    query.tables.put(event(), event(occurred_at=NOON - timedelta(seconds=1)))
    client = query.client()
    usual = client.get("/v1/export?format=csv").content
    turned = client.get("/v1/export?format=csv&order=asc").content
    assert usual.splitlines()[1:] == turned.splitlines()[1:][::-1]
    assert client.get("/v1/export?bom=1").content == b"\xef\xbb\xbf" + usual
    named = client.get("/v1/export?header=names").content
    assert named.startswith(b"timestamp,timestamp_utc,actor,")
    assert named.splitlines()[1:] == usual.splitlines()[1:]
    assert query.browser().get("/audit-log/export").content.startswith(b"\xef\xbb\xbfTimestamp,")
    for wrong in ("format=xlsx", "order=up", "limit=5", "cursor=x", "raw=yes"):
        assert client.get(f"/v1/export?{wrong}").status_code == 400, wrong


def test_an_export_of_nothing_is_the_header(query: QueryService) -> None:
    """No matching event is no error."""
    answer = query.client().get("/v1/export?user=nobody")
    assert answer.content == ",".join(HEADERS).encode() + b"\r\n"


@settings(
    max_examples=30,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(name=text(40), note=text(40))
@example(name="=1+1", note="@SUM(A1)")
@example(name="'=1", note="'")
@example(name="\u3000＝1", note="\ufeff=1")
@example(name=" \t-1", note="\r\n=1")
@example(name='a"b,c\r\nd', note="\x01\x0b=1")
@example(name="\u2003+1", note="\xa0-1")
@example(name="=" * 2000, note='"\n' * 1000)
@example(name="\u202e=cmd|' /C calc'!A0", note="\u0645\u0631\u062d\u0628\u0627 \u200f-")
@example(name="\0=1", note="a\0b")
def test_any_text_survives_the_csv_and_is_no_formula(query: QueryService, name: str, note: str) -> None:
    """In every column of text, whoever wrote it: Python's csv reads back the exact values, less one leading apostrophe;
    no cell begins like a formula.
    """
    sent = event()
    query.tables.put(sent)
    value = {column: (name, note)[number % 2] for number, column in enumerate(WRITTEN)}
    replaced = ", ".join(f"{{{('name', 'note')[number % 2]}:String}} AS {one}" for number, one in enumerate(WRITTEN))
    client = query.client()
    try:
        query.tables.client.command(
            f"INSERT INTO audit_events SELECT * REPLACE (toUUID('{OTHER}') AS event_id, {replaced},"
            " [{name:String}] AS `targets.type`, [{note:String}] AS `targets.id`, [{name:String}] AS `targets.name`)"
            " FROM audit_events",
            parameters={"name": name, "note": note},
        )
        guarded, raw = (
            next(row for row in table(client.get(f"/v1/export?raw={flag}").content) if row["Event ID"] == OTHER)
            for flag in (0, 1)
        )
    finally:
        query.tables.client.command("TRUNCATE TABLE audit_events")
    wanted = {
        "Actor": value["actor_name"] or value["actor_email"] or value["actor_id"],
        "Event": value["label"] or value["event_type"],
        "Targets": f"{name}:{note}" + (f" ({name})" if name else ""),
        **{header: value[column] for header, column in OWN.items()},
    }
    assert set(wanted) == set(HEADERS) - {"Timestamp", "Timestamp (UTC)", "IP address", "Event ID"}
    assert {column: raw[column] for column in wanted} == wanted
    for column, exact in wanted.items():
        assert guarded[column] in (exact, f"'{exact}")
        assert not exact.startswith("'") or guarded[column] == f"'{exact}"
        assert not guarded[column].lstrip().lstrip("\ufeff").startswith(FORMULA_STARTS)


OTHER = "00000000-0000-0000-0000-00000000000a"
OWN = {
    "Actor type": "actor_type",
    "Actor ID": "actor_id",
    "Actor email": "actor_email",
    "Source": "source",
    "Event name": "event_type",
    "Category": "category",
    "User agent": "user_agent",
    "Outcome": "outcome",
    "Changes": "changes",
    "Metadata": "metadata",
}
WRITTEN = (*OWN.values(), "actor_name", "label")


def test_programs_read_what_was_written(query: QueryService, tmp_path: Path) -> None:
    """Pandas and DuckDB, as Python's csv does: every value of every row, with quotes, commas and line breaks in them."""
    texts = ('a"b', "a,b", "a\r\nb\n", "\n", " lead", "NA", "007", "\u202e\u05d0\u05d1", "é😀", "x" * 250)
    for number, one in enumerate(texts):
        actor = {"type": "client", "id": f"c{number}", "name": one}
        query.tables.put(event(actor=actor, user_agent=one, occurred_at=NOON - timedelta(seconds=number)))
    content = query.client().get("/v1/export?raw=1").content
    wanted = table(content)
    assert [row["Actor"] for row in wanted] == list(texts)
    (tmp_path / "log.csv").write_bytes(content)
    read = pd.read_csv(tmp_path / "log.csv", dtype=str, keep_default_na=False)
    assert read.to_dict("records") == wanted
    with duckdb.connect() as connection:
        found = connection.sql(
            f"SELECT * FROM read_csv('{tmp_path}/log.csv', header = true, all_varchar = true, nullstr = 'no such text')"
        )
        assert found.columns == list(HEADERS)
        assert [dict(zip(HEADERS, row, strict=True)) for row in found.fetchall()] == wanted


def test_a_spreadsheet_opens_it_without_running_anything(query: QueryService, tmp_path: Path) -> None:
    """LibreOffice takes no cell for a formula, and shows every text; the raw file has cells that it runs."""
    office = shutil.which("soffice")
    if office is None:
        pytest.skip("LibreOffice is not installed (Debian: libreoffice-calc-nogui)")
    texts = ("=1+1", "+1+1", "-1+1", "@SUM(1)", "=HYPERLINK(A1)", "\t=1+1", "\u0645\u0631", "two\nlines", 'a"b,c')
    for number, one in enumerate(texts):
        query.tables.put(event(user_agent=one, occurred_at=NOON - timedelta(seconds=number)))
    client = query.client()
    for name, options in (("guarded", "bom=1"), ("raw", "raw=1")):
        (tmp_path / f"{name}.csv").write_bytes(client.get(f"/v1/export?{options}").content)
    subprocess.run(
        [
            *(office, f"-env:UserInstallation=file://{tmp_path}/office", "--headless", "--infilter=CSV:44,34,76,1"),
            *("--convert-to", "fods", "--outdir", str(tmp_path)),
            *(str(tmp_path / f"{name}.csv") for name in ("guarded", "raw")),
        ],
        check=True,
        capture_output=True,
        timeout=100,
    )
    space = "{urn:oasis:names:tc:opendocument:xmlns:%s:1.0}"
    cells, formulas = {}, {}
    for name in ("guarded", "raw"):
        found = list(ET.parse(tmp_path / f"{name}.fods").iter(f"{space % 'table'}table-cell"))
        formulas[name] = [cell for cell in found if f"{space % 'table'}formula" in cell.attrib]
        cells[name] = {"\n".join("".join(p.itertext()) for p in cell.iter(f"{space % 'text'}p")) for cell in found}
    assert formulas["guarded"] == []
    assert len(formulas["raw"]) >= 1
    assert {*HEADERS, "two\nlines", 'a"b,c', "\u0645\u0631"} <= cells["guarded"]
    for one in texts[:5]:
        assert {one, f"'{one}"} & cells["guarded"], one


def test_masked_cells_say_that_something_is_there(query: QueryService) -> None:
    """Without audit:pii the cells of personal data hold a mask where there is a value, and nothing where not."""
    query.tables.put(event(), event(ip="", user_agent="", occurred_at=NOON - timedelta(seconds=1)))
    rows = table(query.client(scopes=[Scope.READ, Scope.EXPORT]).get("/v1/export").content)
    assert [(row["IP address"], row["User agent"]) for row in rows] == [("•••", "•••"), ("", "")]
    assert rows[0]["Actor email"] == "•••"


def test_the_same_filters_select_the_same_events_in_page_and_export(query: QueryService) -> None:
    """Table and export agree for every filter."""
    for number in range(12):
        query.tables.put(
            event(
                event_type=("file.uploaded", "file.deleted")[number % 2],
                actor={"type": "client", "id": f"c{number % 3}"},
                occurred_at=NOON - timedelta(minutes=number),
            )
        )
    client = query.client()
    for chosen in ("user=client:c1", "event=file.deleted&user=c2", "since=5m", "category=files", "category=crm"):
        listed = [row["event_id"] for row in client.get(f"/v1/events?{chosen}").json()["data"]]
        assert [row["Event ID"] for row in table(client.get(f"/v1/export?{chosen}").content)] == listed


def test_a_broken_stream_is_no_complete_file(start_clickhouse: StartClickHouse, tmp_path: Path) -> None:
    """When the engine dies in the middle the connection ends without a final chunk, and the service lives on."""
    server = start_clickhouse()
    run_statement(server.url, "CREATE DATABASE broken")
    tables = Tables(server.url, "broken")
    tables.migrate()
    tables.put(event())
    tables.multiply(400_000)
    tables.close()
    query = QueryService(server.url, "broken", tmp_path)
    try:
        query.workspace()
        client = query.client()
        for format_, coding in (("csv", "identity"), ("ndjson", "zstd"), ("parquet", "identity")):
            packed = {"Accept-Encoding": coding}
            with (
                pytest.raises(httpx.RemoteProtocolError),
                client.stream("GET", f"/v1/export?format={format_}", headers=packed) as answer,
            ):
                assert answer.status_code == 200
                assert answer.headers.get("content-encoding", "identity") == coding
                for number, chunk in enumerate(answer.iter_raw()):
                    assert b"Exception" not in chunk
                    if number == 0:
                        server.kill()
            refused = client.get("/v1/events")
            assert refused.status_code == 503
            assert refused.headers["retry-after"] == "5"
            assert "Traceback" not in refused.text
            assert query.browser().get("/audit-log").status_code == 503
            assert client.get("/healthz").status_code == 200
            assert client.get("/readyz").status_code == 503
            server.start()
            assert eventually(lambda: client.get("/v1/events").status_code == 200, 20, "it reads again")
    finally:
        query.close()
