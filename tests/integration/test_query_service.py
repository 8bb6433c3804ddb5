"""The rest of the query service: facets, the catalogue, health, metrics, the description of the API."""

from __future__ import annotations

from datetime import timedelta

from audit_infra.access import Scope
from audit_schemas.catalogue import load
from tests.builders import NOON, event
from tests.support.query_service import QueryService


def test_the_user_facet_finds_people_by_name_address_or_id(query: QueryService) -> None:
    """Most recently active first, each with exactly the value the filter takes; search ignores case."""
    people = (("internal_user", "u1", "Ada Lovelace"), ("client", "u2", "Ürsula Öz"), ("api_key", "u1", "Deploy key"))
    for number, (kind, identity, name) in enumerate(people):
        query.tables.put(
            event(
                actor={"type": kind, "id": identity, "name": name, "email": f"{number}@example.com"},
                occurred_at=NOON - timedelta(hours=number),
            )
        )
    client = query.client()

    def values(search: str = "") -> list[str]:
        answer = client.get("/v1/facets/users", params={"search": search} if search else {})
        assert answer.status_code == 200, answer.text
        return [one["value"] for one in answer.json()["data"]]

    assert values() == ["internal_user:u1", "client:u2", "api_key:u1"]
    assert values("ürsula ö") == ["client:u2"]
    assert values("2@EXAMPLE") == ["api_key:u1"]
    assert values("u1") == ["internal_user:u1", "api_key:u1"]
    assert values("%") == []
    for value in values():
        assert len(client.get("/v1/events", params={"user": value}).json()["data"]) == 1


def test_a_user_who_changed_the_name_is_one_user(query: QueryService) -> None:
    """The facet shows the name of the latest event, also when the older one arrives later."""
    query.tables.put(event(actor={"type": "client", "id": "c1", "name": "New"}))
    query.tables.put(
        event(actor={"type": "client", "id": "c1", "name": "Old"}, occurred_at=NOON - timedelta(days=1)), partition=1
    )
    found = query.client().get("/v1/facets/users").json()["data"]
    assert [(one["value"], one["name"]) for one in found] == [("client:c1", "New")]


def test_the_event_facet_lists_what_happened_by_label(query: QueryService) -> None:
    """Native types with the catalogue's label, custom ones with their own; each once, native ones also without events."""
    query.tables.put(
        event(),
        event(occurred_at=NOON - timedelta(days=40)),
        event(category="developer", event_type="deal.won", label="Deal won", app_id="crm"),
    )
    client = query.client()
    found = client.get("/v1/facets/events").json()["data"]
    assert [one for one in found if one["count"]] == [
        {"value": "file.downloaded", "label": "File Downloaded", "category": "files", "app_id": None, "count": 2},
        {"value": "deal.won", "label": "Deal won", "category": "developer", "app_id": "crm", "count": 1},
    ]
    assert {one["value"] for one in found} == {"deal.won", *(one.name for one in load())}
    assert [one["value"] for one in client.get("/v1/facets/events?search=DEAL").json()["data"]] == ["deal.won"]
    assert client.get("/v1/facets/events?serch=x").status_code == 400


def test_the_catalogue_tells_every_native_type(query: QueryService) -> None:
    """Names, labels and categories as shipped."""
    data = query.client(scopes=[Scope.READ]).get("/v1/catalogue").json()["data"]
    assert [one["name"] for one in data["types"]] == [one.name for one in load()]
    assert len(data["categories"]) == 12


def test_the_service_says_how_it_is(query: QueryService) -> None:
    """Alive, ready, and metrics that name routes, never values."""
    guest, client = query.guest(), query.client()
    assert guest.get("/healthz").status_code == 200
    assert guest.get("/readyz").status_code == 200
    client.get("/v1/events?user=somebody-secret")
    client.get("/v1/events/some-id")
    text = guest.get("/metrics").text
    assert 'audit_query_requests_total{route="/v1/events",status="200"} 1.0' in text
    assert 'route="/v1/events/{event_id}",status="404"' in text
    assert "secret" not in text
    assert "some-id" not in text


def test_what_is_not_here_is_a_problem_too(query: QueryService) -> None:
    """Unknown addresses and methods answer as RFC 9457 says, and sending events is pointed elsewhere."""
    missing = query.guest().get("/v2/events")
    assert missing.status_code == 404
    assert missing.headers["content-type"] == "application/problem+json"
    sent = query.guest().post("/v1/events", json={})
    assert sent.status_code == 405
    assert "Events API" in sent.json()["detail"]


def test_without_the_local_stack_there_is_no_demo(query: QueryService) -> None:
    """Host shell and plan switch are served with AUDIT_LOCAL only; the audit log always."""
    plain = QueryService(query.clickhouse_url, query.database, query.folder, {"local": False})
    try:
        browser = plain.browser()
        assert browser.get("/audit-log").status_code == 200
        for address in ("/", "/settings", "/upgrade"):
            assert browser.get(address).status_code == 404
        assert browser.post("/upgrade", data={"plan": "starter"}).status_code == 404
        assert "make run" not in plain.guest().get("/audit-log").text
    finally:
        plain.close()
