"""The log's own use in the log: what is recorded, how often, as whom, and what happens when it can't be."""

from __future__ import annotations

import json
from contextlib import ExitStack
from datetime import timedelta
from html import unescape
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from audit_infra.access import Scope
from tests.builders import NOON, event
from tests.conftest import run_statement
from tests.support.query_service import QueryService
from tests.support.rows import Tables
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from audit_schemas.event import Event
    from tests.conftest import StartClickHouse
    from tests.support.servers import ClickHouseServer

VIEWED, SEARCHED = "audit_log.viewed", "audit_log.searched"
REQUESTED, COMPLETED, FAILED = (f"audit_log.export_{end}" for end in ("requested", "completed", "failed"))


@pytest.fixture
def start(clickhouse: ClickHouseServer, database: str, tmp_path: Path) -> Iterator[Callable[..., QueryService]]:
    """Starts a query service with settings of the test's own."""
    tables = Tables(clickhouse.url, database)
    tables.migrate()
    tables.close()
    with ExitStack() as ends:

        def started(**overrides: Any) -> QueryService:
            service = QueryService(clickhouse.url, database, tmp_path, overrides)
            ends.callback(service.close)
            service.workspace()
            return service

        yield started


def said(query: QueryService, count: int) -> list[Event]:
    """The events about the log's own use, once there are so many; they arrive in the order they happened."""
    eventually(lambda: len(query.broker.events) >= count, 20, f"{count} events")
    return query.broker.events


def types(found: list[Event]) -> list[str]:
    return [one.event_type for one in found]


def metadata(one: Event) -> Any:
    return json.loads(one.metadata)


def test_a_session_on_the_page_is_told_once_an_hour(query: QueryService) -> None:
    """With who, from where and in which session, under the request's id; paging and looking at events add nothing."""
    query.tables.put(*(event(occurred_at=NOON - timedelta(minutes=minute)) for minute in range(60)))
    browser = query.browser()
    browser.headers["User-Agent"] = "Firefox"
    first = browser.get("/audit-log")
    oldest = first.text.rpartition('data-place="')[2].partition('"')[0]
    older = f"/audit-log?at={unescape(oldest)}"
    for address in (older, "/audit-log/choose/user?search=ada", "/settings", "/audit-log"):
        assert browser.get(address).status_code == 200
    query.clock.now += timedelta(hours=1)
    again = browser.get("/audit-log")
    found = said(query, 2)
    assert types(found) == [VIEWED, VIEWED]
    one = found[0]
    assert one.actor.model_dump() == {
        "type": "internal_user",
        "id": "u1",
        "name": "Ada Lovelace",
        "email": "ada@example.com",
    }
    assert (one.workspace_id, one.source, one.ip, one.user_agent) == ("w1", "web", "127.0.0.1", "Firefox")
    assert [target.model_dump() for target in one.targets] == [{"type": "audit_log", "id": "w1", "name": ""}]
    assert [each.request_id for each in found] == [answer.headers["x-request-id"] for answer in (first, again)]
    assert found[0].session_id == found[1].session_id != ""
    assert browser.cookies["audit_session"] not in one.model_dump_json()
    assert (one.producer.service, one.category) == ("audit-query", "developer")


def test_each_apply_on_the_page_is_a_search(query: QueryService) -> None:
    """Not the next pages, nor the same again, nor what the page asks for by itself; another filter is, and the first
    one after it.
    """
    query.tables.put(*(event(occurred_at=NOON - timedelta(minutes=minute)) for minute in range(60)))
    browser = query.browser()
    row = query.client().get("/v1/events?user=internal_user:u1&limit=5").json()["data"][4]
    said(query, 2)
    for address in (
        "/audit-log",
        "/audit-log?user=internal_user:u1&since=2026-03-01",
        "/audit-log?user=internal_user:u1&since=2026-03-01",
        f"/audit-log?user=internal_user:u1&since=2026-03-01&at={row['occurred_at']},{row['event_id']}",
        "/audit-log/choose/user?search=ada",
        "/audit-log?event=file.moved",
        "/audit-log?user=internal_user:u1&since=2026-03-01",
        "/audit-log",
        "/audit-log?user=internal_user:u1&since=2026-03-01",
    ):
        assert browser.get(address).status_code == 200
    found = said(query, 7)[2:]
    assert types(found) == [VIEWED, SEARCHED, SEARCHED, SEARCHED, SEARCHED]
    ada = {"filter": {"user": ["internal_user:u1"], "since": ["2026-03-01"], "tz": ["UTC"]}}
    assert [metadata(one) for one in found[1:]] == [ada, {"filter": {"event": ["file.moved"]}}, ada, ada]


def test_a_program_that_asks_again_and_again_does_not_fill_the_log(query: QueryService) -> None:
    """Per key and hour one view, and one search per filter, whatever the range; refused requests are none."""
    client = query.client()
    for second in range(5):
        since = (NOON + timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%SZ")
        for filter_ in ("event=file.moved&", "category=crm&", ""):
            assert client.get(f"/v1/events?{filter_}since={since}").status_code == 200
    assert client.get("/v1/events?colour=red").status_code == 400
    assert client.get("/v1/events/none").status_code == 404
    client.get("/v1/facets/users")
    other = query.client(scopes=[Scope.READ])
    assert other.get("/v1/events").status_code == 200
    query.clock.now += timedelta(hours=1)
    assert client.get("/v1/events?category=crm").status_code == 200
    found = said(query, 7)
    assert types(found) == [VIEWED, SEARCHED, SEARCHED, SEARCHED, VIEWED, VIEWED, SEARCHED]
    assert [list(metadata(one)["filter"]) for one in found if one.event_type == SEARCHED] == [
        ["event", "since"],
        ["category", "since"],
        ["since"],
        ["category"],
    ]
    keys = {key.id for key in query.access.list_keys("w1")}
    assert {one.actor.id for one in found} == keys
    assert {(one.actor.type, one.source, one.session_id) for one in found} == {("api_key", "api", "")}


def test_an_export_is_told_from_its_request_to_its_end(query: QueryService) -> None:
    """With the filter, the options, the rows and the bytes, under one id."""
    query.tables.put(*(event(metadata={"note": 'a "\r\n" b'}) for _ in range(3)), event(event_type="file.moved"))
    answer = query.client().get("/v1/export?event=file.downloaded&raw=1")
    requested, completed = said(query, 2)
    assert types([requested, completed]) == [REQUESTED, COMPLETED]
    about = {"filter": {"event": ["file.downloaded"]}, "format": "csv", "raw": "1"}
    assert metadata(requested) == about
    assert metadata(completed) == about | {"rows": 3, "bytes": len(answer.content)}
    assert requested.targets == completed.targets
    assert [target.type for target in requested.targets] == ["export", "audit_log"]
    assert {one.request_id for one in (requested, completed)} == {answer.headers["x-request-id"]}
    page = query.browser().get("/audit-log/export?user=internal_user:u1")
    assert metadata(said(query, 4)[3]) == {
        "filter": {"user": ["internal_user:u1"]},
        "format": "csv",
        "bom": "1",
        "rows": 4,
        "bytes": len(page.content),
    }
    assert query.client(scopes=[Scope.READ]).get("/v1/export").status_code == 403
    assert types(query.broker.events) == [REQUESTED, COMPLETED] * 2


def test_an_export_that_broke_off_is_told_as_failed(start_clickhouse: StartClickHouse, tmp_path: Path) -> None:
    """When the client goes it was interrupted, when ClickHouse dies it broke off, with what had been sent until then."""
    server = start_clickhouse()
    run_statement(server.url, "CREATE DATABASE w")
    tables = Tables(server.url, "w")
    tables.migrate()
    tables.put(event())
    tables.multiply(400_000)
    tables.close()
    query = QueryService(server.url, "w", tmp_path)
    query.workspace()
    try:
        client = query.client()
        with client.stream("GET", "/v1/export") as answer:
            next(answer.iter_bytes())
        failed = said(query, 2)[1]
        assert (failed.event_type, failed.outcome, failed.outcome_reason) == (FAILED, "failure", "interrupted")
        assert 0 < metadata(failed)["rows"] < 400_001
        with pytest.raises(httpx.RemoteProtocolError), client.stream("GET", "/v1/export") as answer:
            chunks = answer.iter_bytes()
            next(chunks)
            server.kill()
            for _ in chunks:
                pass
        assert (said(query, 4)[3].event_type, said(query, 4)[3].outcome_reason) == (FAILED, "broke_off")
        assert client.get("/v1/export").status_code == 503
        assert (said(query, 6)[5].event_type, metadata(said(query, 6)[5])["bytes"]) == (FAILED, 0)
    finally:
        query.close()


def test_reading_goes_on_when_nothing_can_be_recorded(start: Callable[..., QueryService], tmp_path: Path) -> None:
    """A spool that can't be used costs the event, which is counted, and never the page; an export is refused."""
    (tmp_path / "file").write_text("in the way")
    query = start(spool_dir=tmp_path / "file" / "spool")
    client = query.client()
    assert client.get("/v1/events?category=crm").status_code == 200
    assert query.browser().get("/audit-log").status_code == 200
    refused = client.get("/v1/export")
    assert refused.status_code == 503
    assert refused.json()["type"] == "urn:audit-log:problem:not-recorded"
    assert refused.headers["retry-after"] == "5"
    assert query.browser().get("/audit-log/export").status_code == 503
    assert "audit_query_self_audit_lost_total 3.0" in query.guest().get("/metrics").text
    assert client.get("/readyz").status_code == 200


def test_what_could_not_be_recorded_is_tried_again(start: Callable[..., QueryService], tmp_path: Path) -> None:
    """A view that was lost is told with the next page, once the spool can be used."""
    (tmp_path / "file").write_text("in the way")
    query = start(spool_dir=tmp_path / "file" / "spool")
    client = query.client()
    assert client.get("/v1/events?category=crm").status_code == 200
    (tmp_path / "file").unlink()
    assert client.get("/v1/events?category=crm").status_code == 200
    assert types(said(query, 2)) == [VIEWED, SEARCHED]


def test_events_wait_on_the_disk_while_kafka_is_away(query: QueryService) -> None:
    """Reading and exporting go on; the events arrive when Kafka is back."""
    query.broker.set(up=False)
    assert query.client().get("/v1/events").status_code == 200
    assert query.client().get("/v1/export").status_code == 200
    assert query.broker.events == []
    query.broker.set(up=True)
    assert types(said(query, 3)) == [VIEWED, REQUESTED, COMPLETED]


def test_the_service_ends_with_everything_recorded(query: QueryService) -> None:
    """What was taken has reached Kafka when the server has stopped."""
    assert query.client().get("/v1/events").status_code == 200
    query.close()
    assert types(query.broker.events) == [VIEWED]


def test_nothing_is_recorded_when_told_so(start: Callable[..., QueryService], tmp_path: Path) -> None:
    """AUDIT_SELF_AUDIT=0 leaves no event and no spool."""
    query = start(self_audit=False)
    assert query.client().get("/v1/events").status_code == 200
    assert query.client().get("/v1/export").status_code == 200
    query.close()
    assert not (tmp_path / "spool").exists()
    assert query.broker.transports == []


def test_forwarded_addresses_count_only_from_trusted_proxies(query: QueryService) -> None:
    """Anybody can write a header; without trusted proxies the connection says who asks."""
    forwarded = {"X-Forwarded-For": "203.0.113.9"}
    query.client().get("/v1/events", headers=forwarded)
    assert said(query, 1)[0].ip == "127.0.0.1"


def test_behind_a_trusted_proxy_the_client_is_told(start: Callable[..., QueryService]) -> None:
    """The nearest address that is no proxy's."""
    query = start(trusted_proxies="127.0.0.1, 10.0.0.0/8")
    query.client().get("/v1/events", headers={"X-Forwarded-For": "198.51.100.1, 203.0.113.9, 10.1.2.3"})
    assert said(query, 1)[0].ip == "203.0.113.9"


def test_switching_the_plan_is_told_by_whoever_did_it(query: QueryService) -> None:
    """Before and after; switching to the same plan is no change."""
    browser = query.browser()
    form = browser.get("/upgrade").text
    token = form.split('name="form_token" value="')[1].split('"')[0]
    for plan in ("enterprise", "starter"):
        data = {"form_token": token, "plan": plan}
        headers = {"Origin": query.url}
        assert browser.post("/upgrade", data=data, headers=headers, follow_redirects=False).status_code == 303
    (found,) = said(query, 1)
    assert (found.event_type, found.actor.id, found.source) == ("workspace.plan_changed", "u1", "web")
    assert json.loads(found.changes) == [{"path": "plan", "old": "enterprise", "new": "starter"}]


def test_what_operators_change_is_told_in_the_workspace_that_it_is_about(query: QueryService) -> None:
    """By whoever asked for it, whose own workspace is another one; what was so already is not told again."""
    query.workspace("operators")
    operator = query.client("operators", [Scope.ADMIN])
    assert operator.patch("/v1/admin/workspaces/w1", json={"plan": "advanced"}).status_code == 200
    assert operator.patch("/v1/admin/workspaces/w1", json={"plan": "advanced"}).status_code == 200
    made = operator.post("/v1/admin/keys", json={"workspace": "w1", "scopes": ["audit:read"], "name": "SIEM"})
    key = made.json()["data"]["id"]
    assert operator.delete(f"/v1/admin/keys/{key}").status_code == 204
    found = said(query, 3)
    assert types(found) == ["workspace.plan_changed", "api_key.created", "api_key.revoked"]
    (own,) = query.access.list_keys("operators")
    assert {(one.workspace_id, one.actor.id, one.source) for one in found} == {("w1", own.id, "api")}
    assert [one.targets[0].id for one in found] == ["w1", key, key]
    assert metadata(found[1])["scopes"] == ["audit:read"]
    assert made.json()["data"]["secret"] not in "".join(one.model_dump_json() for one in found)
