"""Reading pages and single events through the API."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.builders import NOON, event

if TYPE_CHECKING:
    import httpx

    from tests.support.query_service import QueryService

Row = dict[str, Any]


def pages(client: httpx.Client, address: str, leading: str) -> list[list[Row]]:
    """All pages from this one on, along `next` or `prev`."""
    found = []
    following: str | None = address
    while following:
        answer = client.get(following)
        assert answer.status_code == 200, answer.text
        found.append(answer.json()["data"])
        following = answer.json()[leading]
    return found


def ids(rows: list[Row]) -> list[str]:
    return [row["event_id"] for row in rows]


def test_an_event_comes_back_with_every_field(query: QueryService) -> None:
    """Fields are nested as they were emitted, absent ones are null, times carry microseconds."""
    sent = event(
        occurred_at=NOON.replace(microsecond=123),
        on_behalf_of={"type": "client", "id": "c1", "name": "Bo"},
        changes=[{"path": "name", "old": "a", "new": "b"}],
        metadata={"size": 5, "nested": {"deep": [1, None]}},
    )
    query.tables.put(sent)
    row = query.client().get("/v1/events").json()["data"][0]
    assert row == {
        "event_id": sent.event_id,
        "workspace_id": "w1",
        "category": "files",
        "event_type": "file.downloaded",
        "label": "File Downloaded",
        "source": "web",
        "ip": "203.0.113.7",
        "user_agent": "Mozilla/5.0",
        "occurred_at": "2026-03-14T12:00:00.000123Z",
        "received_at": None,
        "accepted_at": "2026-03-14T12:00:01.000000Z",
        "ingested_at": row["ingested_at"],
        "late": False,
        "actor": {"type": "internal_user", "id": "u1", "name": "Ada Lovelace", "email": "ada@example.com"},
        "on_behalf_of": {"type": "client", "id": "c1", "name": "Bo"},
        "targets": [{"type": "file", "id": "f1", "name": "plan.pdf"}],
        "outcome": "success",
        "outcome_reason": None,
        "request_id": None,
        "session_id": None,
        "app_id": None,
        "changes": [{"path": "name", "old": "a", "new": "b"}],
        "metadata": {"size": 5, "nested": {"deep": [1, None]}},
        "producer": row["producer"],
    }
    assert query.client().get(f"/v1/events/{sent.event_id}").json()["data"] == row


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    instants=st.lists(st.integers(0, 6), min_size=0, max_size=40),
    copies=st.lists(st.integers(0, 39), max_size=15),
    limit=st.integers(1, 9),
)
def test_paging_visits_each_event_once_in_order_and_back(
    query: QueryService, instants: list[int], copies: list[int], limit: int
) -> None:
    """For any events, ties and copies: forward is everything once, newest first; back gives the same pages."""
    workspace = query.workspace(f"w-{uuid.uuid4()}")
    sent = [event(workspace_id=workspace, occurred_at=NOON + timedelta(microseconds=at)) for at in instants]
    query.tables.put(*sent)
    again = [sent[number] for number in copies if number < len(sent)]
    if again:
        query.tables.put(*again, accepted_at=NOON + timedelta(minutes=5))
    client = query.client(workspace)
    forward = pages(client, f"/v1/events?limit={limit}", "next")
    seen = [row for page in forward for row in page]
    assert sorted(ids(seen)) == sorted(one.event_id for one in sent)
    assert [row["occurred_at"] for row in seen] == sorted((row["occurred_at"] for row in seen), reverse=True)
    assert all(row["accepted_at"] < "2026-03-14T12:01" for row in seen), "a later copy is shown"
    assert all(len(page) == limit for page in forward[:-1])
    if len(forward) > 1:
        last = client.get(f"/v1/events?limit={limit}").json()
        while last["next"]:
            last = client.get(last["next"]).json()
        back = pages(client, last["prev"], "prev")
        assert [ids(page) for page in reversed(back)] == [ids(page) for page in forward[:-1]]


def test_the_first_copy_of_an_event_is_the_one_that_counts(query: QueryService) -> None:
    """An id that is sent again with other content changes nothing, on pages, by id and in exports."""
    first = event(actor={"type": "internal_user", "id": "u1", "name": "The truth"})
    forged = first.model_copy(update={"actor": first.actor.model_copy(update={"name": "A lie"})})
    query.tables.put(forged, accepted_at=NOON + timedelta(minutes=2), partition=0)
    query.tables.put(first, accepted_at=NOON + timedelta(minutes=1), partition=1)
    client = query.client()
    for filter_ in ("", "?user=u1", "?category=files&since=24h"):
        assert [row["actor"]["name"] for row in client.get(f"/v1/events{filter_}").json()["data"]] == ["The truth"]
    assert client.get(f"/v1/events/{first.event_id}").json()["data"]["actor"]["name"] == "The truth"
    for order in ("asc", "desc"):
        text = client.get(f"/v1/export?format=csv&order={order}").text
        assert "The truth" in text
        assert "A lie" not in text


def test_a_filter_never_finds_what_only_a_later_copy_says(query: QueryService) -> None:
    """Pages and exports judge the first copy alone; the pages stay full and in order."""
    kept = [event(occurred_at=NOON - timedelta(seconds=number)) for number in range(30)]
    query.tables.put(*kept)
    blamed = [
        one.model_copy(update={"actor": one.actor.model_copy(update={"id": "scapegoat"})})
        for one in kept
        if one != kept[3]
    ]
    query.tables.put(*blamed, accepted_at=NOON + timedelta(hours=1))
    own = event(actor={"type": "internal_user", "id": "scapegoat"}, occurred_at=NOON - timedelta(seconds=20))
    query.tables.put(own)
    client = query.client()
    found = pages(client, "/v1/events?user=scapegoat&limit=2", "next")
    assert [ids(page) for page in found] == [[own.event_id]]
    assert own.event_id in client.get("/v1/export?user=scapegoat").text
    assert client.get("/v1/export?user=scapegoat").text.count("\r\n") == 2
    listed = [row for page in pages(client, "/v1/events?user=u1&limit=7", "next") for row in page]
    assert ids(listed) == [one.event_id for one in kept]
    assert client.get("/v1/export?user=u1&order=asc").text.count("\r\n") == 31


def test_many_copies_of_one_event_are_one_row(query: QueryService) -> None:
    """More copies than a page holds neither fill it nor end it."""
    oft, other = event(), event(occurred_at=NOON - timedelta(seconds=1))
    for _ in range(30):
        query.tables.put(oft)
    query.tables.put(other)
    found = pages(query.client(), "/v1/events?limit=1", "next")
    assert [ids(page) for page in found] == [[oft.event_id], [other.event_id]]


def test_filters_narrow_what_is_shown(query: QueryService) -> None:
    """Values of one parameter are ORed, parameters are ANDed, bounds are since ≤ t < until."""
    ada = event(event_type="file.uploaded")
    bob = event(actor={"type": "client", "id": "bob:1", "name": "Bob"}, occurred_at=NOON - timedelta(hours=1))
    key = event(actor={"type": "api_key", "id": "u1"}, category="crm", event_type="client.created")
    query.tables.put(ada, bob, key)
    client = query.client()

    def shown(parameters: str) -> set[str]:
        answer = client.get(f"/v1/events?{parameters}")
        assert answer.status_code == 200, answer.text
        return set(ids(answer.json()["data"]))

    assert shown("user=internal_user:u1") == {ada.event_id}
    assert shown("user=u1") == {ada.event_id, key.event_id}
    assert shown("user=client:bob:1") == shown("user=bob:1") == {bob.event_id}
    assert shown("user=client:bob:1&user=api_key:u1") == {bob.event_id, key.event_id}
    assert shown("user=u1&event=client.created") == {key.event_id}
    assert shown("category=crm&category=files") == {ada.event_id, bob.event_id, key.event_id}
    assert shown("since=2026-03-14T12:00:00Z") == {ada.event_id, key.event_id}
    assert shown("until=2026-03-14T12:00:00Z") == {bob.event_id}
    assert shown("since=2026-03-14&tz=UTC&until=2026-03-14") == {ada.event_id, bob.event_id, key.event_id}
    assert shown("since=30m") == {ada.event_id, key.event_id}
    assert shown("user=nobody") == shown("event=custom.unheard_of") == set()


def test_every_fault_of_a_request_is_named(query: QueryService) -> None:
    """A 400 lists all faults with stable codes and the nearest name; nothing is ignored silently."""
    answer = query.client().get("/v1/events?usr=x&limit=0&limit=9&category=file&since=2026-03-14&tz=Mars/Base")
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"] == "urn:audit-log:problem:invalid-request"
    assert problem["request_id"] == answer.headers["x-request-id"]
    codes = {(one["name"], one["code"]) for one in problem["errors"]}
    assert codes >= {
        ("usr", "unknown_parameter"),
        ("limit", "repeated"),
        ("category", "unknown_value"),
        ("tz", "unknown_zone"),
    }
    assert "did you mean user?" in problem["detail"]
    assert "did you mean files?" in problem["detail"]


def test_a_cursor_opens_only_the_list_it_was_made_for(query: QueryService) -> None:
    """Forged, foreign and re-filtered cursors are refused."""
    query.workspace("w2")
    for workspace in ("w1", "w2"):
        query.tables.put(*(event(workspace_id=workspace, occurred_at=NOON - timedelta(seconds=n)) for n in range(3)))
    client, other = query.client(), query.client("w2")
    following = client.get("/v1/events?limit=1").json()["next"]
    assert client.get(following).status_code == 200
    changed = following[:-3] + ("AAA" if following[-3:] != "AAA" else "BBB")
    for who, address in (
        (other, following),
        (client, changed),
        (client, following + "&user=u1"),
        (client, "/v1/events?limit=1&cursor=abc"),
        (client, "/v1/events?limit=1&cursor=%F0%9F"),
    ):
        answer = who.get(address)
        assert answer.status_code == 400, address
        assert answer.json()["errors"][0]["name"] == "cursor"


def test_complete_through_is_known_only_when_every_partition_has_spoken(query: QueryService) -> None:
    """The minimum over all partitions of the topic's current incarnation; null while one is missing."""
    client, tables = query.client(), query.tables

    def through() -> dict[str, str | None]:
        found: dict[str, str | None] = client.get("/v1/events").json()["complete_through"]
        return found

    assert set(through().values()) == {None}
    tables.progress(NOON)
    assert through()["all"] == "2026-03-14T12:00:00.000Z"
    tables.progress(NOON + timedelta(seconds=5), categories=("files",))
    assert through()["files"] == "2026-03-14T12:00:05.000Z"
    assert through()["all"] == "2026-03-14T12:00:00.000Z"
    tables.progress(NOON + timedelta(seconds=9), categories=("files",), partitions=2)
    assert through()["files"] is None
    assert through()["all"] is None
    tables.progress(NOON + timedelta(seconds=7), categories=("files",), partitions=2, partition=1)
    assert through()["files"] == "2026-03-14T12:00:07.000Z"
    tables.progress(
        NOON + timedelta(seconds=8), categories=("files",), topic_id="recreated", at=NOON + timedelta(hours=1)
    )
    assert through()["files"] == "2026-03-14T12:00:08.000Z"


def test_events_that_came_late_say_so(query: QueryService) -> None:
    """Late means accepted more than a minute after it happened."""
    query.tables.put(event(), accepted_at=NOON + timedelta(seconds=61))
    assert query.client().get("/v1/events").json()["data"][0]["late"] is True
