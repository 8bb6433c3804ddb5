"""Streamed exports: what is told of them, and what becomes of them when somebody goes, waits or fails."""

from __future__ import annotations

import gzip
import hashlib
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx
import pytest
from backports import zstd

from audit_query.exports.form import MEDIA
from audit_schemas.errors import Transient
from tests.builders import NOON, event
from tests.support.query_service import QueryService
from tests.support.rows import Tables
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from audit_query.exports.recording import Ended, Stream
    from tests.support.servers import ClickHouseServer

MANY = 300_000
SMALL_BUFFER = (socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)


@dataclass
class Told:
    """Keeps in memory what it is told, unless it is `full`."""

    begins: list[Stream] = field(default_factory=list)
    ends: list[tuple[Stream, Ended]] = field(default_factory=list)
    full: bool = False

    async def begun(self, stream: Stream) -> None:
        if self.full:
            raise Transient("no room")
        self.begins.append(stream)

    async def ended(self, stream: Stream, ended: Ended) -> None:
        if self.full:
            raise Transient("no room")
        self.ends.append((stream, ended))


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def exports(clickhouse: ClickHouseServer, database: str, tmp_path: Path, told: Told) -> Iterator[QueryService]:
    """A query service over empty tables that tells `told` of its exports."""
    tables = Tables(clickhouse.url, database)
    tables.migrate()
    tables.close()
    service = QueryService(clickhouse.url, database, tmp_path, recorder=told)
    service.workspace()
    yield service
    service.close()


@pytest.mark.parametrize("format_", ["csv", "ndjson", "parquet"])
def test_what_was_sent_is_told(exports: QueryService, told: Told, format_: str) -> None:
    """Id, question, rows, bytes and their hash before packing; the log's own events carry the same id."""
    exports.tables.put(*(event(metadata={"note": '"\r\n'}) for _ in range(50)), event(event_type="file.moved"))
    client = exports.client()
    address = (
        f"/v1/export?format={format_}&event=file.downloaded&since=2026-03-01&tz=Europe/Berlin&columns=event_id,metadata"
    )
    plain = client.get(address, headers={"Accept-Encoding": "identity"})
    for coding, unpack in (("gzip", gzip.decompress), ("zstd", zstd.decompress)):
        with client.stream("GET", address, headers={"Accept-Encoding": coding}) as answer:
            packed = b"".join(answer.iter_raw())
        assert answer.headers.get("content-encoding") == (None if format_ == "parquet" else coding)
        assert (packed if format_ == "parquet" else unpack(packed)) == plain.content
    eventually(lambda: len(told.ends) == 3, 10, "the ends are told")
    stream, ended = told.ends[0]
    assert plain.headers["x-export-id"] == stream.export_id == told.begins[0].export_id
    assert (ended.rows, ended.bytes, ended.outcome) == (50, len(plain.content), "done")
    assert {one.sha256 for _, one in told.ends} == {hashlib.sha256(plain.content).hexdigest()}
    assert stream.params == [("event", "file.downloaded"), ("since", "2026-03-01"), ("tz", "Europe/Berlin")]
    assert stream.file in plain.headers["content-disposition"]
    assert (stream.form.columns, stream.form.zone, stream.pii) == (("event_id", "metadata"), "Europe/Berlin", True)
    eventually(lambda: len(exports.broker.events) == 6, 10, "the log has them")
    ids = [one.targets[0].id for one in exports.broker.events]
    assert sorted({*ids}) == sorted({one.export_id for one, _ in told.ends})
    assert len({*ids}) == 3


def test_the_head_begins_no_export(exports: QueryService, told: Told) -> None:
    """It says what the file would be called; what would be refused is refused."""
    client = exports.client()
    for format_, media in MEDIA.items():
        answer = client.head(f"/v1/export?format={format_}")
        assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, b"", media)
        assert answer.headers["content-disposition"].endswith(f'until-{NOON:%Y-%m-%d}-UTC.{format_}"')
        assert "x-export-id" not in answer.headers
    assert client.head("/v1/export?format=xlsx").status_code == 400
    assert exports.guest().head("/v1/export").status_code == 401
    assert (told.begins, exports.broker.events) == ([], [])


def test_an_export_that_nobody_would_know_of_is_refused(exports: QueryService, told: Told, tmp_path: Path) -> None:
    """503 while its beginning can't be kept, and nothing is handed out; when only the log can't, it has ended."""
    told.full = True
    refused = exports.client().get("/v1/export")
    assert (refused.status_code, refused.json()["type"]) == (503, "urn:audit-log:problem:not-recorded")
    assert (told.begins, exports.broker.events) == ([], [])
    told.full = False
    (tmp_path / "spool").write_text("in the way")
    refused = exports.client().get("/v1/export")
    assert (refused.status_code, refused.json()["type"]) == (503, "urn:audit-log:problem:not-recorded")
    ((_, ended),) = told.ends
    assert (ended.outcome, ended.bytes) == ("aborted", 0)


def test_who_reads_slowly_is_waited_for_and_who_goes_ends_the_query(exports: QueryService, told: Told) -> None:
    """Of an unread stream the engine does not even read what is left; when the client goes, so does its query."""
    exports.tables.put(event())
    exports.tables.multiply(MANY)

    def running() -> list[int]:
        found = exports.tables.client.query(
            "SELECT read_rows FROM system.processes"
            " WHERE query LIKE concat('%LIMIT 1', ' BY%') AND current_database = {d:String}",
            parameters={"d": exports.database},
        )
        return [row[0] for row in found.result_rows]

    def stands_still() -> bool:
        before = running()
        exports.tables.client.command("SELECT sleep(0.3)")
        return before != [] and running() == before

    # The kernel would take tens of megabytes for the client.
    small = httpx.HTTPTransport(socket_options=[SMALL_BUFFER])
    client = exports.guest(headers={"X-API-Key": exports.client().headers["x-api-key"]}, transport=small)
    with client.stream("GET", "/v1/export?format=ndjson", headers={"Accept-Encoding": "identity"}) as answer:
        chunks = answer.iter_raw(1024)
        assert next(chunks).startswith(b'{"event_id":')
        assert eventually(stands_still, 30, "the query waits")
        assert running()[0] < MANY / 2
    assert eventually(lambda: told.ends != [], 10, "the end is told")
    assert eventually(lambda: running() == [], 10, "the query has ended")
    ((_, ended),) = told.ends
    assert ended.outcome == "aborted"
    assert ended.rows is not None
    assert 0 < ended.rows < MANY
