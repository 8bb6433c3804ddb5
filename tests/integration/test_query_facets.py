"""What facets and the histogram answer: their form, searching, plans, budgets, and what they refuse."""

from __future__ import annotations

import unicodedata
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from audit_infra.access import Scope
from audit_query.copies import Copied
from audit_query.facet_sql import SETTINGS, Groups, counted
from audit_query.facets import TYPE_COUNTS, TYPES, USERS, folded
from audit_query.filters import Filter
from audit_query.latest_users import NUMBERS
from audit_schemas.event import micros
from tests.builders import NOON, event
from tests.support.query_service import QueryService
from tests.support.waiting import eventually

if TYPE_CHECKING:
    import httpx

PATHS = ("users", "events", "targets", "categories", "sources", "actor-types")


def data(client: httpx.Client, path: str, **params: Any) -> list[dict[str, Any]]:
    answer = client.get(f"/v1/{path}", params=params)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


def test_targets_are_found_by_name_or_id(query: QueryService) -> None:
    """With the value the filter takes, how many events name it, and when it was last acted on."""
    target = {"type": "file", "id": "f1", "name": "Übersicht.pdf"}
    query.tables.put(
        event(targets=[target, target]),
        event(targets=[{**target, "name": "old"}], occurred_at=NOON - timedelta(days=1)),
        event(targets=[{"type": "folder", "id": "d1", "name": "Plans"}], occurred_at=NOON - timedelta(days=2)),
    )
    client = query.client()
    first, second = data(client, "facets/targets")
    assert first == {
        "value": "file:f1",
        "type": "file",
        "id": "f1",
        "name": "Übersicht.pdf",
        "count": 2,
        "last_seen": "2026-03-14T12:00:00.000000Z",
    }
    assert [one["value"] for one in data(client, "facets/targets", search="übersICHT")] == ["file:f1"]
    assert data(client, "facets/targets", search="D1") == [second]
    assert data(client, "facets/targets", limit=1) == [first]


def test_a_facet_leaves_its_own_filter_out_and_keeps_the_others(query: QueryService) -> None:
    """So that another value can be added to those chosen."""
    query.tables.put(
        event(actor={"type": "client", "id": "c1"}),
        event(actor={"type": "client", "id": "c2"}, category="crm", event_type="client.created"),
    )
    client = query.client()
    assert len(data(client, "facets/users", user="client:c1")) == 2
    assert [one["value"] for one in data(client, "facets/users", user="client:c1", category="crm")] == ["client:c2"]
    counts = {one["value"]: one["count"] for one in data(client, "facets/categories", category="crm", user="client:c1")}
    assert (len(counts), counts["files"], counts["crm"]) == (12, 1, 0)
    assert {one["value"]: one["count"] for one in data(client, "facets/sources", category="crm")}["web"] == 1
    assert {one["value"]: one["count"] for one in data(client, "facets/actor-types")}["client"] == 2


def test_searching_compares_text_as_unicode_folds_it(query: QueryService) -> None:
    """ClickHouse and Python say the same for letters that have no lower case of their own, and for composed ones."""
    names = (
        "Straße",
        "İstanbul",
        "ΟΔΟΣ ΣΑΣ",
        "ﬁle",
        "cafe\N{COMBINING ACUTE ACCENT}",
        "Ǆungla",
        "ŉdebele",
        "K",
        "%_'\\",
    )
    query.tables.put(
        *(event(actor={"type": "client", "id": f"c{number}", "name": name}) for number, name in enumerate(names))
    )
    client = query.client()
    for search in (
        "STRASSE",
        "straSSe",
        "i̇STAN",
        "istan",
        "οδοσ",
        "ς σας",
        "FILE",
        "CAFÉ",
        "ǆ",
        "ʼN",
        "k",
        "%",
        "'",
        "\\",
        "\0",
    ):
        found = {one["name"] for one in data(client, "facets/users", search=search)}
        wanted = folded(search.strip())
        expected = {name for number, name in enumerate(names) if wanted in folded(name) or wanted in f"c{number}"}
        assert found == expected, search
    letters = [chr(code) for code in range(0x80, 0x3000) if unicodedata.category(chr(code)) != "Cn"]
    sql = "SELECT groupArray(caseFoldUTF8(normalizeUTF8NFC(x))) FROM (SELECT arrayJoin({letters:Array(String)}) AS x)"
    assert query.tables.client.query(sql, {"letters": letters}).result_rows[0][0] == [folded(one) for one in letters]


def test_personal_data_is_neither_shown_nor_searched_without_the_scope(query: QueryService) -> None:
    """E-mails, and the names of people nobody knows, which may be addresses."""
    query.tables.put(
        event(actor={"type": "client", "id": "c1", "name": "Ada", "email": "secret@example.com"}),
        event(actor={"type": "anonymous", "id": "", "name": "secret name"}),
    )
    client = query.client(scopes=[Scope.READ])
    assert data(client, "facets/users", search="secret") == []
    assert {(one["name"], one["email"]) for one in data(client, "facets/users")} == {("Ada", None), (None, None)}


def test_previews_count_the_window_only(query: QueryService) -> None:
    """Nothing tells of older activity: no count, no moment, no bucket, no name."""
    query.workspace("w2", "starter")
    shared = {"workspace_id": "w2", "actor": {"type": "client", "id": "c1", "name": "New"}}
    old = {**shared, "actor": {"type": "client", "id": "c1", "name": "Old"}, "occurred_at": NOON - timedelta(hours=25)}
    query.tables.put(event(**shared), event(**old), event(**{**old, "actor": {"type": "client", "id": "c2"}}))
    client = query.client("w2")
    for params in ({}, {"since": "60d"}, {"user": "client:c1"}):
        assert [(one["name"], one["count"]) for one in data(client, "facets/users", **params)] == [("New", 1)]
        for path in ("facets/events", "facets/categories", "facets/sources", "facets/actor-types", "histogram"):
            assert sum(one["count"] for one in data(client, path, **params)) == 1
    buckets = client.get("/v1/histogram", params={"since": "60d"}).json()
    assert buckets["data"][0]["end"] > (NOON - timedelta(hours=24)).isoformat()
    assert buckets["preview"]["clamped"] is True
    assert data(client, "facets/users", until="2026-03-01T00:00:00Z") == []
    assert data(client, "histogram", until="2026-03-01T00:00:00Z") == []


def test_days_are_those_of_the_zone_also_when_clocks_change(query: QueryService) -> None:
    """Berlin's 29 March 2026 has 23 hours; empty days are there with 0; the last bucket holds all of its day."""
    query.clock.now = NOON + timedelta(days=20)
    moments = ("2026-03-28T22:59:59.999999Z", "2026-03-28T23:00:00Z", "2026-03-29T21:59:59Z", "2026-03-29T22:00:00Z")
    query.tables.put(*(event(occurred_at=moment) for moment in moments))
    asked = {"tz": "Europe/Berlin", "since": "2026-03-27", "until": "2026-03-30"}
    found = query.client().get("/v1/histogram", params={**asked, "interval": "day"}).json()
    assert [(one["start"][:16], one["count"]) for one in found["data"]] == [
        ("2026-03-26T23:00", 0),
        ("2026-03-27T23:00", 1),
        ("2026-03-28T23:00", 2),
        ("2026-03-29T22:00", 1),
    ]
    assert (found["interval"], found["exact"], found["data"][-1]["end"][:16]) == ("day", True, "2026-03-30T22:00")
    auto = query.client().get("/v1/histogram", params=asked).json()
    assert (auto["interval"], sum(one["count"] for one in auto["data"])) == ("hour", 4)
    assert len(auto["data"]) == 24 * 4 - 1


def test_what_costs_too_much_is_said_to_be_less(query: QueryService) -> None:
    """First the filters are left out, then only the newest rows are counted; neither is passed off as more."""
    query.tables.put(*(event(occurred_at=NOON - timedelta(minutes=minute)) for minute in range(40)))
    small = QueryService(
        query.clickhouse_url, query.database, query.folder, {"facet_rows": 20, "facet_newest_rows": 10}
    )
    try:
        client = small.client()
        for path, scope in (
            ("facets/users", "filtered"),
            ("facets/categories?event=file.downloaded", "filtered"),  # from sums
            ("facets/users?event=file.downloaded", "window"),
            ("facets/sources?user=internal_user:u1", "window"),
        ):
            found = client.get(f"/v1/{path}").json()
            assert (found["scope"], found["exact"]) == (scope, True), path
            assert sum(one["count"] for one in found["data"]) == 40
        targets = client.get("/v1/facets/targets").json()
        assert (targets["scope"], targets["exact"], targets["data"][0]["count"]) == ("filtered", False, 10)
        newest = client.get("/v1/facets/targets?since=2026-03-14T11:50:30Z").json()
        assert (newest["exact"], newest["data"][0]["count"]) == (True, 10)
    finally:
        small.close()


def test_copies_of_a_large_workspace_are_looked_for_meanwhile(query: QueryService) -> None:
    """Until that is done an answer says it may count events twice; with too many copies it goes on saying so."""
    sent = event()
    query.tables.put(sent, event(), event())
    query.tables.put(sent)
    large = QueryService(query.clickhouse_url, query.database, query.folder, {"copies_inline_rows": 0})
    try:
        client = large.client()
        assert client.get("/v1/facets/sources").json()["exact"] is False
        eventually(lambda: client.get("/v1/facets/sources").json()["exact"], 20, "the copies are known")
        assert client.get("/v1/facets/sources").json()["data"][0]["count"] == 3
    finally:
        large.close()
    query.tables.put(*(event() for _ in range(2)))
    more = [event(), event()]
    query.tables.put(*more)
    query.tables.put(*more)
    few = QueryService(query.clickhouse_url, query.database, query.folder, {"copies_most": 2})
    try:
        assert few.client().get("/v1/facets/sources").json()["exact"] is False
    finally:
        few.close()


@pytest.mark.parametrize("keys", [NUMBERS, USERS, TYPE_COUNTS, TYPES], ids=["numbers", "users", "type counts", "types"])
def test_whole_days_are_read_from_sums(query: QueryService, keys: Groups) -> None:
    """ClickHouse takes the projection by itself for exactly the statements that facets are made of."""
    query.tables.put(*(event(occurred_at=NOON - timedelta(days=day)) for day in range(60)))
    copied = Copied({(micros(NOON), str(uuid.uuid4())): False})
    since = micros(NOON - timedelta(days=50))
    for filter_ in (Filter(), Filter(since=since), Filter(since=since, until=micros(NOON) + 1)):
        for known in (Copied(), copied):
            made = counted("w1", filter_, known, keys)
            sql = f"EXPLAIN projections = 1 {made.sql} SETTINGS {SETTINGS}"
            plan = query.tables.client.query(sql, dict(made.values)).result_rows
            assert "ReadFromMergeTree (by_" in "\n".join(row[0] for row in plan), filter_


@pytest.mark.parametrize(
    ("path", "params", "names"),
    [
        ("facets/users", {"limit": "0", "search": "x" * 201, "usr": "1"}, {"limit", "search", "usr"}),
        ("facets/users", [("search", "a"), ("search", "b")], {"search"}),
        ("facets/events", {"limit": "5"}, {"limit"}),
        ("facets/categories", {"search": "a"}, {"search"}),
        ("facets/targets", {"limit": "201", "category": "nope"}, {"limit", "category"}),
        ("histogram", {"interval": "second"}, {"interval"}),
        ("histogram", {"interval": "minute", "since": "7d"}, {"interval"}),
        ("histogram", {"since": "1970-01-01T00:00:00Z", "until": "9999-12-31T23:59:59Z"}, {"interval"}),
        (
            "histogram",
            {"since": "9999-12-31T00:00:00Z", "until": "9999-12-31T23:59:59Z", "interval": "month"},
            {"interval"},
        ),
    ],
)
def test_bad_parameters_are_all_named(query: QueryService, path: str, params: Any, names: set[str]) -> None:
    """At once, as a problem."""
    answer = query.client().get(f"/v1/{path}", params=params)
    assert answer.status_code == 400
    assert {fault["name"] for fault in answer.json()["errors"]} == names


def test_far_years_are_no_trouble(query: QueryService) -> None:
    """Before dates begin, and after they end."""
    query.tables.put(event())
    for path in (*(f"facets/{path}" for path in PATHS), "histogram"):
        for since, until, count in (
            ("0001-01-01", "1960-01-01", 0),
            ("9998-01-01", "9999-12-31", 0),
            ("2026-03-01", "9999-12-31", 1),
        ):
            params = {"since": f"{since}T00:00:00Z", "until": f"{until}T00:00:00Z"}
            answer = query.client().get(f"/v1/{path}", params=params)
            assert answer.status_code == 200 or (path == "histogram" and answer.status_code == 400), answer.text
            if answer.status_code == 200:
                assert sum(one["count"] for one in answer.json()["data"]) == count
