"""The Events API from end to end: what an app sends, what it is answered, and what is recorded."""

from __future__ import annotations

import contextlib
import gzip
import json
import sqlite3
import uuid
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from backports import zstd

from audit_infra.access import Scope
from audit_producers.events_api import examples
from audit_producers.events_api.identity import NAMESPACE
from tests.builders import NOON
from tests.support.events_service import WRITER, EventsService, StartEventsApi
from tests.support.query_service import JWT_SECRET
from tests.support.waiting import eventually

WON: dict[str, Any] = {"event_type": "deal.won"}
JSON = {"Content-Type": "application/json"}


def statuses(answer: Any) -> list[str]:
    return [one["status"] for one in answer.json()["results"]]


def test_one_event_is_recorded_with_what_only_the_server_knows(events_api: EventsService) -> None:
    """Workspace, app, source, category, instants, address, user agent and actor come from the request, not the body."""
    answer = events_api.client().post("/v1/events", json=WON)
    assert answer.status_code == 202, answer.text
    (result,) = answer.json()["results"]
    assert answer.json()["durability"] in ("spooled", "kafka")
    (event,) = events_api.events
    assert result == {"status": "accepted", "event_id": event.event_id}
    assert uuid.UUID(event.event_id).version == 7
    assert (event.workspace_id, event.app_id, event.source, event.category) == ("w1", "crm", "api", "developer")
    assert (event.event_type, event.label, event.outcome) == ("deal.won", "Deal Won", "success")
    assert (event.occurred_at, event.received_at) == (NOON, NOON)
    assert (event.actor.type, event.actor.id, event.actor.name) == ("custom_app", "crm", WRITER)
    assert (event.ip, event.user_agent, event.on_behalf_of.type) == ("127.0.0.1", "crm/1", "")
    assert event.producer.service == "events-api"


def test_a_202_says_that_the_disk_has_it_while_kafka_is_away(events_api: EventsService) -> None:
    """The answer comes from the spool; the event reaches Kafka later, unchanged."""
    events_api.broker.set(up=False)
    answer = events_api.client().post("/v1/events", json={"events": [WON] * 3})
    assert (answer.status_code, answer.json()["durability"]) == (202, "spooled")
    assert events_api.log.stats().spooled_events == 3
    events_api.broker.set(up=True)
    assert [event.event_id for event in events_api.events] == [one["event_id"] for one in answer.json()["results"]]


def test_good_and_bad_events_are_told_apart_in_the_order_they_came(events_api: EventsService) -> None:
    """202 as soon as one is accepted; a rejected one has a problem with pointers and its own retry key."""
    bad = {**WON, "event_id": "k2", "outcome": "maybe", "nope": 1}
    answer = events_api.client().post("/v1/events", json={"events": [WON, bad, 7, {**WON, "label": "Won!"}]})
    assert (answer.status_code, statuses(answer)) == (202, ["accepted", "rejected", "rejected", "accepted"])
    refused = answer.json()["results"][1]
    assert refused["event_id"] == "k2"
    assert refused["problem"]["status"] == 422
    assert refused["problem"]["request_id"] == answer.headers["x-request-id"]
    assert {(one["in"], one["pointer"]) for one in refused["problem"]["errors"]} == {
        ("body", "/outcome"),
        ("body", "/nope"),
    }
    assert answer.json()["results"][2]["event_id"] is None
    assert [event.label for event in events_api.events] == ["Deal Won", "Won!"]


@pytest.mark.parametrize(("coding", "pack"), [("gzip", gzip.compress), ("zstd", zstd.compress), ("identity", bytes)])
def test_bodies_may_be_packed(events_api: EventsService, coding: str, pack: Any) -> None:
    """gzip, zstd and plain bodies mean the same."""
    body = pack(json.dumps({"events": [WON] * 200}).encode())
    answer = events_api.client().post("/v1/events", content=body, headers=JSON | {"Content-Encoding": coding})
    assert (answer.status_code, set(statuses(answer))) == (202, {"accepted"})
    assert len(events_api.events) == 200


def test_an_app_may_act_for_a_person(events_api: EventsService) -> None:
    """The person is the actor, with their own address and user agent, and the app stands beside."""
    answer = events_api.client().post("/v1/events", json=examples.FOR_A_PERSON)
    assert answer.status_code == 202, answer.text
    (event,) = events_api.events
    assert (event.actor.type, event.actor.id, event.actor.email) == ("internal_user", "u1", "ada@example.com")
    person = event.on_behalf_of
    assert (person.type, person.id, person.name, event.app_id) == ("internal_user", "u1", "Ada Lovelace", "crm")
    assert (event.ip, event.user_agent) == ("203.0.113.7", "Mozilla/5.0 (X11; Linux x86_64)")
    assert json.loads(event.changes) == [{"path": "stage", "old": "offer", "new": "won"}]


def test_the_examples_of_the_reference_are_true(start_events_api: StartEventsApi) -> None:
    """What the reference shows is what the service answers, byte for byte but for the ids of requests."""
    service = start_events_api()
    service.workspace(examples.WORKSPACE)
    client = service.client(examples.WORKSPACE, examples.APP)

    def shown(answer: Any) -> Any:
        text = answer.text.replace(answer.headers["x-request-id"], examples.REQUEST_ID)
        return json.loads(text) | ({"durability": "spooled"} if answer.status_code == 202 else {})

    assert shown(client.post("/v1/events", json=examples.ONE)) == examples.ANSWER
    found = shown(client.post("/v1/events", json=examples.BATCH))
    assert found["results"][1:] == examples.BATCH_ANSWER["results"][1:]
    assert found["results"][0] == {**examples.BATCH_ANSWER["results"][0], "status": "duplicate"}
    described = client.put("/v1/event-types/deal.won", json=examples.DESCRIPTION).json()
    assert {**described, "first_used_at": examples.EVENT_TYPE["first_used_at"]} == examples.EVENT_TYPE


def test_a_credential_is_needed_that_may_write_for_an_app(events_api: EventsService) -> None:
    """401 without one; 403 for another scope, for a key of no app and for a person's token."""
    assert events_api.guest().post("/v1/events", json=WON).status_code == 401
    assert events_api.guest(headers={"X-API-Key": "alk_no"}).post("/v1/events", json=WON).status_code == 401
    reader = events_api.client(scopes=[Scope.READ])
    assert reader.post("/v1/events", json=WON).json()["detail"] == "this needs the scope audit:write"
    no_app = events_api.client(app="").post("/v1/events", json=WON)
    assert (no_app.status_code, no_app.json()["type"]) == (403, "urn:audit-log:problem:no-app")
    assert "audit-log keys create <workspace> --scope audit:write --app-id <app>" in no_app.json()["detail"]
    claims = {
        "iss": "portal",
        "aud": "audit-log",
        "sub": "u1",
        "workspace": "w1",
        "scopes": [Scope.WRITE],
        "exp": int((NOON + timedelta(minutes=5)).timestamp()),
    }
    token = jwt.encode(claims, JWT_SECRET, "HS256")
    person = events_api.guest(headers={"Authorization": f"Bearer {token}"}).post("/v1/events", json=WON)
    assert person.json()["type"] == "urn:audit-log:problem:no-app"
    assert events_api.events == []


def test_the_stored_id_follows_from_workspace_app_and_retry_key(events_api: EventsService) -> None:
    """Nobody can name the event of another app or workspace, nor one of the product."""
    events_api.workspace("w2")
    native = str(uuid.uuid4())
    clients = [events_api.client(), events_api.client(app="erp"), events_api.client("w2")]
    ids = [
        client.post("/v1/events", json={**WON, "event_id": native}).json()["results"][0]["event_id"]
        for client in clients
    ]
    assert len({*ids, native}) == 4
    assert ids[0] == str(uuid.uuid5(NAMESPACE, f"2:w13:crmevent:{native}"))
    assert [event.event_id for event in events_api.events] == ids


def test_custom_types_are_listed_with_label_and_first_use(events_api: EventsService) -> None:
    """The first label stays known, and later events without one take it."""
    client = events_api.client(scopes=[Scope.WRITE])
    client.post("/v1/events", json={**WON, "label": "Deal won"})
    events_api.clock.now += timedelta(minutes=1)
    client.post("/v1/events", json={"events": [WON, {"event_type": "deal.lost"}]})
    expected = [
        ("deal.lost", "Deal Lost", "crm", "2026-03-14T12:01:00.000Z"),
        ("deal.won", "Deal won", "crm", "2026-03-14T12:00:00.000Z"),
    ]
    for reader in (client, events_api.client(app="", scopes=[Scope.READ])):
        data = reader.get("/v1/event-types").json()["data"]
        assert [(one["name"], one["label"], one["app_id"], one["first_used_at"]) for one in data] == expected
    assert events_api.client(scopes=[Scope.EXPORT]).get("/v1/event-types").status_code == 403
    events_api.workspace("w2")
    other = events_api.client("w2", scopes=[Scope.WRITE, Scope.ADMIN])
    assert other.get("/v1/event-types").json() == {"data": [], "complete": True}
    assert other.put("/v1/event-types/deal.won", json={"label": "Theirs"}).json()["first_used_at"] is None
    assert client.get("/v1/event-types").json()["data"][1]["label"] == "Deal won"
    assert [event.label for event in events_api.events] == ["Deal won", "Deal won", "Deal Lost"]


def test_a_type_can_have_a_schema_for_its_metadata(events_api: EventsService) -> None:
    """reject keeps events out that differ, with pointers; flag lets them in and says so."""
    client = events_api.client()
    described = client.put("/v1/event-types/deal.won", json=examples.DESCRIPTION)
    assert (described.status_code, described.json()["first_used_at"]) == (200, None)
    refused = client.post("/v1/events", json={**WON, "metadata": {"amount": -1}})
    assert refused.status_code == 422
    assert [one["pointer"] for one in refused.json()["errors"]] == ["/metadata/amount"]
    assert client.post("/v1/events", json={**WON, "metadata": {"amount": 1}}).status_code == 202
    assert client.put("/v1/event-types/deal.won", json={**examples.DESCRIPTION, "mode": "flag"}).status_code == 200
    assert client.post("/v1/events", json=WON).status_code == 202
    first, second = events_api.events
    assert (first.label, json.loads(first.metadata)) == ("Deal won", {"amount": 1})
    assert json.loads(second.metadata)["_schema_violations"] == ['/metadata: "amount" is a required property']
    kept = client.put("/v1/event-types/deal.won", json={}).json()
    assert (kept["label"], kept["schema"], kept["first_used_at"]) == ("Deal won", None, "2026-03-14T12:00:00.000Z")


def test_a_bad_description_of_a_type_is_refused_whole(events_api: EventsService) -> None:
    """Every fault at once: the name, unknown fields, the schema, the mode; and another app's type stays its own."""
    client = events_api.client()
    body = {"label": 5, "schema": {"$ref": "https://example.com"}, "mode": "maybe", "x": 1}
    answer = client.put("/v1/event-types/Deal", json=body)
    assert answer.status_code == 422
    found = {one.get("pointer", one.get("name")) for one in answer.json()["errors"]}
    assert found == {"name", "/label", "/schema", "/mode", "/x"}
    for schema in ({"type": 5}, {"properties": {"a": {"pattern": "(?=a)b"}}}, {"type": "object", "x": "y" * 20_000}):
        assert client.put("/v1/event-types/deal.won", json={"schema": schema}).status_code == 422, schema
    assert client.put("/v1/event-types/auth.login_failed", json={}).status_code == 422
    assert client.put("/v1/event-types/deal.won", json={}).status_code == 200
    other = events_api.client(app="erp").put("/v1/event-types/deal.won", json={})
    assert (other.status_code, other.json()["detail"]) == (403, "it is crm's")


def test_too_much_is_refused_until_the_window_moves_on(start_events_api: StartEventsApi) -> None:
    """429 with Retry-After for events and for requests, nothing recorded, and admins see how many were refused."""
    service = start_events_api(rate_limit_events="10/hour", rate_limit_requests="4/hour")
    client, admin = service.client(), service.client(scopes=[Scope.ADMIN])
    assert client.post("/v1/events", json={"events": [WON] * 8}).status_code == 202
    many = client.post("/v1/events", json={"events": [WON] * 3})
    assert (many.status_code, many.json()["limit"]) == (429, "10 events per hour")
    assert 1 <= int(many.headers["Retry-After"]) <= 3600
    assert client.post("/v1/events", json={"events": [WON] * 2}).status_code == 202
    # Another key of the same app counts with it.
    assert service.client().post("/v1/events", json=WON).status_code == 429
    assert service.client().post("/v1/events", json=WON).json()["limit"] == "4 requests per hour"
    assert service.client(app="erp").post("/v1/events", json=WON).status_code == 202
    assert len(service.events) == 11
    refused = {"day": "2026-03-14", "app_id": "crm", "reason": "rate_limit", "events": 5}
    assert admin.get("/v1/refused-events").json() == {"data": [refused]}
    assert client.get("/v1/refused-events").status_code == 403
    service.workspace("w2")
    assert service.client("w2", scopes=[Scope.ADMIN]).get("/v1/refused-events").json() == {"data": []}
    assert 'audit_events_api_refused_total{reason="rate_limit"} 5.0' in admin.get("/metrics").text


def test_failed_keys_are_limited_by_address(start_events_api: StartEventsApi) -> None:
    """Then nothing is looked up; an app whose key was good just now goes on."""
    service = start_events_api(rate_limit_failures="2/hour")
    client, guest = service.client(), service.guest(headers={"X-API-Key": "alk_guess"})
    assert client.get("/v1/event-types").status_code == 200
    assert [guest.get("/v1/event-types").status_code for _ in range(3)] == [401, 401, 429]
    assert client.get("/v1/event-types").status_code == 200


def test_a_full_spool_is_said_and_nothing_is_accepted_that_was_not_taken(start_events_api: StartEventsApi) -> None:
    """503 with Retry-After and honest results; the service is not ready; a repeat records the rest once."""
    service = start_events_api(spool_max_mib=1)
    client, large = service.client(), {f"k{number}": "x" * 500 for number in range(50)}
    service.broker.set(up=False)
    batch = {"events": [{**WON, "event_id": f"e{number}", "metadata": large} for number in range(60)]}
    answer = client.post("/v1/events", json=batch)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    taken = statuses(answer).count("accepted")
    assert 0 < taken < 60
    assert statuses(answer) == ["accepted"] * taken + ["rejected"] * (60 - taken)
    assert service.log.stats().spooled_events == taken
    alone = client.post("/v1/events", json={**WON, "event_id": "alone", "metadata": large})
    assert (alone.status_code, "results" in alone.json()) == (503, False)
    assert service.log.stats().refused >= 2
    assert "the spool is full" in client.get("/readyz").json()["detail"]
    assert f"audit_spool_events {float(taken)}" in client.get("/metrics").text
    service.broker.set(up=True)
    assert len(service.events) == taken
    eventually(lambda: client.post("/v1/events", json=batch).status_code == 202, 20, "there is room again")
    assert set(statuses(client.post("/v1/events", json=batch))) == {"duplicate"}
    assert len({event.event_id for event in service.events}) == len(service.events) == 60
    assert client.get("/readyz").status_code == 200


def test_counts_of_refused_events_outlive_the_service(start_events_api: StartEventsApi) -> None:
    """What is still in memory at the end is written down, and the next service adds to it."""
    first = start_events_api()
    assert first.client().post("/v1/events", json={}).status_code == 422
    first.close()
    second = start_events_api()
    second.client().post("/v1/events", json={"events": [{}, {}]})
    refused = {"day": "2026-03-14", "app_id": "crm", "reason": "invalid", "events": 3}
    assert second.client(scopes=[Scope.ADMIN]).get("/v1/refused-events").json() == {"data": [refused]}


def test_without_its_database_the_service_takes_no_keys(events_api: EventsService, tmp_path: Path) -> None:
    """503 and nothing recorded while keys can't be written; events without keys need no table."""
    client = events_api.client()
    assert client.post("/v1/events", json=WON).status_code == 202
    with contextlib.closing(sqlite3.connect(tmp_path / "control.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        answer = client.post("/v1/events", json={**WON, "event_id": "k"})
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:audit-log:problem:unavailable")
        assert answer.headers["Retry-After"] == "5"
        assert client.post("/v1/events", json=WON).status_code == 202
    assert len(events_api.events) == 2
    assert statuses(client.post("/v1/events", json={**WON, "event_id": "k"})) == ["accepted"]


def test_the_service_says_how_it_is(events_api: EventsService, tmp_path: Path) -> None:
    """Alive, ready until the spool or the database is gone, and metrics that name routes, never values."""
    guest = events_api.guest()
    assert (guest.get("/healthz").text, guest.get("/readyz").text) == ("ok\n", "ready\n")
    events_api.client().put("/v1/event-types/some.secret", json={})
    text = guest.get("/metrics").text
    assert 'audit_events_api_requests_total{route="/v1/event-types/{name}",status="200"} 1.0' in text
    assert "secret" not in text
    (tmp_path / "spool").rename(tmp_path / "elsewhere")
    (tmp_path / "spool").write_text("not a folder")
    answer = guest.get("/readyz")
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:audit-log:problem:not-ready")
    assert "the spool's folder can't be written" in answer.json()["detail"]
    (tmp_path / "spool").unlink()
    (tmp_path / "elsewhere").rename(tmp_path / "spool")
    assert guest.get("/readyz").status_code == 200


def test_other_addresses_and_methods_are_problems(events_api: EventsService) -> None:
    """Reading is answered by naming the query service; parameters are refused; nothing redirects."""
    client = events_api.client()
    answer = client.get("/v1/events")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    assert answer.json()["detail"] == "events are read from the query service, not from the Events API"
    assert client.post("/v1/events?dry=1", json=WON).json()["errors"][0]["name"] == "dry"
    for path in ("/v1/events/", "/v1", "/openapi", "/redoc"):
        found = client.get(path)
        assert (found.status_code, found.json()["type"]) == (404, "urn:audit-log:problem:not-found"), path
    assert events_api.events == []


def test_the_reference_is_a_page_without_other_peoples_assets(events_api: EventsService) -> None:
    """It shows every address, field and type of problem, loads nothing, and its policy allows nothing else."""
    answer = events_api.guest().get("/docs")
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    document = events_api.guest().get("/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    for path in document["paths"]:
        assert path in answer.text
    for known in examples.KNOWN:
        assert known.kind.uri in answer.text
    for name in document["components"]["schemas"]["Event"]["properties"]:
        assert f"<code>{name}</code>" in answer.text
    assert "<script" not in answer.text
    assert "src=" not in answer.text.replace("img-src", "")


def test_what_was_accepted_is_in_kafka_or_on_the_disk_after_the_end(start_events_api: StartEventsApi) -> None:
    """A service that is stopped while Kafka is away leaves its events to the next one."""
    service = start_events_api(exit_timeout_s=0.1)
    service.broker.set(up=False)
    answer = service.client().post("/v1/events", json={"events": [WON] * 5})
    service.close()
    assert service.broker.events == []
    service.broker.set(up=True)
    successor = start_events_api(service.broker, adopt_interval_s=0.1)
    successor.client().post("/v1/events", json=WON)
    wanted = {one["event_id"] for one in answer.json()["results"]}
    eventually(lambda: wanted <= {event.event_id for event in service.broker.events}, 20, "the spool is adopted")


def test_instants_are_the_servers(events_api: EventsService) -> None:
    """`received_at` is when the server got it; `occurred_at` keeps its microseconds."""
    events_api.client().post("/v1/events", json={**WON, "occurred_at": "2026-03-14T13:00:00.123456+01:00"})
    (event,) = events_api.events
    assert event.occurred_at == datetime.fromisoformat("2026-03-14T12:00:00.123456+00:00")
    assert event.received_at == NOON
