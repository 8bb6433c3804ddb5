"""Export jobs from the request to the files: over HTTP, with a worker whose turns the test takes."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import re
import subprocess
from datetime import timedelta
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audit_query.exports.keys import verify
from tests.builders import NOON, event
from tests.support.exports import Turns, ask, events, files_of, make_key, put, rows_of, settings_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx

    from tests.support.query_service import QueryService


@pytest.fixture
def worker(query: QueryService) -> Iterator[Turns]:
    """A worker whose parts hold three events."""
    make_key(query)
    with Turns(query, settings_of(query, export_part_rows=3)) as found:
        yield found


def one_after_the_other(query: QueryService, client: httpx.Client) -> tuple[str, str]:
    """Two jobs; the first is the older one."""
    first = ask(client).json()["id"]
    query.clock.now += timedelta(seconds=1)
    return first, ask(client).json()["id"]


def test_a_job_holds_every_event_once_in_parts(query: QueryService, worker: Turns) -> None:
    """Ten events in parts of three: together, in the order of their numbers, they are what a stream gives."""
    put(query, events(10))
    client = query.client()
    asked = ask(client)
    assert asked.status_code == 202
    job = asked.json()
    assert asked.headers["location"] == f"/v1/exports/{job['id']}"
    assert (job["state"], job["rows_total"], job["percent"], job["parts"]) == ("queued", None, None, [])
    assert worker.once()
    job = client.get(asked.headers["location"]).json()
    assert (job["state"], job["rows_done"], job["rows_total"], job["percent"]) == ("running", 3, 10, 30.0)
    assert worker.all() == 3
    job = client.get(asked.headers["location"]).json()
    assert (job["state"], job["rows_done"], job["percent"], job["attempts"]) == ("done", 10, 100.0, 1)
    assert [part["rows"] for part in job["parts"]] == [3, 3, 3, 1]
    parts = files_of(client, job)
    streamed = client.get("/v1/export").content
    head = streamed.split(b"\r\n")[0]
    assert all(gzip.decompress(part).startswith(head + b"\r\n") for part in parts)
    assert rows_of(parts) == [line for line in streamed.split(b"\r\n")[1:] if line]


def test_parts_that_come_out_even_leave_no_empty_one(query: QueryService, worker: Turns) -> None:
    """Six events are two parts, oldest first when asked so."""
    put(query, events(6))
    client = query.client()
    job = ask(client, order="asc").json()
    assert worker.all() == 2
    job = client.get(f"/v1/exports/{job['id']}").json()
    rows = [row for part in files_of(client, job) for row in csv.reader(io.StringIO(gzip.decompress(part).decode()))]
    stamps = [row[1] for row in rows if row[1] != "Timestamp (UTC)"]
    assert len(stamps) == 6
    assert stamps == sorted(stamps)


def test_an_empty_result_is_a_whole_export(query: QueryService, worker: Turns) -> None:
    """One part with nothing but the header, and a manifest that says so."""
    put(query, events(2))
    client = query.client()
    job = ask(client, filter={"event": ["nobody.did_that"]}).json()
    assert worker.all() == 1
    job = client.get(f"/v1/exports/{job['id']}").json()
    assert (job["state"], job["rows_done"], job["rows_total"], job["percent"]) == ("done", 0, 0, 100.0)
    (part,) = files_of(client, job)
    assert gzip.decompress(part).startswith(b"Timestamp,")
    assert rows_of([part]) == []
    (told,) = client.get(f"/v1/exports/{job['id']}/manifest").json()["parts"]
    assert (told["rows"], told["first"], told["last"]) == (0, None, None)


def test_what_arrives_after_the_start_is_not_in_it(query: QueryService, worker: Turns) -> None:
    """Late events, further copies of what is there, and events of partitions that were not ledgered then."""
    found = events(5)
    put(query, found)
    client = query.client()
    job = ask(client).json()
    assert worker.once()
    put(query, [*events(5), event(occurred_at=NOON - timedelta(seconds=4, milliseconds=500))])
    query.tables.put(event(occurred_at=NOON - timedelta(seconds=4, milliseconds=400)), topic_id="made-anew")
    worker.all()
    job = client.get(f"/v1/exports/{job['id']}").json()
    assert (job["state"], job["rows_total"], job["rows_done"]) == ("done", 5, 5)
    assert client.get(f"/v1/exports/{job['id']}/manifest").json()["resends_collapsed"] == 0
    later = ask(client).json()
    worker.all()
    assert client.get(f"/v1/exports/{later['id']}").json()["rows_done"] == 6
    assert client.get(f"/v1/exports/{later['id']}/manifest").json()["resends_collapsed"] == 5


def test_the_manifest_tells_everything_and_openssl_verifies_it(
    query: QueryService, worker: Turns, tmp_path: Path
) -> None:
    """Filter, form, versions, positions, keys and hashes; signed over its exact bytes; README.txt says how to check."""
    found = events(7, label="=cmd", event_type="deal.won", category="developer", app_id="crm", metadata={})
    put(query, found)
    query.tables.client.command(
        "INSERT INTO audit_quarantine (kafka_topic, kafka_topic_id, kafka_partition, kafka_offset, kafka_timestamp,"
        " reason, workspace_id) VALUES ('audit.files', 'topic-one', 0, 0, '2026-03-14 11:59:00', 'x', 'w1'),"
        " ('audit.files', 'topic-one', 0, 1, '2026-03-14 11:59:00', 'x', 'w2'),"
        " ('audit.files', 'topic-one', 0, 2, '2026-03-10 11:59:00', 'x', 'w1')"
    )
    client = query.client()
    body: dict[str, Any] = {
        "filter": {"event": ["deal.won", "file.downloaded"], "since": ["24h"]},
        "tz": "Europe/Berlin",
    }
    job = ask(client, columns=["timestamp", "event", "event_id"], **body).json()
    worker.all()
    at = f"/v1/exports/{job['id']}"
    pack = tmp_path / "pack"
    pack.mkdir()
    reply = client.get(f"{at}/manifest")
    (pack / "manifest.json").write_bytes(reply.content)
    (pack / "manifest.json.sig").write_bytes(client.get(f"{at}/manifest.sig").content)
    (key,) = client.get("/v1/signing-keys").json()["data"]
    (pack / "key.pem").write_text(key["public_key_pem"])
    readme = client.get(f"{at}/readme").text
    (command,) = re.findall(r"openssl pkeyutl .*", readme)

    def verified() -> bool:
        ended = subprocess.run(command, shell=True, cwd=pack, capture_output=True, check=False)
        return ended.returncode == 0 and b"Signature Verified Successfully" in ended.stdout

    assert verified()
    for damage in (b"\n", b" "):
        (pack / "manifest.json").write_bytes(reply.content + damage)
        assert not verified()
    told = reply.json()
    assert reply.content == (json.dumps(told, ensure_ascii=False, indent=2) + "\n").encode()
    assert (told["format_version"], told["export_id"], told["workspace_id"]) == (1, job["id"], "w1")
    assert told["requester"]["type"] == "api_key"
    assert client.headers["x-api-key"].startswith(told["requester"]["credential_prefix"])
    assert (told["plan"], told["outcome"]) == ("enterprise", "done")
    assert told["filter"]["sent"] == body["filter"]
    assert told["filter"]["canonical"] == {
        "event": ["deal.won", "file.downloaded"],
        "since": ["2026-03-13T12:00:00.000000Z"],
    }
    words = "Event is deal.won or File Downloaded; from 2026-03-13T12:00:00.000000Z (inclusive)"
    assert told["filter"]["words"] == words
    assert told["output"]["columns"] == ["timestamp", "event", "event_id"]
    assert (told["output"]["time_zone"], told["output"]["compression"]) == ("Europe/Berlin", "gzip")
    assert re.fullmatch(r"20\d\d[a-z]", told["output"]["tzdata"])
    assert told["output"]["guard"] == {"applied": True, "character": "'", "cells_changed": 7}
    assert told["output"]["masked_fields"] == []
    assert told["versions"]["software"] == version("workspace-audit-log")
    assert told["complete_through"]["at"] == "2026-03-14T12:00:00.000Z"
    ((id_, partition, end),) = [(one["topic_id"], one["partition"], one["end"]) for one in told["positions"]]
    assert (id_, partition, end) == ("topic-one", 0, 7)
    assert (told["quarantined"]["events"], told["gaps"]["holes"], told["gaps"]["events"]) == (1, 0, 0)
    assert [part["rows"] for part in told["parts"]] == [3, 3, 1]
    assert told["parts"][0]["first"] == {"occurred_at": "2026-03-14T12:00:00.000000Z", "event_id": found[0].event_id}
    assert told["parts"][-1]["last"]["event_id"] == found[-1].event_id
    downloads = files_of(client, client.get(at).json())
    contents = [gzip.decompress(each) for each in downloads]
    assert [hashlib.sha256(each).hexdigest() for each in contents] == [part["content_sha256"] for part in told["parts"]]
    assert [one["ended"] for one in told["attempts"]] == ["done"]
    assert told["totals"] == {
        "parts": 3,
        "rows": 7,
        "bytes": sum(map(len, downloads)),
        "content_bytes": sum(map(len, contents)),
    }
    assert told["signing_key"]["key_id"] == key["key_id"]
    assert told["parts"][0]["file"] in readme
    assert not re.search(r"\{\w*\}", readme)


def test_what_the_requester_may_not_see_is_masked_for_ever(query: QueryService, worker: Turns) -> None:
    """Whoever reads the file; one with personal data in the clear is for those alone who may see it."""
    put(query, events(1))
    plain, full = query.client(scopes=["audit:export"]), query.client()
    masked, clear = ask(plain).json(), ask(full, filter={"ip": ["203.0.113.7"]}).json()
    worker.all()
    (part,) = files_of(full, full.get(f"/v1/exports/{masked['id']}").json())
    assert b"ada@example.com" not in gzip.decompress(part)
    assert full.get(f"/v1/exports/{masked['id']}/manifest").json()["output"]["masked_fields"]
    at = f"/v1/exports/{clear['id']}"
    assert plain.get(at).json()["filter"] == {"ip": ["•••"]}
    assert full.get(at).json()["filter"] == {"ip": ["203.0.113.7"]}
    for path in ("parts/1", "manifest", "manifest.sig", "readme"):
        assert plain.get(f"{at}/{path}").status_code == 403
        assert full.get(f"{at}/{path}").status_code == 200
    assert ask(plain, filter={"ip": ["203.0.113.7"]}).status_code == 403


def test_a_downgrade_ends_jobs_after_the_current_part(query: QueryService, worker: Turns) -> None:
    """Running and queued ones, with a manifest of what there is; an upgrade and a retry finish the same export."""
    put(query, events(7))
    client = query.client()
    running, queued = one_after_the_other(query, client)
    assert worker.once()
    query.access.set_plan("w1", "starter")
    worker.all()
    found = client.get(f"/v1/exports/{running}").json()
    assert (found["state"], found["error"]["type"], found["rows_done"]) == ("failed", "plan-limited", 3)
    assert client.get(f"/v1/exports/{queued}").json()["error"]["type"] == "plan-limited"
    told = client.get(f"/v1/exports/{running}/manifest").json()
    assert (told["outcome"], told["totals"]["rows"]) == ("failed", 3)
    refused = [ask(client), client.post(f"/v1/exports/{running}/retry"), client.get(f"/v1/exports/{running}/parts/1")]
    assert {reply.json()["type"].rpartition(":")[2] for reply in refused} == {"plan-limited"}
    query.access.set_plan("w1", "advanced")
    assert client.post(f"/v1/exports/{running}/retry").status_code == 202
    worker.all()
    found = client.get(f"/v1/exports/{running}").json()
    assert (found["state"], found["error"], found["rows_done"], found["attempts"]) == ("done", None, 7, 2)
    assert len(rows_of(files_of(client, found))) == 7


def test_a_cancelled_job_keeps_what_is_done(query: QueryService, worker: Turns) -> None:
    """Its manifest comes a moment later; one that never started has none."""
    put(query, events(7))
    client = query.client()
    started, waiting = one_after_the_other(query, client)
    assert worker.once()
    for one in (started, waiting):
        assert client.post(f"/v1/exports/{one}/cancel").json()["state"] == "cancelled"
        assert client.post(f"/v1/exports/{one}/cancel").json()["state"] == "cancelled"
    early = client.get(f"/v1/exports/{started}/manifest")
    assert (early.status_code, early.headers["retry-after"]) == (409, "1")
    assert worker.all() == 0
    told = client.get(f"/v1/exports/{started}/manifest").json()
    assert (told["outcome"], told["totals"]["rows"], told["attempts"][0]["ended"]) == ("cancelled", 3, "cancelled")
    assert len(rows_of(files_of(client, client.get(f"/v1/exports/{started}").json()))) == 3
    assert client.get(f"/v1/exports/{waiting}/manifest").status_code == 409
    assert client.post(f"/v1/exports/{started}/retry").json()["state"] == "queued"
    worker.all()
    assert client.get(f"/v1/exports/{started}").json()["rows_done"] == 7
    assert client.post(f"/v1/exports/{started}/cancel").status_code == 409


def test_files_go_after_a_week_and_the_manifest_stays(query: QueryService, worker: Turns) -> None:
    """Gone at the minute that was said, whether or not a worker has been there since."""
    put(query, events(4))
    client = query.client()
    job = ask(client).json()
    worker.all()
    at = f"/v1/exports/{job['id']}"
    assert client.get(at).json()["expires_at"] == "2026-03-21T12:00:00.000Z"
    manifest = client.get(f"{at}/manifest").content
    query.clock.now = NOON + timedelta(days=7)
    gone = client.get(f"{at}/parts/1")
    assert (gone.status_code, gone.json()["type"]) == (410, "urn:audit-log:problem:export-expired")
    worker.tidy()
    assert list((query.folder / "exports").iterdir()) == []
    assert client.get(at).json()["state"] == "expired"
    assert client.get(f"{at}/parts/1").status_code == 410
    assert client.get(f"{at}/manifest").content == manifest


def test_workspaces_take_turns_part_by_part(query: QueryService, worker: Turns) -> None:
    """With twenty jobs of one workspace in the queue, another's starts after one part at most."""
    put(query, [*events(7), *events(4, workspace_id="w2")])
    query.workspace("w2")
    busy, other = query.client(), query.client("w2")
    for _ in range(20):
        assert ask(busy).status_code == 202
    full = ask(busy)
    assert (full.status_code, full.json()["type"]) == (429, "urn:audit-log:problem:too-many-exports")
    assert worker.once()
    late = ask(other).json()["id"]
    assert worker.once()
    assert other.get(f"/v1/exports/{late}").json()["rows_done"] == 3
    states = [job["state"] for job in busy.get("/v1/exports", params={"limit": 100}).json()["data"]]
    assert states.count("running") == 1
    assert worker.once()
    assert worker.once()
    assert other.get(f"/v1/exports/{late}").json()["state"] == "done"


@pytest.mark.parametrize("form", ["ndjson", "parquet"])
def test_parts_of_every_format_are_what_a_stream_gives(query: QueryService, worker: Turns, form: str) -> None:
    """NDJSON line by line; a Parquet part is a file of its own, packed inside."""
    put(query, events(4))
    client = query.client()
    job = ask(client, format=form, order="asc").json()
    worker.all()
    job = client.get(f"/v1/exports/{job['id']}").json()
    parts = files_of(client, job)
    assert [part["rows"] for part in job["parts"]] == [3, 1]
    assert job["parts"][0]["file"].endswith({"ndjson": "-part-00001.ndjson.gz", "parquet": "-part-00001.parquet"}[form])
    streamed = client.get("/v1/export", params={"format": form, "order": "asc"}).content
    if form == "ndjson":
        assert b"".join(map(gzip.decompress, parts)) == streamed
    else:
        found = [pq.read_table(io.BytesIO(part)) for part in parts]
        assert pa.concat_tables(found).equals(pq.read_table(io.BytesIO(streamed)))


def test_every_stream_has_a_manifest(query: QueryService, worker: Turns, tmp_path: Path) -> None:
    """With the rows and the hash of what was sent, whole or aborted; it is in no list of jobs."""
    put(query, events(4))
    client = query.client()
    reply = client.get("/v1/export", params={"event": "file.downloaded", "tz": "Europe/Berlin"})
    at = f"/v1/exports/{reply.headers['x-export-id']}"
    assert client.get(f"{at}/manifest").status_code == 409
    worker.tidy()
    told = client.get(f"{at}/manifest").json()
    (part,) = told["parts"]
    assert (told["outcome"], told["plan"], told["positions"], part["rows"]) == ("done", "enterprise", [], 4)
    assert part["sha256"] == part["content_sha256"] == hashlib.sha256(reply.content).hexdigest()
    assert f'filename="{part["file"]}"' in reply.headers["content-disposition"]
    assert told["filter"]["sent"] == {"event": ["file.downloaded"], "tz": ["Europe/Berlin"]}
    assert told["output"]["compression"] == "none"
    (key,) = client.get("/v1/signing-keys").json()["data"]
    signed = client.get(f"{at}/manifest").content, client.get(f"{at}/manifest.sig").content
    assert verify(key["public_key_pem"], *signed)
    assert client.get(at).status_code == 404
    assert client.get("/v1/exports").json() == {"data": [], "next": None}
