"""Export jobs as clients meet them: keys, faults, other workspaces, downloads in ranges, and what is recorded."""

from __future__ import annotations

import base64
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from audit_infra.access import Scope
from tests.builders import NOON
from tests.support.exports import Turns, ask, events, make_key, put, settings_of
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from audit_schemas.event import Event
    from tests.support.query_service import QueryService


@pytest.fixture
def worker(query: QueryService) -> Iterator[Turns]:
    """A worker, over tables with five events."""
    make_key(query)
    put(query, events(5))
    with Turns(query, settings_of(query)) as found:
        yield found


def recorded(query: QueryService, event_type: str, count: int = 1) -> list[Event]:
    """The events of this type, once there are so many."""

    def found() -> list[Event]:
        return [one for one in query.broker.events if one.event_type == event_type]

    eventually(lambda: len(found()) >= count, 10, f"{count} {event_type} are recorded")
    assert len(found()) == count
    return found()


def test_a_repeated_request_is_the_same_job(query: QueryService) -> None:
    """Recorded once; with another body it is refused, and so is a request without a key."""
    client = query.client()
    first = ask(client, key="a key of mine", filter={"event": ["x"]})
    again = ask(client, key="a key of mine", filter={"event": ["x"]})
    assert (again.status_code, again.json()) == (202, first.json())
    other = ask(client, key="a key of mine", filter={"event": ["y"]})
    assert (other.status_code, other.json()["type"]) == (422, "urn:audit-log:problem:idempotency-key-reused")
    keyless = client.post("/v1/exports", json={"format": "csv"})
    assert (keyless.status_code, keyless.json()["errors"][0]["name"]) == (400, "Idempotency-Key")
    (event,) = recorded(query, "audit_log.export_requested")
    assert [target.model_dump()["id"] for target in event.targets] == [first.json()["id"], "w1"]


def test_everything_wrong_with_a_request_is_told_at_once(query: QueryService) -> None:
    """What the body's shape lacks, what its filter names wrongly, what it wants of columns: each with a pointer."""
    body: dict[str, Any] = {
        "filter": {"colour": ["red"], "since": ["yesterday"], "outcome": ["bad"], "limit": ["5"]},
        "columns": ["nothing"],
    }
    refused = ask(query.client(), **body)
    assert refused.status_code == 422
    pointers = {error["pointer"] for error in refused.json()["errors"]}
    assert pointers == {
        *("/filter/colour", "/filter/since", "/filter/outcome", "/filter/limit"),
        "/columns/0",
    }
    (zone,) = ask(query.client(), tz="Mars/Base").json()["errors"]
    assert (zone["pointer"], zone["code"]) == ("/tz", "unknown_zone")
    assert ask(query.client(scopes=["audit:read"])).status_code == 403
    assert query.guest().get("/v1/exports").status_code == 401


def test_other_workspaces_exports_are_not_there(query: QueryService, worker: Turns) -> None:
    """At every address and method, exactly like one that never was; lists hold one's own."""
    query.workspace("w2")
    mine, other = query.client(), query.client("w2")
    job = ask(mine).json()
    worker.all()
    never = "0" * 32
    for method, path in (
        *(("GET", ""), ("POST", "/cancel"), ("POST", "/retry"), ("GET", "/parts/1"), ("GET", "/manifest")),
        *(("GET", "/manifest.sig"), ("GET", "/readme")),
    ):
        replies = [other.request(method, f"/v1/exports/{one}{path}") for one in (job["id"], never)]
        foreign, unknown = ({**reply.json(), "request_id": ""} for reply in replies)
        assert (foreign, foreign["status"]) == (unknown, 404), path
    assert other.get("/v1/exports").json()["data"] == []
    assert other.get("/v1/exports", params={"after": job["id"]}).status_code == 404
    assert mine.get(f"/v1/exports/{job['id']}/parts/2").status_code == 404
    assert mine.get(f"/v1/exports/{job['id']}").json()["state"] == "done"


def test_lists_lead_from_page_to_page(query: QueryService) -> None:
    """Newest first, each job once."""
    client = query.client()
    made = [ask(client).json()["id"] for _ in range(5)]
    page = client.get("/v1/exports", params={"limit": 2}).json()
    found = [job["id"] for job in page["data"]]
    while page["next"]:
        page = client.get(page["next"]).json()
        found += [job["id"] for job in page["data"]]
    assert sorted(found) == sorted(made)
    assert len(client.get("/v1/exports").json()["data"]) == 5
    for wrong in ({"limit": "0"}, {"limit": "101"}, {"x": "1"}):
        assert client.get("/v1/exports", params=wrong).status_code == 400


def test_a_part_is_downloaded_in_ranges(query: QueryService, worker: Turns) -> None:
    """With a strong ETag and the digest of the whole; every download that sent something is recorded with its bytes."""
    client = query.client(scopes=set(Scope))
    job = ask(client).json()
    worker.all()
    (part,) = client.get(f"/v1/exports/{job['id']}").json()["parts"]
    path = f"/v1/exports/{job['id']}/parts/1"
    whole = client.get(path)
    size, etag = part["bytes"], f'"{part["sha256"]}"'
    assert (whole.status_code, len(whole.content)) == (200, size)
    assert whole.headers["etag"] == etag
    digest = base64.b64encode(bytes.fromhex(part["sha256"])).decode()
    assert whole.headers["repr-digest"] == f"sha-256=:{digest}:"
    assert (whole.headers["accept-ranges"], whole.headers["content-type"]) == ("bytes", "application/gzip")
    assert whole.headers["content-disposition"] == f'attachment; filename="{part["file"]}"'
    assert "content-encoding" not in whole.headers
    head = client.head(path)
    assert (head.status_code, head.headers["content-length"], head.headers["etag"]) == (200, str(size), etag)
    assert client.get(path, headers={"If-None-Match": etag}).status_code == 304
    tail = client.get(path, headers={"Range": "bytes=10-", "If-Range": etag})
    assert (tail.status_code, tail.content) == (206, whole.content[10:])
    assert tail.headers["content-range"] == f"bytes 10-{size - 1}/{size}"
    assert tail.headers["repr-digest"] == whole.headers["repr-digest"]
    assert client.get(path, headers={"Range": "bytes=10-", "If-Range": '"old"'}).content == whole.content
    assert client.get(path, headers={"Range": "bytes=0-1,4-5"}).content == whole.content
    behind = client.get(path, headers={"Range": f"bytes={size}-"})
    assert (behind.status_code, behind.headers["content-range"]) == (416, f"bytes */{size}")
    found = [one.model_dump()["metadata"] for one in recorded(query, "audit_log.export_downloaded", 4)]
    assert f'"bytes":{size},' in found[0]
    prefix = client.headers["x-api-key"][:12]
    assert all(f'"credential_prefix":"{prefix}"' in one and '"aborted":false' in one for one in found)
    assert ['"whole":true' in one for one in found] == [True, False, True, True]
    assert f'"range":"bytes 10-{size - 1}/{size}"' in found[1]


def test_a_download_that_breaks_off_is_recorded_as_such(query: QueryService, worker: Turns) -> None:
    """With the bytes that were sent until then."""
    put(query, events(20_000, user_agent="", changes=[]))
    client = query.client()
    job = ask(client, format="ndjson").json()
    worker.all()
    (part,) = client.get(f"/v1/exports/{job['id']}").json()["parts"]
    address = urlsplit(query.url)
    assert address.hostname is not None
    with socket.create_connection((address.hostname, address.port or 0)) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lines = (f"GET /v1/exports/{job['id']}/parts/1 HTTP/1.1", f"X-API-Key: {client.headers['x-api-key']}")
        connection.sendall("\r\n".join((*lines, "Host: x", "", "")).encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
    (event,) = recorded(query, "audit_log.export_downloaded")
    assert '"aborted":true' in event.metadata
    assert '"whole":false' in event.metadata
    assert f'"bytes":{part["bytes"]}' not in event.metadata
    assert event.ip == "127.0.0.1"


def test_the_log_tells_how_each_job_came_and_went(query: QueryService, worker: Turns) -> None:
    """Requests, completions, failures and cancellations, each once, however often a worker tells them."""
    client = query.client()
    done = ask(client, filter={"event": ["file.downloaded"]}).json()["id"]
    worker.all()
    worker.tidy()
    (completed,) = recorded(query, "audit_log.export_completed")
    assert (completed.actor.type, completed.targets[0].id, completed.outcome) == ("api_key", done, "success")
    assert completed.occurred_at == NOON
    assert '"rows":5' in completed.metadata
    cancelled = ask(client).json()["id"]
    client.post(f"/v1/exports/{cancelled}/cancel")
    client.post(f"/v1/exports/{cancelled}/cancel")
    assert recorded(query, "audit_log.export_cancelled")[0].targets[0].id == cancelled
    failed = ask(client).json()["id"]
    query.access.set_plan("w1", "free")
    worker.all()
    (event,) = recorded(query, "audit_log.export_failed")
    assert (event.targets[0].id, event.outcome, event.outcome_reason) == (failed, "failure", "plan-limited")


def test_a_job_that_nobody_would_know_of_is_refused(query: QueryService) -> None:
    """As a stream is."""
    client = query.client()
    (query.folder / "spool").write_text("in the way")
    refused = ask(client)
    assert (refused.status_code, refused.json()["type"]) == (503, "urn:audit-log:problem:not-recorded")
    assert client.get("/v1/exports").json()["data"] == []
