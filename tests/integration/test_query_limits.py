"""How much may be asked: per minute, at the same time, by one query, and by who has no credential."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from audit_query.budgets import Budget
from tests.builders import NOON
from tests.support.query_service import QueryService
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Protocol

    from tests.support.servers import ClickHouseServer

    class StartQuery(Protocol):
        def __call__(self, **overrides: Any) -> QueryService: ...


@pytest.fixture
def start(clickhouse: ClickHouseServer, query: QueryService, tmp_path: Path) -> Iterator[StartQuery]:
    """Services over the tables and workspaces of `query`, with settings of the test's own."""
    with contextlib.ExitStack() as ends:

        def started(**overrides: Any) -> QueryService:
            service = QueryService(clickhouse.url, query.database, tmp_path, overrides)
            ends.callback(service.close)
            return service

        yield started


def problem(answer: httpx.Response) -> str:
    """The type of a problem."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return str(answer.json()["type"]).removeprefix("urn:audit-log:problem:")


def put_rows(service: QueryService, workspace: str, rows: int) -> None:
    """Wide rows, a microsecond apart."""
    service.tables.client.command(
        "INSERT INTO audit_events (workspace_id, occurred_at, event_id, event_type, category, metadata) SELECT"
        f" '{workspace}', fromUnixTimestamp64Micro({int(NOON.timestamp() * 1e6)} + number), generateUUIDv4(),"
        f" 'file.downloaded', 'files', toJSONString(map('note', repeat('x', 2000))) FROM numbers({rows})"
    )


def test_every_answer_says_what_is_left_and_too_many_are_refused(start: StartQuery) -> None:
    """Per key and per workspace; another workspace goes on; what needs no credential is not counted."""
    service = start(rate_limit_key="3/hour", rate_limit_workspace="5/hour")
    service.workspace("w2")
    first, second = service.client(), service.client()
    answers = [first.get("/v1/catalogue"), first.get("/v1/events?nonsense=1"), first.get("/v1/events/nothing")]
    assert [answer.status_code for answer in answers] == [200, 400, 404]
    assert answers[0].headers["ratelimit-policy"] == '"key";q=3;w=3600, "workspace";q=5;w=3600'
    assert answers[0].headers["ratelimit"].startswith('"key";r=2;t=')
    assert [answer.headers["ratelimit"].count('"workspace";r=') for answer in answers] == [1, 1, 1]
    refused = first.get("/v1/catalogue")
    assert (refused.status_code, problem(refused)) == (429, "rate-limited")
    assert refused.json()["limit"] == "3 requests per hour with one credential"
    assert 1 <= int(refused.headers["retry-after"]) <= 3600
    assert refused.headers["ratelimit"].startswith('"key";r=0;t=')
    # What was refused does not count for the workspace.
    assert [second.get("/v1/catalogue").status_code for _ in range(2)] == [200, 200]
    refused = second.get("/v1/catalogue")
    assert (refused.status_code, problem(refused)) == (429, "rate-limited")
    assert refused.json()["limit"] == "5 requests per hour of the workspace"
    assert service.client("w2").get("/v1/catalogue").status_code == 200
    assert first.get("/healthz").status_code == 200
    assert first.post("/v1/events").status_code == 405


def test_the_page_has_the_same_limits_and_says_so_readably(start: StartQuery) -> None:
    """The same counters as the API's, a page instead of a document, and signing in is not hindered."""
    service = start(rate_limit_workspace="2/hour")
    browser, client = service.browser(), service.client()
    assert browser.get("/audit-log").status_code == 200
    assert client.get("/v1/catalogue").status_code == 200
    refused = browser.get("/audit-log")
    assert refused.status_code == 429
    assert refused.headers["content-type"].startswith("text/html")
    assert "Too much for now" in refused.text
    assert "the limit is 2 requests per hour of the workspace" in refused.text
    assert int(refused.headers["retry-after"]) >= 1
    assert client.get("/v1/catalogue").status_code == 429
    assert browser.get("/audit-log/static/style.css").status_code == 200


def test_a_stream_holds_its_place_until_it_ends_or_its_reader_goes(start: StartQuery) -> None:
    """While an export is read nothing else of the workspace is served; then there is room again."""
    service = start(max_parallel=1)
    service.workspace("w2")
    put_rows(service, "w1", 20_000)
    client, other = service.client(), service.client("w2")
    secret = client.headers["x-api-key"]
    for leave_early in (True, False):
        # By hand: what is not read stays in the buffers of the system, and these are small.
        reader = socket.socket()
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.connect(("127.0.0.1", int(service.url.rpartition(":")[2])))
        lines = ("GET /v1/export HTTP/1.1", "Host: x", f"X-API-Key: {secret}", "Connection: close", "", "")
        reader.sendall("\r\n".join(lines).encode())
        assert reader.recv(12) == b"HTTP/1.1 200"
        refused = client.get("/v1/catalogue")
        assert (refused.status_code, problem(refused)) == (429, "too-many-in-parallel")
        assert (refused.headers["retry-after"], refused.json()["limit"]) == ("1", 1)
        assert "ratelimit" in refused.headers
        assert other.get("/v1/catalogue").status_code == 200
        while not leave_early and reader.recv(1_048_576):
            pass
        reader.close()
        eventually(lambda: client.get("/v1/catalogue").status_code == 200, 10, "there is a place again")


def test_who_fails_to_sign_in_is_stopped_before_anything_is_looked_up(start: StartQuery) -> None:
    """By address, over keys, tokens and codes together; a credential that was good just now still opens."""
    service = start(rate_limit_failures="3/hour", trusted_proxies="127.0.0.1")
    client = service.client()
    assert client.get("/v1/catalogue").status_code == 200
    guest = service.guest()
    assert guest.get("/v1/catalogue", headers={"X-API-Key": "alk_guess"}).status_code == 401
    assert guest.get("/audit-log/sign-in?code=guess").status_code == 401
    assert guest.post("/audit-log/session", data={"token": "a.b.c"}).status_code == 401
    refused = guest.get("/v1/catalogue", headers={"X-API-Key": "alk_guess"})
    assert (refused.status_code, problem(refused)) == (429, "rate-limited")
    assert int(refused.headers["retry-after"]) >= 1
    assert service.client().get("/v1/catalogue").status_code == 429
    assert guest.get("/audit-log/sign-in?code=guess").status_code == 429
    assert client.get("/v1/catalogue").status_code == 200
    elsewhere = {"X-API-Key": "alk_guess", "X-Forwarded-For": "2001:db8::1"}
    neighbour = elsewhere | {"X-Forwarded-For": "2001:db8::2"}
    for headers in (elsewhere, neighbour, elsewhere):
        assert guest.get("/v1/catalogue", headers=headers).status_code == 401
    assert guest.get("/v1/catalogue", headers=neighbour).status_code == 429
    assert guest.post("/audit-log/session", data={"token": "x" * 20_000}).status_code == 400
    # No credential at all is no guess.
    assert [guest.get("/v1/catalogue").status_code for _ in range(5)] == [401] * 5


def test_a_query_over_its_budget_is_refused_with_the_budget_and_its_figure(start: StartQuery) -> None:
    """Rows, seconds, memory: 503, what to do, and when to come back; the page says it too."""
    service = start(query_max_rows=10_000)
    put_rows(service, service.workspace("w2", "starter"), 30_000)
    refused = service.client("w2").get("/v1/facets/users")
    assert (refused.status_code, problem(refused)) == (503, "over-budget")
    assert (refused.json()["budget"], refused.json()["limit"]) == ("rows", 10_000)
    assert "more than 10,000 rows; narrow the range" in refused.json()["detail"]
    assert int(refused.headers["retry-after"]) >= 1
    shown = service.browser("w2").get("/audit-log/choose/user")
    assert (shown.status_code, "The query costs too much" in shown.text) == (503, True)
    slow = start(query_timeout_s=0.000001).client("w2").get("/v1/facets/users")
    assert (problem(slow), slow.json()["budget"], slow.json()["limit"]) == ("over-budget", "seconds", 1e-06)


def test_a_page_of_more_rows_than_the_budget_is_answered(start: StartQuery) -> None:
    """It is read in order and stops at its end, whatever ClickHouse plans to read; an export has other budgets."""
    service = start(query_max_rows=10_000)
    put_rows(service, "w1", 30_000)
    client = service.client()
    page = client.get("/v1/events?limit=100")
    assert (page.status_code, len(page.json()["data"])) == (200, 100)
    assert client.get(page.json()["next"]).status_code == 200
    assert client.get(f"/v1/events/{page.json()['data'][0]['event_id']}").status_code == 200
    assert client.get("/v1/export?format=csv").text.count("\n") == 30_001


def test_a_server_that_never_answers_is_given_up(start: StartQuery) -> None:
    """Also where not even a connection comes about: 503, not a request that hangs for ever."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        service = start(clickhouse_url=url, query_timeout_s=0.1)
        refused = service.client().get("/v1/facets/users")
    assert (refused.status_code, problem(refused)) == (503, "unavailable")


@pytest.mark.parametrize(
    ("code", "text", "budget"),
    [
        (158, "Limit for rows exceeded", "rows"),
        (307, "Limit for bytes exceeded", "rows"),
        (159, "Timeout exceeded", "seconds"),
        (160, "Estimated query execution time is too long", "seconds"),
        (241, "Query memory limit exceeded", "memory_mib"),
        (241, "(total) memory limit exceeded", None),
        (394, "Query was cancelled", None),
        (None, "no connection", None),
    ],
)
def test_only_what_a_query_itself_costs_is_over_budget(code: int | None, text: str, budget: str | None) -> None:
    """What the whole server has no memory for, and what was cancelled, may pass by itself."""
    found = Budget(1.0, 64, 1000).exceeded(code, text)
    assert (found and found.extra["budget"]) == budget
