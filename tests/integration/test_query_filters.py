"""Any combination of filters finds on pages and in exports exactly what a plain evaluation of it finds."""

from __future__ import annotations

import csv
import io
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from audit_schemas.event import ACTOR_TYPES
from tests.builders import NOON, event
from tests.support.oracle import matches, words_of

if TYPE_CHECKING:
    import httpx

    from tests.support.query_service import QueryService

Params = list[tuple[str, str]]
# An example is many requests: the whole of a failing one is shown rather than minutes spent on a smaller one.
_MANY: dict[str, Any] = {
    "deadline": None,
    "phases": (Phase.explicit, Phase.generate),
    "suppress_health_check": [HealthCheck.function_scoped_fixture],
}

USERS = ("u1", "u2", "client:u3", "o'brien", "a{b}:c")
TYPES = ("file.downloaded", "auth.login_failed", "deal.closed", "x`y")
TARGETS = (("file", "f1"), ("file", "f:2"), ("folder", "f1"), ("invoice", "-- x"))
ADDRESSES = ("", "10.0.0.1", "10.0.0.2", "10.9.0.1", "2001:db8::1", "2001:db8:1::1")
NETWORKS = ("10.0.0.0/24", "10.0.0.0/8", "0.0.0.0/0", "::/0", "2001:db8::/48", "10.0.0.1/32", "::ffff:10.0.0.0/120")
SCALARS = (5, "5", 5.5, "5.5", -7, True, "true", None, 10**25, 1e16, "ä b", "it's", {"n": 5}, [5], "")
KEYS = ("size", "a.b", "quote'd", "naïve")


@st.composite
def _event(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(("internal_user", "client", "api_key")))
    return {
        "occurred_at": NOON - draw(st.sampled_from((0, 1, 2, 3600, 90_000, 700_000, 3_000_000))) * timedelta(seconds=1),
        "category": draw(st.sampled_from(("files", "crm"))),
        "event_type": draw(st.sampled_from(TYPES)),
        "label": draw(st.sampled_from(("", "Deal won"))),
        "actor": {
            "type": kind,
            "id": draw(st.sampled_from(("u1", "u2", "u3", "o'brien", "a{b}:c", "internal_user:u1"))),
            "name": draw(st.sampled_from(("Ada Lovelace", "Ödön Ďurič", "ΑΣ.Β"))),
            "email": draw(st.sampled_from(("", "ada@example.com"))),
        },
        "source": draw(st.sampled_from(("web", "api"))),
        "outcome": draw(st.sampled_from(("success", "failure"))),
        "app_id": draw(st.sampled_from(("", "desk"))),
        "request_id": draw(st.sampled_from(("", "r1"))),
        "ip": draw(st.sampled_from(ADDRESSES)),
        "targets": [
            {"type": kind, "id": identity, "name": "Größe \\ plan.pdf"}
            for kind, identity in draw(st.lists(st.sampled_from(TARGETS), max_size=2))
        ],
        "metadata": draw(st.dictionaries(st.sampled_from(KEYS), st.sampled_from(SCALARS), max_size=3)),
    }


_values: dict[str, st.SearchStrategy[str]] = {
    "user": st.sampled_from((*USERS, "internal_user:u1", "nobody")),
    "event": st.sampled_from((*TYPES, "no.such")),
    "app": st.sampled_from(("desk", "other")),
    "request_id": st.sampled_from(("r1", "other")),
    "category": st.sampled_from(("files", "crm", "tasks")),
    "source": st.sampled_from(("web", "api", "automation")),
    "actor_type": st.sampled_from(ACTOR_TYPES),
    "outcome": st.sampled_from(("success", "failure")),
    "target": st.sampled_from(("file:f1", "file:f:2", "file:", "folder:f1", "invoice:-- x", "contract:")),
    "ip": st.sampled_from((*filter(None, ADDRESSES), *NETWORKS, "::ffff:10.0.0.1")),
    "q": st.sampled_from(
        ("ADA", "lovelace plan", "größe", "login FAILED", "5", "ödön", "ας", "won", "true", "file_f1")
    ),
    **{
        f"meta.{key}": st.sampled_from(
            ("5", "5.5", "-7", "true", "null", str(10**25), "1e+16", "ä b", "it's", "", "5.0")
        )
        for key in KEYS
    },
}


@st.composite
def _params(draw: st.DrawFn) -> Params:
    found: Params = []
    for name in draw(st.lists(st.sampled_from(sorted(_values)), max_size=3, unique=True)):
        values = draw(st.lists(_values[name], min_size=1, max_size=2, unique=True))
        found += [(draw(st.sampled_from(("", "not_"))) + name, value) for value in values]
    clashing = {(name.removeprefix("not_"), value) for name, value in found if name.startswith("not_")}
    return [pair for pair in found if pair not in clashing]


def walk(client: httpx.Client, params: Params, limit: int) -> list[dict[str, Any]]:
    """All rows, page by page."""
    answer = client.get(f"/v1/events?{urlencode([*params, ('limit', limit)])}")
    found = []
    while True:
        assert answer.status_code == 200, answer.text
        found += answer.json()["data"]
        if answer.json()["next"] is None:
            return found
        answer = client.get(answer.json()["next"])


@settings(max_examples=4, **_MANY)
@given(values=st.lists(_event(), min_size=20, max_size=40), filters=st.lists(_params(), min_size=8, max_size=12))
def test_random_filters_find_what_a_plain_evaluation_finds(
    query: QueryService, values: list[Any], filters: list[Params]
) -> None:
    """Pages and CSV hold exactly the first copies that match, newest first, whatever is combined or excluded."""
    workspace = query.workspace(f"w-{uuid.uuid4()}")
    sent = [event(workspace_id=workspace, **one) for one in values]
    query.tables.put(*sent)
    # Copies that say something else: they are other rows of the same event, and never what counts.
    forged = [one.model_copy(update={"app_id": "desk", "outcome": "failure"}) for one in sent[::5]]
    query.tables.put(*forged, accepted_at=NOON + timedelta(minutes=5))
    client = query.client(workspace)
    for params in filters:
        expected = sorted((one for one in sent if matches(one, params)), key=lambda one: one.occurred_at, reverse=True)
        found = walk(client, params, limit=9)
        assert sorted(row["event_id"] for row in found) == sorted(one.event_id for one in expected), params
        assert [row["occurred_at"][:19] for row in found] == [
            f"{one.occurred_at:%Y-%m-%dT%H:%M:%S}" for one in expected
        ]
        exported = csv.DictReader(io.StringIO(client.get(f"/v1/export?{urlencode(params)}").text, newline=""))
        assert [row["Event ID"] for row in exported] == [row["event_id"] for row in found], params


# Letters that only one of the two Unicode tables knows are none of this.
_known = st.text(st.characters(codec="utf-8", exclude_categories=("Cn", "Cc", "Co")), max_size=40)
_texts = st.fixed_dictionaries(
    {
        "label": _known,
        "actor": st.fixed_dictionaries(
            {"type": st.just("client"), "id": st.just("c"), "name": _known, "email": _known}
        ),
        "targets": st.lists(st.fixed_dictionaries({"type": st.just("file"), "id": _known, "name": _known}), max_size=2),
        "metadata": st.dictionaries(_known, _known | st.integers() | st.lists(_known, max_size=2), max_size=3),
    }
)


@settings(max_examples=8, **_MANY)
@given(values=st.lists(_texts, min_size=5, max_size=20))
def test_the_words_of_the_table_are_those_of_the_oracle(query: QueryService, values: list[Any]) -> None:
    """For events of any text: the column `words` holds what `audit_schemas.canonical.words` finds in them."""
    workspace = f"w-{uuid.uuid4()}"
    sent = [event(workspace_id=workspace, event_type="deal.closed", **one) for one in values]
    query.tables.put(*sent)
    rows = query.tables.client.query(
        "SELECT toString(event_id), words FROM audit_events WHERE workspace_id = {w:String}", {"w": workspace}
    ).result_rows
    assert {row[0]: set(row[1]) for row in rows} == {one.event_id: words_of(one) for one in sent}


def test_without_the_scope_nothing_is_found_by_what_is_masked(query: QueryService) -> None:
    """Filters over addresses and words are refused, and metadata that repeats personal data matches nothing."""
    query.tables.put(event(metadata={"from": "203.0.113.7", "to": "ada@example.com", "plain": "x"}))
    client = query.client(scopes={"audit:read"})
    for params in ({"ip": "203.0.113.7"}, {"not_ip": "203.0.113.0/24"}, {"q": "ada"}, {"not_q": "ada", "ip": "::1"}):
        answer = client.get("/v1/events", params=params)
        assert answer.status_code == 403
        assert all(name in answer.json()["detail"] for name in params)
    for name, value, found in (("from", "203.0.113.7", 0), ("to", "ada@example.com", 0), ("plain", "x", 1)):
        assert len(client.get("/v1/events", params={f"meta.{name}": value}).json()["data"]) == found
        assert len(query.client().get("/v1/events", params={f"meta.{name}": value}).json()["data"]) == 1


def test_only_the_fields_asked_for_are_answered(query: QueryService) -> None:
    """`fields` narrows, several in one value or repeated, and masking still sees what it hides copies of."""
    query.tables.put(event(metadata={"by": "ada@example.com"}))
    client = query.client()
    (whole,) = client.get("/v1/events").json()["data"]
    for name in whole:
        assert client.get("/v1/events", params={"fields": name}).json()["data"] == [{name: whole[name]}]
    (row,) = client.get("/v1/events?fields=targets,late&fields=event_id").json()["data"]
    assert row == {name: whole[name] for name in ("targets", "late", "event_id")}
    masked = query.client(scopes={"audit:read"})
    assert masked.get("/v1/events?fields=metadata").json()["data"] == [{"metadata": {"by": "•••"}}]
    refused = client.get("/v1/events?fields=event_id,secret").json()["errors"]
    assert [(one["name"], one["code"]) for one in refused] == [("fields", "unknown_value")]


def test_pages_reach_over_years_of_silence(query: QueryService) -> None:
    """Widening windows lose nothing between them, in both directions."""
    days = (0, 1, 2, 7, 8, 31, 32, 400, 3000)
    sent = [event(occurred_at=NOON - timedelta(days=day)) for day in days]
    query.tables.put(*sent, event(occurred_at=NOON + timedelta(hours=23)))
    client = query.client()
    found = walk(client, [], limit=1)
    assert [row["event_id"] for row in found[1:]] == [one.event_id for one in sent]
    answer = client.get("/v1/events?limit=9").json()
    assert len(answer["data"]) == 9
    back = client.get(client.get(answer["next"]).json()["prev"]).json()
    assert back["data"] == answer["data"]
    ranged = walk(client, [("since", "2026-02-11T12:00:00Z"), ("until", "2026-03-13T12:00:00Z")], limit=2)
    assert [row["event_id"] for row in ranged] == [sent[number].event_id for number in (2, 3, 4, 5)]


def test_matching_events_are_counted_up_to_a_cap(query: QueryService) -> None:
    """Once each, on any page of a filter, in no answer that was not asked for it; beyond 10 000 it says so."""
    sent = [event(event_type="deal.closed" if number % 3 else "deal.lost") for number in range(30)]
    query.tables.put(*sent, *sent[:5])
    client = query.client()
    assert "count" not in client.get("/v1/events").json()
    assert client.get("/v1/events?count=1").json()["count"] == {"value": 30, "capped": False}
    first = client.get("/v1/events?count=1&event=deal.lost&limit=4").json()
    assert first["count"] == client.get(first["next"]).json()["count"] == {"value": 10, "capped": False}
    assert client.get("/v1/events?count=1&event=deal.none").json()["count"] == {"value": 0, "capped": False}
    query.tables.put(*(event() for _ in range(10_001)))
    assert client.get("/v1/events?count=1").json()["count"] == {"value": 10_000, "capped": True}
