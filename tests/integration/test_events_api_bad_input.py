"""What the Events API does with bad input: a clear problem for each kind, never a 500, never much memory."""

from __future__ import annotations

import gzip
import json
import socket
import zlib
from datetime import timedelta
from typing import Any

import httpx
import pytest
from backports import zstd

from audit_infra.access import Scope
from audit_schemas.catalogue import load
from tests.builders import NOON
from tests.support.events_service import EventsService, StartEventsApi

WON: dict[str, Any] = {"event_type": "deal.won"}
JSON = {"Content-Type": "application/json"}
MIB = 1024 * 1024
PEOPLE = ("custom_app", "internal_user", "client", "anonymous")


NOT_JSON = (
    (b"", "not JSON"),
    (b'{"event_type": ', "not JSON"),
    (b'{"event_type": "deal.won"} x', "Extra data"),
    (b'\xef\xbb\xbf{"event_type": "deal.won"}', "byte order mark"),
    (b'{"event_type": "\xff"}', "is not UTF-8"),
    (b'{"event_type": "\xed\xa0\x80"}', "is not UTF-8"),
    (b'{"label": "\\ud800"}', "unpaired surrogate"),
    (b'{"metadata": {"a": NaN}}', "NaN is not JSON"),
    (b'{"metadata": {"a": -Infinity}}', "-Infinity is not JSON"),
    (b'{"metadata": {"a": 1e999}}', "beyond the numbers"),
    (b'{"metadata": {"a": 9223372036854775808}}', "more than 64 bits"),
    (b'{"metadata": {"a": ' + b"9" * 100_000 + b"}}", "more than 64 bits"),
    (b'{"event_type": "deal.won", "event_type": "deal.lost"}', "the key 'event_type' twice"),
    (b'{"metadata": ' + b"[" * 65 + b"]" * 65 + b"}", "nested more than 64 deep"),
    (b"[" * 10_000, "nested more than 64 deep"),
    (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "nested more than 64 deep"),
)


def post(client: httpx.Client, body: bytes | str, **headers: str) -> httpx.Response:
    return client.post("/v1/events", content=body, headers=JSON | {k.replace("_", "-"): v for k, v in headers.items()})


def kind(answer: httpx.Response) -> tuple[int, str]:
    """Status and type of a problem."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    assert answer.json()["status"] == answer.status_code
    return answer.status_code, answer.json()["type"].removeprefix("urn:audit-log:problem:")


def faults(client: httpx.Client, item: Any) -> set[tuple[str, str]]:
    """Pointers and codes of everything that is wrong with one event."""
    answer = client.post("/v1/events", json=item)
    assert kind(answer) == (422, "nothing-accepted"), answer.text
    errors = answer.json()["errors"]
    assert errors == answer.json()["results"][0]["problem"]["errors"]
    return {(one["pointer"], one["code"]) for one in errors}


@pytest.fixture
def client(events_api: EventsService) -> httpx.Client:
    return events_api.client()


def test_what_is_not_strict_json_is_refused(events_api: EventsService) -> None:
    """400 with what is wrong; nothing is recorded (row 1)."""
    client = events_api.client()
    for body, why in NOT_JSON:
        answer = post(client, body)
        assert kind(answer) == (400, "unreadable-body"), body[:40]
        assert why in answer.json()["detail"]
    assert events_api.events == []


def test_only_json_is_taken_and_given(client: httpx.Client) -> None:
    """415 for other types and codings of the body, 406 when the caller takes no JSON (row 2)."""
    text = json.dumps(WON)
    for given in ("text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1", "x"):
        assert kind(post(client, text, content_type=given, **{"Content-Type": given})) == (
            415,
            "unsupported-media-type",
        )
    assert kind(client.post("/v1/events", content=text)) == (415, "unsupported-media-type")
    for coding in ("br", "deflate", "gzip, zstd"):
        answer = post(client, text, Content_Encoding=coding)
        assert kind(answer) == (415, "unsupported-media-type")
        assert answer.headers["Accept-Encoding"] == "gzip, zstd, identity"
    for accept in ("text/html", "application/json;q=0", "application/problem+json"):
        assert kind(post(client, text, Accept=accept)) == (406, "not-acceptable")
    for accept in ("*/*", "application/json", "text/html, application/*;q=0.1"):
        assert post(client, text, Accept=accept).status_code == 202
    assert post(client, text, **{"Content-Type": 'Application/JSON; charset="UTF-8"'}).status_code == 202


def test_large_bodies_are_refused_before_they_are_unpacked(events_api: EventsService) -> None:
    """413 with the limit: by the length that is named, by what arrives, and by what a bomb would become (row 3)."""
    client = events_api.client()
    limit = {"limit": 5 * MIB}
    named = post(client, b" " * (6 * MIB))
    assert (kind(named), named.json() | limit) == ((413, "too-large"), named.json())
    chunked = client.post("/v1/events", content=(b" " * MIB for _ in range(6)), headers=JSON)
    assert kind(chunked) == (413, "too-large")
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join([*(packer.compress(b"\0" * MIB) for _ in range(256)), packer.flush()])
    nested = gzip.compress(b"") * 50_000
    frame = zstd.compress(b"\0" * (256 * MIB))
    for coding, body, expected in (
        ("gzip", bomb, (413, "too-large")),
        ("zstd", frame, (413, "too-large")),
        ("gzip", nested, (400, "unreadable-body")),
        ("gzip", bomb[:100], (400, "unreadable-body")),
        ("gzip", b"nothing of the kind", (400, "unreadable-body")),
        ("zstd", frame[:10], (400, "unreadable-body")),
        (
            "zstd",
            zstd.compress(b"x" * MIB, options={zstd.CompressionParameter.window_log: 27}),
            (400, "unreadable-body"),
        ),
    ):
        assert kind(post(client, body, Content_Encoding=coding)) == expected, (coding, body[:20])
    just = json.dumps(WON).encode().ljust(5 * MIB)
    assert post(client, just).status_code == 202
    assert post(client, gzip.compress(just), Content_Encoding="gzip").status_code == 202
    counts = events_api.client(scopes=[Scope.ADMIN]).get("/v1/refused-events").json()["data"]
    assert {one["reason"]: one["events"] for one in counts} == {"too_large": 4, "unreadable": 5}


def test_bodies_in_memory_are_bounded_for_all_requests_together(start_events_api: StartEventsApi) -> None:
    """503 while others are being read, so that many large bodies at once can't exhaust the memory."""
    service = start_events_api(bodies_mib=8)
    client, first = service.client(), service.client()
    answers: list[httpx.Response] = []

    def slowly() -> Any:
        yield b" " * (4 * MIB + 512 * 1024)
        answers.append(post(client, b" " * (4 * MIB)))
        yield json.dumps(WON).encode()

    assert first.post("/v1/events", content=slowly(), headers=JSON).status_code == 202
    assert kind(answers[0]) == (503, "busy")
    assert answers[0].headers["Retry-After"] == "1"
    assert post(client, json.dumps(WON).encode().ljust(4 * MIB)).status_code == 202


def test_a_body_that_does_not_arrive_is_given_up(start_events_api: StartEventsApi) -> None:
    """408 after the setting's time, however slowly the bytes come."""
    service = start_events_api(body_timeout_s=0.2)
    client = service.client()
    key = client.headers["x-api-key"]
    head = f"POST /v1/events HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", int(service.url.rpartition(":")[2])), timeout=10) as connection:
        connection.sendall(f"{head}Content-Length: 100\r\n\r\n{{".encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 408")


def test_an_event_that_is_too_large_is_refused_alone(events_api: EventsService) -> None:
    """Its problem says how large it is; the others are recorded (row 4)."""
    large = {**WON, "metadata": {f"k{number}": "€" * 480 for number in range(50)}}
    answer = events_api.client().post("/v1/events", json={"events": [WON, large, WON]})
    assert [one["status"] for one in answer.json()["results"]] == ["accepted", "rejected", "accepted"]
    (fault,) = answer.json()["results"][1]["problem"]["errors"]
    assert (fault["pointer"], fault["code"]) == ("", "too_large")
    assert "at most 65536" in fault["message"]
    assert len(events_api.events) == 2


def test_a_request_holds_one_to_a_thousand_events(client: httpx.Client) -> None:
    """413 with the limit for more, 422 for none and for what is no list of events (row 5)."""
    many = client.post("/v1/events", json={"events": [WON] * 1001})
    assert (kind(many), many.json()["limit"]) == ((413, "too-large"), 1000)
    assert client.post("/v1/events", json={"events": [WON] * 1000}).status_code == 202
    odd: list[Any] = [
        {"events": []},
        {"events": {}},
        {"events": [WON], "dry": True},
        {"events": None},
        [WON],
        "x",
        None,
        5,
    ]
    for body in odd:
        answer = post(client, json.dumps(body))
        assert kind(answer) == (422, "wrong-shape"), body
        assert answer.json()["errors"], body
    assert faults(client, {}) == {("/event_type", "required")}


def test_types_are_the_apps_own(client: httpx.Client) -> None:
    """Native types and their aliases are refused with a pointer and where they are listed, odd names too (row 7)."""
    catalogue = load()
    for name in [one.name for one in catalogue][::9] + list(getattr(catalogue, "aliases", {}))[:3]:
        assert faults(client, {"event_type": name}) == {("/event_type", "native_event_type")}
    answer = client.post("/v1/events", json={"event_type": "auth.login_failed"}).json()
    assert "native events are emitted by the product (GET /v1/catalogue" in answer["errors"][0]["message"]
    for name in ("deal", "Deal.won", "deal..won", "deal.won.", "1.a", "a.b.c.d.e", "a.b\n", "a." + "b" * 95, ""):
        assert faults(client, {"event_type": name}) == {("/event_type", "custom_event_type")}, name
    assert client.post("/v1/events", json={"event_type": "a." + "b" * 94}).status_code == 202
    assert client.post("/v1/events", json={"event_type": "a.b_1.c.d"}).status_code == 202


def test_everything_wrong_with_an_event_is_said_at_once(client: httpx.Client) -> None:
    """Unknown fields, wrong types, null where a value is needed, values out of their lists (row 8)."""
    bad = {
        "event_type": None,
        "producer": {"seq": 1},
        "received_at": "2026-03-14T12:00:00Z",
        "nope": 1,
        "a/b~c": 1,
        "label": "x" * 81,
        "outcome": "maybe",
        "targets": [{"type": "Deal", "nope": 1}, 5],
        "changes": [{"path": "a"}],
        "metadata": [],
        "category": "files",
        "source": "web",
        "app_id": "erp",
        "actor": {"type": "client", "id": 7},
        "on_behalf_of": {"type": "client", "id": "c9", "name": ""},
        "ip": 5,
        "request_id": ["x"],
    }
    pointers = {pointer for pointer, _ in faults(client, bad)}
    assert pointers == {
        *("/event_type", "/producer", "/received_at", "/nope", "/a~1b~0c", "/label", "/outcome", "/targets/0/type"),
        *("/targets/0/nope", "/targets/1", "/changes", "/metadata", "/category", "/source", "/app_id", "/actor/id"),
        *("/on_behalf_of", "/ip", "/request_id"),
    }
    many = client.post("/v1/events", json={**WON, **{f"x{number}": 1 for number in range(300)}}).json()["errors"]
    assert (len(many), many[-1]["code"]) == (101, "more")


def test_fields_of_the_server_may_be_repeated(events_api: EventsService) -> None:
    """The same value is no fault, and null counts as absent."""
    same = {"workspace_id": "w1", "app_id": "crm", "source": "api", "category": "developer", "label": None, "ip": None}
    assert events_api.client().post("/v1/events", json=WON | same).status_code == 202
    assert events_api.events[0].workspace_id == "w1"


def test_an_actor_is_the_app_or_a_person(client: httpx.Client) -> None:
    """Other kinds are refused, an app can't pose as another, and its own address can't be made up."""
    for other in ("system", "automation", "api_key", "robot"):
        answer = client.post("/v1/events", json={**WON, "actor": {"type": other, "id": "x"}})
        (fault,) = answer.json()["errors"]
        assert (fault["pointer"], fault["code"], fault["allowed"]) == ("/actor/type", "actor_type", list(PEOPLE))
    assert faults(client, {**WON, "actor": {"type": "custom_app", "id": "erp"}}) == {("/actor/id", "set_by_server")}
    assert faults(client, {**WON, "ip": "203.0.113.7", "user_agent": "x"}) == {
        ("/ip", "of_the_caller"),
        ("/user_agent", "of_the_caller"),
    }
    assert faults(client, {**WON, "actor": "crm"}) == {("/actor", "model_type")}
    assert faults(client, {**WON, "actor": {"id": "u1"}}) == {("/actor/type", "missing")}
    assert faults(client, {**WON, "metadata": {"_ip_raw": "x"}}) == {("/metadata/_ip_raw", "reserved")}


def test_instants_lie_between_ten_years_ago_and_five_minutes_ahead(events_api: EventsService) -> None:
    """An offset is required; a leap second is the second after it (row 11)."""
    client = events_api.client()
    for bad, code in (
        ("2026-03-14T12:00:00", "instant"),
        ("2026-03-14", "instant"),
        (1773489600, "instant"),
        ("1773489600", "instant"),
        ("2026-02-30T12:00:00Z", "datetime_from_date_parsing"),
        ("2026-03-14T13:00:00Z", "out_of_range"),
        ("2026-03-14T12:05:01Z", "out_of_range"),
        ("9999-12-31T23:59:59Z", "value_error"),
        ("2016-03-12T12:00:00Z", "out_of_range"),
        ("2026-03-13T11:59:60Z", "value_error"),
    ):
        ((pointer, found),) = faults(client, {**WON, "occurred_at": bad})
        assert pointer == "/occurred_at", bad
        assert found == code or code.startswith("datetime"), (bad, found)
    good = {
        "2026-03-14T12:05:00Z": NOON + timedelta(minutes=5),
        "2026-02-11T12:00:00Z": NOON - timedelta(days=31),
        "2016-03-20T12:00:00Z": NOON.replace(year=2016, day=20),
        "2025-12-31T23:59:60Z": NOON.replace(year=2026, month=1, day=1, hour=0),
        "2026-03-14T05:59:00.5-06:00": NOON - timedelta(seconds=59.5),
    }
    for text in good:
        assert client.post("/v1/events", json={**WON, "occurred_at": text}).status_code == 202, text
    assert [event.occurred_at for event in events_api.events] == list(good.values())


def test_another_workspace_is_refused_whether_it_exists_or_not(events_api: EventsService) -> None:
    """403 for the whole request without a hint, and the key's own workspace hears of it (row 12)."""
    events_api.workspace("w2")
    client = events_api.client()
    answers = []
    for named in ("w2", "nobody", "", "w1 "):
        answers.append(client.post("/v1/events", json={"events": [WON, {**WON, "workspace_id": named}]}))
        assert kind(answers[-1]) == (403, "foreign-workspace")
    bodies = [{name: value for name, value in one.json().items() if name != "request_id"} for one in answers]
    assert all(body == bodies[0] for body in bodies)
    heard = events_api.events
    assert [(one.workspace_id, one.event_type, one.outcome, one.outcome_reason) for one in heard] == [
        ("w1", "api_key.rejected", "failure", "foreign_workspace")
    ] * 4
    assert (heard[0].actor.type, heard[0].app_id, heard[0].ip) == ("api_key", "crm", "127.0.0.1")
    assert "w2" not in heard[0].metadata
    assert faults(client, {**WON, "workspace_id": 5}) == {("/workspace_id", "set_by_server")}


def test_nul_is_refused_and_other_text_stays_as_it_is(events_api: EventsService) -> None:
    """Bidirectional marks, control characters, emoji, markup and formulas pass unchanged (rows 13 and 15)."""
    client = events_api.client()
    nul = {
        "event_id": "a\0b",
        "label": "\0",
        "targets": [{"type": "deal", "id": "\0", "name": "\0"}],
        "metadata": {"a": ["\0"]},
        "request_id": "\0",
        "changes": [{"path": "a", "old": "\0", "new": 1}],
    }
    assert {pointer for pointer, _ in faults(client, WON | nul)} == {
        *("/event_id", "/label", "/targets/0/id", "/targets/0/name", "/metadata", "/request_id", "/changes"),
    }
    texts = [
        "\u202egnp.exe",
        "\x01\x1f\x7f",
        "👩‍🚀𝔘",
        "<script>alert(1)</script>",
        "=cmd|' /C calc'!A0",
        "' OR 1=1 --",
        "﻿",
    ]
    body = {"events": [{**WON, "targets": [{"type": "deal", "name": text}], "label": text} for text in texts]}
    answer = client.post("/v1/events", json=body)
    assert answer.status_code == 202, answer.text
    assert [(event.label, event.targets[0].name) for event in events_api.events] == [(text, text) for text in texts]


def test_addresses_of_persons_are_canonical_or_kept_as_sent(events_api: EventsService) -> None:
    """Ports, zones and mapped addresses are understood; garbage is kept beside an empty address (row 19)."""
    rows = (
        ("::ffff:198.51.100.9", "198.51.100.9", ""),
        ("198.51.100.9:443", "198.51.100.9", ""),
        ("[2001:DB8::1]:443", "2001:db8::1", ""),
        ("fe80::1%eth0", "fe80::1", ""),
        ("", "", ""),
        ("unknown", "", "unknown"),
        ("1.2.3.4, 5.6.7.8", "", "1.2.3.4, 5.6.7.8"),
        ("<script>", "", "<script>"),
    )
    items = [{**WON, "actor": {"type": "client", "id": "c1"}, "ip": sent} for sent, _, _ in rows]
    assert events_api.client().post("/v1/events", json={"events": items}).status_code == 202
    for event, (_, ip, raw) in zip(events_api.events, rows, strict=True):
        assert (event.ip, json.loads(event.metadata)) == (ip, {"_ip_raw": raw} if raw else {})


def test_forwarded_headers_count_only_from_trusted_proxies(start_events_api: StartEventsApi) -> None:
    """A caller can't make up an address; a trusted proxy says whose it is, from the right (row 19)."""
    forwarded = {"X-Forwarded-For": "6.6.6.6, 203.0.113.9:5000, 10.0.0.2"}
    plain = start_events_api()
    assert post(plain.client(), json.dumps(WON), **forwarded).status_code == 202
    assert plain.events[0].ip == "127.0.0.1"
    behind = start_events_api(trusted_proxies="127.0.0.0/8, 10.0.0.2")
    client = behind.client()
    assert post(client, json.dumps(WON), **forwarded).status_code == 202
    assert post(client, json.dumps(WON), **{"X-Forwarded-For": "somebody"}).status_code == 202
    first, second = behind.events
    assert (first.ip, second.ip, json.loads(second.metadata)) == ("203.0.113.9", "", {"_ip_raw": "somebody"})


def test_a_long_user_agent_is_cut_and_says_so(events_api: EventsService) -> None:
    """The request is no worse for it."""
    assert post(events_api.client(), json.dumps(WON), User_Agent="x" * 2000).status_code == 202
    (event,) = events_api.events
    assert (len(event.user_agent), json.loads(event.metadata)) == (1024, {"_truncated": ["user_agent"]})
