"""Operators manage workspaces, plans and keys over HTTP; nobody else can, and every change is reported."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from audit_infra.access import Access, Scope
from tests.builders import NOON
from tests.support.waiting import eventually

if TYPE_CHECKING:
    import httpx

    from audit_schemas.event import Event
    from tests.support.postgres import PostgresProcess
    from tests.support.query_service import QueryService

WORKSPACES, KEYS = "/v1/admin/workspaces", "/v1/admin/keys"


@pytest.fixture
def service(query: QueryService) -> QueryService:
    """A query service with the workspace w1."""
    return query


@pytest.fixture
def operator(service: QueryService) -> httpx.Client:
    """A client whose key may administer and nothing else."""
    return service.client("w1", [Scope.ADMIN])


def told(service: QueryService, count: int) -> list[Event]:
    """What the log was told of changes, in order."""

    def found() -> list[Event]:
        return [one for one in service.broker.events if not one.event_type.startswith("audit_log.")]

    eventually(lambda: len(found()) >= count, 20, f"{count} changes told")
    return found()


def codes(answer: httpx.Response) -> set[tuple[str, str]]:
    """Where something is wrong and what."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return {(one.get("pointer", one.get("name")), one["code"]) for one in answer.json()["errors"]}


def kind(answer: httpx.Response) -> tuple[int, str]:
    """The status and type of a problem."""
    return answer.status_code, answer.json()["type"].removeprefix("urn:audit-log:problem:")


def test_a_workspace_is_made_once_and_moved_to_another_plan(service: QueryService, operator: httpx.Client) -> None:
    """The same again is no error and no change; another plan holds with the next request; both are reported."""
    wanted = {"id": "w2", "plan": "starter", "name": "Two"}
    made = operator.post(WORKSPACES, json=wanted)
    assert (made.status_code, made.headers["location"]) == (201, f"{WORKSPACES}/w2")
    assert made.json()["data"] == {**wanted, "created_at": "2026-03-14T12:00:00.000Z"}
    again = operator.post(WORKSPACES, json=wanted)
    assert (again.status_code, again.json()) == (200, made.json())
    assert kind(operator.post(WORKSPACES, json=wanted | {"plan": "enterprise"})) == (409, "conflict")
    assert operator.get(f"{WORKSPACES}/w2").json() == made.json()
    member = service.client("w2")
    assert member.get("/v1/events").json()["preview"]["plan"] == "starter"
    for _ in range(2):
        moved = operator.patch(f"{WORKSPACES}/w2", json={"plan": "advanced"})
        assert (moved.status_code, moved.json()["data"]["plan"]) == (200, "advanced")
    assert member.get("/v1/events").json()["preview"] is None
    made_event, moved_event = told(service, 2)
    assert [(one.event_type, one.workspace_id) for one in (made_event, moved_event)] == [
        ("workspace.created", "w2"),
        ("workspace.plan_changed", "w2"),
    ]
    assert json.loads(moved_event.changes) == [{"path": "plan", "old": "starter", "new": "advanced"}]
    assert {one.actor.type for one in (made_event, moved_event)} == {"api_key"}


def test_a_key_is_told_once_works_until_it_expires_and_can_be_revoked(
    service: QueryService, operator: httpx.Client
) -> None:
    """The secret is in no later answer and in no report; revoking twice is no error, and reported once."""
    wanted = {"workspace": "w1", "scopes": ["audit:read"], "name": "CI", "expires_at": "2026-03-14T14:00:00+01:00"}
    answer = operator.post(KEYS, json=wanted)
    assert answer.status_code == 201
    made = answer.json()["data"]
    secret = made.pop("secret")
    assert made["expires_at"] == "2026-03-14T13:00:00.000Z"
    assert operator.get(answer.headers["location"]).json() == {"data": made}
    assert made in operator.get(KEYS, params={"workspace": "w1"}).json()["data"]
    reader = service.guest(headers={"X-API-Key": secret})
    assert reader.get("/v1/events").status_code == 200
    service.clock.now = NOON + timedelta(hours=1)
    assert reader.get("/v1/events").status_code == 401
    service.clock.now = NOON
    for _ in range(2):
        revoked = operator.delete(f"{KEYS}/{made['id']}")
        assert (revoked.status_code, revoked.content) == (204, b"")
    assert reader.get("/v1/events").status_code == 401
    assert operator.get(f"{KEYS}/{made['id']}").json()["data"]["revoked_at"] == "2026-03-14T12:00:00.000Z"
    found = told(service, 2)
    assert [(one.event_type, one.workspace_id, one.targets[0].id) for one in found] == [
        ("api_key.created", "w1", made["id"]),
        ("api_key.revoked", "w1", made["id"]),
    ]
    assert json.loads(found[0].metadata)["scopes"] == ["audit:read"]
    assert secret not in repr(found)


def test_lists_are_walked_page_by_page(service: QueryService, operator: httpx.Client) -> None:
    """Each row once, also keys of one instant; the last page says that it is the last."""
    for number in range(5):
        service.workspace(f"x{number}")
        service.access.create_key("x0", [Scope.READ], f"key {number}", now=NOON)
    for start, wanted in ((WORKSPACES, 6), (f"{KEYS}?workspace=x0", 5), (KEYS, 6)):
        found, address = list[str](), operator.get(start, params={"limit": 2} if "?" not in start else None).json()
        while True:
            found += [one["id"] for one in address["data"]]
            if address["next"] is None:
                break
            address = operator.get(address["next"]).json()
        assert len(found) == len(set(found)) == wanted
    assert operator.get(f"{KEYS}?workspace=x0&limit=3").json()["next"].startswith(f"{KEYS}?workspace=x0&limit=3&after=")


def test_only_operators_get_in(service: QueryService) -> None:
    """Every address and method, with all other scopes and with none."""
    others = service.client("w1", set(Scope) - {Scope.ADMIN})
    guest = service.guest()
    for method, address in (
        ("GET", WORKSPACES),
        ("POST", WORKSPACES),
        ("GET", f"{WORKSPACES}/w1"),
        ("PATCH", f"{WORKSPACES}/w1"),
        ("GET", KEYS),
        ("POST", KEYS),
        ("GET", f"{KEYS}/0"),
        ("DELETE", f"{KEYS}/0"),
    ):
        assert kind(others.request(method, address)) == (403, "forbidden")
        assert kind(guest.request(method, address)) == (401, "unauthenticated")


def test_bodies_are_checked_and_all_faults_told(service: QueryService, operator: httpx.Client) -> None:
    """With a pointer each; and what is no JSON, no object, or too much of it has its own problem."""
    refused = operator.post(WORKSPACES, json={"id": "no blanks", "plan": "gold", "name": "a\0b", "color": "red"})
    assert kind(refused) == (422, "wrong-shape")
    assert codes(refused) == {
        ("/id", "string_pattern_mismatch"),
        ("/plan", "unknown_value"),
        ("/name", "string_pattern_mismatch"),
        ("/color", "unknown_field"),
    }
    assert "enterprise" in next(one["allowed"] for one in refused.json()["errors"] if one["pointer"] == "/plan")
    wrong: dict[str, Any] = {"workspace": 5, "scopes": ["audit:read", "all"], "expires_at": "tomorrow", "app_id": None}
    assert codes(operator.post(KEYS, json=wrong)) == {
        ("/workspace", "wrong_type"),
        ("/scopes/1", "unknown_value"),
        ("/expires_at", "datetime_from_date_parsing"),
        ("/app_id", "wrong_type"),
    }
    good = {"workspace": "w1", "scopes": ["audit:read"]}
    for change, fault in (
        ({"expires_at": "2026-03-14T12:00:00Z"}, ("/expires_at", "value_error")),
        ({"expires_at": "2027-03-14T12:00:00"}, ("/expires_at", "timezone_aware")),
        ({"expires_at": 4102444800}, ("/expires_at", "value_error")),
        ({"scopes": []}, ("/scopes", "too_short")),
        ({"workspace": "nowhere"}, ("/workspace", "unknown_workspace")),
        ({"workspace": "no\0where"}, ("/workspace", "unknown_workspace")),
    ):
        assert codes(operator.post(KEYS, json=good | change)) == {fault}, change
    assert codes(operator.patch(f"{WORKSPACES}/w1", json={})) == {("/plan", "missing")}
    typed = {"Content-Type": "application/json"}
    assert kind(operator.post(KEYS, content=b"[]", headers=typed)) == (422, "wrong-shape")
    assert kind(operator.post(KEYS, content=b"{", headers=typed)) == (400, "unreadable-body")
    assert kind(operator.post(KEYS, content=b'{"a": 1, "a": 2}', headers=typed)) == (400, "unreadable-body")
    assert kind(operator.post(KEYS, content=b"x" * 70_000, headers=typed)) == (413, "too-large")
    assert kind(operator.post(KEYS, data={"workspace": "w1"})) == (415, "unsupported-media-type")
    assert kind(operator.post(KEYS, json=good, headers={"Accept": "text/html"})) == (406, "not-acceptable")
    assert kind(operator.post(f"{KEYS}?dry=1", json=good)) == (400, "invalid-request")
    assert told(service, 0) == []


def test_addresses_and_parameters_are_checked(operator: httpx.Client) -> None:
    """All faults at once; ids that can't be are just unknown; wrong verbs name the right ones."""
    refused = operator.get(f"{WORKSPACES}?limit=0&color=red&after=a&after=b")
    assert codes(refused) == {("limit", "out_of_range"), ("color", "unknown_parameter"), ("after", "repeated")}
    assert codes(operator.get(f"{KEYS}?after=nothing")) == {("after", "unknown_value")}
    assert codes(operator.get(f"{KEYS}?limit=%C2%B2&workspace=%00")) == {
        ("limit", "out_of_range"),
        ("workspace", "malformed"),
    }
    for address in (f"{WORKSPACES}/nowhere", f"{WORKSPACES}/%00", f"{KEYS}/0123456789abcdef", f"{KEYS}/%F0%9F%A6%89"):
        assert kind(operator.get(address)) == (404, "not-found")
    assert kind(operator.patch(f"{WORKSPACES}/nowhere", json={"plan": "free"})) == (404, "not-found")
    assert kind(operator.delete(f"{KEYS}/nothing")) == (404, "not-found")
    refused = operator.put(WORKSPACES)
    assert kind(refused) == (405, "method-not-allowed")
    assert set(refused.headers["allow"].split(", ")) == {"GET", "HEAD", "POST"}


def test_what_no_text_of_postgresql_can_hold_is_refused_there_too(postgres: PostgresProcess) -> None:
    """Ids with NUL are unknown, names with it refused: never an error of the driver."""
    from audit_infra.access import AccessError

    access = Access.open(postgres.database())
    access.create_workspace("w1", "starter")
    key = access.create_key("w1", [Scope.READ]).key
    for attempt in (
        lambda: access.get_workspace("w\0"),
        lambda: access.set_plan("w\0", "starter"),
        lambda: access.create_workspace("w2", "starter", "a\0b"),
        lambda: access.create_key("w1", [Scope.READ], "\ud800"),
        lambda: access.create_key("w1", [Scope.READ], "n", "a" * 65),
        lambda: access.revoke_key("\0"),
    ):
        with pytest.raises(AccessError):
            attempt()
    assert access.list_keys("w1", after=key, most=1) == []
    assert [one.id for one in access.list_workspaces(after="w0", most=1)] == ["w1"]
    access.close()
