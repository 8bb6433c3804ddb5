"""How answers are given: forms, links, verbs, tags, codings, and that they are as the reference describes them."""

from __future__ import annotations

import gzip
import json
import uuid
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import httpx
import jsonschema_rs
import pytest
from backports import zstd

from audit_infra.access import Scope
from audit_query.openapi import OPERATIONS, PATHS, document
from audit_query.openapi.operation import Operation
from audit_query.openapi.operations import CSV_TYPE, NDJSON, PARQUET
from audit_query.openapi.shapes import EVENT
from tests.builders import NOON, event
from tests.support.exports import Turns, make_key, settings_of
from tests.support.query_service import QueryService

UNPACK: Mapping[str, Callable[[bytes], bytes]] = {"gzip": gzip.decompress, "zstd": zstd.decompress}
STREAM = next(one.answers for one in OPERATIONS if one.name == "followEvents")
FORMATS = {CSV_TYPE: "csv", NDJSON: "ndjson", PARQUET: "parquet"}
EXPORTS = "/v1/exports"
LINES = {"Accept": NDJSON}
SOMETIMES = {"content-range", "link", "audit-complete-through", "audit-preview"}


def address_of(operation: Operation, ids: Mapping[str, str]) -> str:
    """The request that the reference shows, of things that are there."""
    path = operation.path
    for one in operation.parameters:
        path = path.replace(f"{{{one.name}}}", ids.get(one.name, str(one.example)))
    return f"{path}?{operation.sample}" if operation.sample else path


def raw(client: httpx.Client, address: str, **headers: str) -> tuple[httpx.Response, bytes]:
    """An answer and its bytes as they were sent."""
    with client.stream("GET", address, headers={"Accept-Encoding": "identity", **headers}) as answer:
        return answer, b"".join(answer.iter_raw())


def ask(client: httpx.Client, format_: str) -> str:
    """A new job; its id."""
    body, key = {"format": format_}, {"Idempotency-Key": str(uuid.uuid4())}
    return str(client.post(EXPORTS, json=body, headers=key).raise_for_status().json()["id"])


def exported(query: QueryService, client: httpx.Client) -> tuple[str, str]:
    """Two jobs that are done, one as CSV, one as Parquet."""
    make_key(query)
    jobs = ask(client, "csv"), ask(client, "parquet")
    with Turns(query, settings_of(query)) as worker:
        worker.all()
    return jobs


def test_answers_are_as_described(query: QueryService) -> None:
    """The request the reference shows is answered in every form with what the schema says, headers included."""
    sent = event(changes=[{"path": "name", "old": None, "new": "plan"}])
    query.tables.put(sent, event(event_type="auth.login_failed", category="authentication"))
    client = query.client(scopes=list(Scope))
    ids = {"event_id": sent.event_id, "number": "1"}
    done = exported(query, client)
    for one in OPERATIONS:
        for form in one.answers if one.answers != STREAM else ():
            body = one.body[1] if one.body else None
            ids["export_id"] = done[form.media == PARQUET]
            if one.path.endswith(("/cancel", "/retry")):
                ids["export_id"] = ask(client, "csv")
            if one.path.endswith("/retry"):
                assert client.post(f"/v1/exports/{ids['export_id']}/cancel").status_code == 200
            address = address_of(one, ids).replace("format=csv", f"format={FORMATS.get(form.media)}")
            headers = {"Accept": form.media, **({"Idempotency-Key": str(uuid.uuid4())} if one.path == EXPORTS else {})}
            answer = client.request(one.method, address, headers=headers, json=body)
            assert answer.status_code == one.status, answer.text
            if one.status == 201:
                ids[one.path.rpartition("/")[2][:-1]] = answer.json()["data"]["id"]
            assert answer.headers["content-type"].partition(";")[0] == form.media
            assert {"x-request-id", *(name.lower() for name in one.headers)} - SOMETIMES <= set(answer.headers)
            lines = answer.text.splitlines() if form.media == NDJSON else [answer.text]
            for line in lines if form.media in (NDJSON, "application/json") else []:
                schema = {**form.schema, "components": document()["components"]}
                jsonschema_rs.Draft202012Validator(schema, validate_formats=True).validate(json.loads(line))


def test_every_field_of_an_event_is_described(query: QueryService) -> None:
    """The schema names exactly the fields that are answered."""
    query.tables.put(event())
    (found,) = query.client().get("/v1/events").json()["data"]
    assert set(found) == set(EVENT["properties"])


def test_a_page_can_be_lines(query: QueryService) -> None:
    """The same rows, one JSON document a line; links, freshness and the plan's preview are in headers."""
    query.tables.put(*(event(occurred_at=NOON - timedelta(hours=hours)) for hours in range(30)))
    query.tables.progress(NOON)
    client = query.client()
    rows: list[dict[str, Any]] = []
    address = "/v1/events?limit=7"
    while address:
        answer, body = raw(client, address, **LINES)
        assert answer.headers["content-type"].startswith("application/x-ndjson")
        assert answer.headers["Audit-Complete-Through"] == "2026-03-14T12:00:00.000Z"
        assert "Audit-Preview" not in answer.headers
        assert body.endswith(b"\n")
        rows += [json.loads(line) for line in body.splitlines()]
        address = answer.links.get("next", {}).get("url", "")
    assert rows == client.get("/v1/events?limit=200").json()["data"]
    query.workspace("w2", "starter")
    preview = query.client("w2").get("/v1/events?since=30d", headers=LINES)
    assert preview.text == ""
    assert preview.headers["Audit-Preview"] == (
        'since="2026-03-13T12:00:00.000000Z", plan="starter", upgrade_url="/upgrade?workspace=w2", clamped=?1'
    )


def test_links_lead_on_and_back(query: QueryService) -> None:
    """`Link` says what `next` and `prev` say; a page without neighbours has none."""
    query.tables.put(*(event(occurred_at=NOON - timedelta(hours=hours)) for hours in range(3)))
    client = query.client()
    assert "Link" not in client.get("/v1/events").headers
    first = client.get("/v1/events?limit=1&user=u1")
    second = client.get(first.links["next"]["url"])
    assert set(first.links) == {"next"}
    assert {name: link["url"] for name, link in second.links.items()} == {
        name: second.json()[name] for name in ("next", "prev")
    }
    back = client.get(second.links["prev"]["url"])
    assert back.json()["data"] == first.json()["data"]


def test_every_address_refuses_what_it_does_not_do(query: QueryService) -> None:
    """405 with `Allow`, 406 that lists what there is; HEAD is GET without a body."""
    sent = event()
    query.tables.put(sent)
    client = query.client(scopes=list(Scope))
    taken = {path: {one.method.upper() for one in OPERATIONS if one.path == path} for path in PATHS}
    for one in OPERATIONS:
        address = address_of(one, {"event_id": sent.event_id, "workspace": "w1"})
        for verb in {"POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"} - taken[one.path]:
            refused = client.request(verb, address)
            assert (refused.status_code, refused.headers["content-type"]) == (405, "application/problem+json"), verb
            assert one.method.upper() in refused.headers["Allow"]
        other = client.request(one.method, address, headers={"Accept": "text/html, image/*;q=0.5"})
        assert (other.status_code, other.json()["type"]) == (406, "urn:audit-log:problem:not-acceptable")
        described = {form.media for form in one.answers} or {"application/json"}
        assert described & set(other.json()["available"])
        if one.method == "get" and one.answers != STREAM:
            head, whole = client.head(address), client.get(address)
            assert (head.status_code, head.content) == (whole.status_code, b"")
            assert head.headers["content-type"] == whole.headers["content-type"]


@pytest.mark.parametrize("address", ["/v1/catalogue", "/openapi.json"])
def test_what_changes_only_with_the_service_is_sent_once(query: QueryService, address: str) -> None:
    """A strong tag per coding; 304 without a body for who has it, the whole answer for who has another."""
    client = query.client()
    tags = set()
    for name in ("identity", "gzip", "zstd"):
        answer, body = raw(client, address, **{"Accept-Encoding": name})
        tag = answer.headers["ETag"]
        tags.add(tag)
        assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "private, no-cache")
        assert answer.headers["Vary"] == "Accept-Encoding"
        assert answer.headers.get("content-encoding", "identity") == name
        assert json.loads(UNPACK[name](body) if name in UNPACK else body) == client.get(address).json()
        for known in (tag, f'"x", {tag}', f"W/{tag}", "*"):
            again, nothing = raw(client, address, **{"Accept-Encoding": name, "If-None-Match": known})
            assert (again.status_code, nothing, again.headers["ETag"]) == (304, b"", tag)
            assert "content-encoding" not in again.headers
        assert raw(client, address, **{"Accept-Encoding": name, "If-None-Match": '"x"'})[0].status_code == 200
    assert len(tags) == 3
    assert not any(tag.startswith("W/") for tag in tags)


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_answers_are_packed_as_the_caller_allows(query: QueryService, name: str) -> None:
    """Pages, lines, exports and documents are the same packed as not; problems are left alone when they are small."""
    query.tables.put(*(event(occurred_at=NOON - timedelta(seconds=number)) for number in range(150)))
    client = query.client()
    for address, headers in (
        ("/v1/events?limit=150", {}),
        ("/v1/events?limit=150", LINES),
        ("/v1/export", {}),
        ("/docs", {}),
        ("/audit-log/static/style.css", {}),
    ):
        plain, whole = raw(client, address, **headers)
        packed, small = raw(client, address, **headers, **{"Accept-Encoding": f"{name}, identity;q=0.1"})
        assert UNPACK[name](small) == whole, address
        assert "content-encoding" not in plain.headers
        assert packed.headers["content-encoding"] == name
        assert "Accept-Encoding" in packed.headers["Vary"]
        assert "Accept-Encoding" in plain.headers["Vary"]
        assert len(small) < len(whole) / 2
