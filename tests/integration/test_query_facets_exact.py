"""Facets, the histogram and counts equal what a look at every event says, whatever was sent twice or stored twice."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from audit_consumers.clickhouse import ClickHouseStore
from audit_consumers.dedupe import dedupe
from audit_consumers.settings import PipelineSettings
from audit_infra.access import Principal, Scope
from audit_infra.settings import ClickHouseSettings
from audit_query.asking import Asking
from audit_query.budgets import Budget
from audit_query.clickhouse import Reader
from audit_query.copies import Copies
from audit_query.counting import Counting
from audit_query.facets import folded
from audit_query.plans import Plans
from audit_schemas.catalogue import load
from tests.builders import NOON, event
from tests.support.oracle import matches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import httpx

    from audit_schemas.event import Event
    from tests.support.query_service import QueryService

ACTORS = (("client", "c1"), ("client", "c2"), ("internal_user", "c1"), ("anonymous", ""))
NAMES = (("Ada", "ada@example.com"), ("Straße", "B@EXAMPLE.COM"), ("ΟΔΟΣ", ""), ("", ""))
TYPES = (("files", "file.downloaded", ""), ("files", "file.deleted", ""), ("developer", "deal.won", "Deal won"))
CUSTOM = ("developer", "deal.won", "Won at last")
TARGETS: tuple[list[dict[str, str]], ...] = (
    [],
    [{"type": "file", "id": "f1", "name": "plan.pdf"}],
    [{"type": "file", "id": "f1", "name": "Plan.PDF"}, {"type": "folder", "id": "f1", "name": "Öl"}],
    [{"type": "file", "id": "f2", "name": "a"}, {"type": "file", "id": "f2", "name": "b"}],
)
BACK = (0, 1, 3_600, 86_400, 43_200, 90_000, 20 * 86_400, 45 * 86_400, 46 * 86_400, 120 * 86_400)
"""Seconds before noon: ties, edges of days and months, and far ones."""


@dataclass(frozen=True)
class Stored:
    """An event, when Kafka took it and where."""

    event: Event
    accepted: datetime
    partition: int
    offset: int


said = st.fixed_dictionaries(
    {
        "actor": st.sampled_from(ACTORS),
        "name": st.sampled_from(NAMES),
        "type": st.sampled_from((*TYPES, CUSTOM)),
        "targets": st.sampled_from(TARGETS),
        "source": st.sampled_from(("web", "api")),
    }
)
events = st.lists(st.tuples(st.sampled_from(BACK), said), min_size=1, max_size=12)
copies = st.lists(st.tuples(st.integers(0, 11), st.none() | said, st.integers(-30, 30)), max_size=5)
replays = st.lists(st.integers(0, 16), max_size=3)
bounds = st.sampled_from(
    (
        {},
        {"since": "2026-02-01T00:00:00Z"},
        {"since": "2026-01-20T07:00:00Z", "until": "2026-03-14T12:00:00Z"},
        {"since": "2026-03-13", "until": "2026-03-14", "tz": "Europe/Berlin"},
        {"until": "2026-03-01T00:00:00Z"},
    )
)
filters = st.fixed_dictionaries(
    {},
    optional={
        "user": st.lists(st.sampled_from(("client:c1", "c1", "client:c2", "nobody")), min_size=1, max_size=2),
        "not_user": st.just(["internal_user:c1"]),
        "event": st.lists(st.sampled_from(("file.deleted", "deal.won")), min_size=1, max_size=2),
        "category": st.just(["files"]),
        "not_app": st.just(["crm"]),
        "source": st.just(["api"]),
        "not_actor_type": st.just(["anonymous"]),
        "target": st.sampled_from((["file:f1"], ["folder:"])),
        "q": st.just(["plan"]),
        "meta.size": st.sampled_from((["5"], ["6"])),
    },
)


def build(workspace: str, back: int, words: dict[str, Any], event_id: str) -> Event:
    category, event_type, label = words["type"]
    (kind, identity), (name, email) = words["actor"], words["name"]
    return event(
        workspace_id=workspace,
        event_id=event_id,
        occurred_at=NOON - timedelta(seconds=back),
        category=category,
        event_type=event_type,
        label=label,
        app_id="crm" if label else "",
        actor={"type": kind, "id": identity, "name": name, "email": email},
        targets=words["targets"],
        source=words["source"],
    )


def first_copies(stored: Iterable[Stored]) -> list[Event]:
    """The oracle of what counts: of each event what Kafka took first."""
    first: dict[tuple[datetime, str], Stored] = {}
    for one in stored:
        identity = (one.event.occurred_at, one.event.event_id)
        known = first.get(identity, one)
        first[identity] = min(known, one, key=lambda at: (at.accepted, at.partition, at.offset))
    return [one.event for one in first.values()]


def instants(params: dict[str, Any]) -> tuple[datetime, datetime]:
    """The bounds as the oracle takes them."""
    found = [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)]
    for number, name in enumerate(("since", "until")):
        if name in params and "tz" in params:
            day = datetime.fromisoformat(params[name]) + timedelta(days=number)
            found[number] = day.replace(tzinfo=ZoneInfo(params["tz"]))
        elif name in params:
            found[number] = datetime.fromisoformat(params[name])
    return found[0], found[1]


def matching(all_: Iterable[Event], params: dict[str, Any], but: str = "") -> list[Event]:
    since, until = instants(params)

    pairs = [
        (name, value)
        for name, values in params.items()
        if name not in ("since", "until", "tz") and name.removeprefix("not_") != but
        for value in values
    ]
    return [one for one in all_ if since <= one.occurred_at < until and matches(one, pairs)]


def users(found: list[Event]) -> list[tuple[Any, ...]]:
    latest: dict[str, tuple[datetime, str, str]] = {}
    count: Counter[str] = Counter()
    for one in found:
        value = f"{one.actor.type}:{one.actor.id}"
        count[value] += 1
        said = (one.occurred_at, one.actor.name, one.actor.email)
        latest[value] = max(latest.get(value, said), said)
    return sorted((value, at, name, email, count[value]) for value, (at, name, email) in latest.items())


def targets(found: list[Event]) -> list[tuple[Any, ...]]:
    latest: dict[str, tuple[datetime, str]] = {}
    count: Counter[str] = Counter()
    for one in found:
        named = {f"{target.type}:{target.id}": target.name for target in reversed(one.targets)}
        count.update(list(named))
        for value, name in named.items():
            latest[value] = max(latest.get(value, (one.occurred_at, name)), (one.occurred_at, name))
    return sorted((value, at, name, count[value]) for value, (at, name) in latest.items())


def types(found: list[Event]) -> list[tuple[Any, ...]]:
    native = {one.name: one.label for one in load()}
    count = Counter((one.category, one.event_type) for one in found)
    labels: dict[str, tuple[datetime, str]] = {}
    for one in found:
        said = (one.occurred_at, one.label)
        labels[one.event_type] = max(labels.get(one.event_type, said), said)
    return sorted((name, native.get(name) or labels[name][1], category, n) for (category, name), n in count.items())


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def check(client: httpx.Client, stored: list[Stored], params: dict[str, Any]) -> None:
    """All facets, the histogram of days in a zone, and with a filter on users also by name."""
    all_ = first_copies(stored)

    def get(path: str, **further: str) -> list[dict[str, Any]]:
        answer = client.get(f"/v1/{path}", params={**params, **further})
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert (body["exact"], body["scope"]) == (True, "filtered")
        rows: list[dict[str, Any]] = body["data"]
        return rows

    assert sorted(
        (one["value"], at(one["last_seen"]), one["name"] or "", one["email"] or "", one["count"])
        for one in get("facets/users")
    ) == users(matching(all_, params, "user"))
    assert sorted(
        (one["value"], at(one["last_seen"]), one["name"] or "", one["count"]) for one in get("facets/targets")
    ) == targets(matching(all_, params, "target"))
    assert sorted(
        (one["value"], one["label"], one["category"], one["count"]) for one in get("facets/events") if one["count"]
    ) == types(matching(all_, params, "event"))
    plain: dict[str, tuple[str, Callable[[Event], str]]] = {
        "categories": ("category", lambda one: one.category),
        "sources": ("source", lambda one: one.source),
        "actor-types": ("actor_type", lambda one: one.actor.type),
    }
    for path, (name, value) in plain.items():
        counted = Counter(value(one) for one in matching(all_, params, name))
        assert {one["value"]: one["count"] for one in get(f"facets/{path}") if one["count"]} == counted
    for zone in ("UTC", params.get("tz", "America/St_Johns")):
        if zone != "UTC" or "tz" not in params:
            days = Counter(f"{one.occurred_at.astimezone(ZoneInfo(zone)):%Y-%m-%d}" for one in matching(all_, params))
            found = get("histogram", interval="day", tz=zone)
            assert all(one["end"] == after["start"] for one, after in itertools.pairwise(found))
            starts = ((at(one["start"]).astimezone(ZoneInfo(zone)), one["count"]) for one in found)
            assert {f"{start:%Y-%m-%d}": count for start, count in starts if count} == days
    for search in ("STRASSE", "oδος"):
        fits = [
            value
            for value, _, name, email, _ in users(matching(all_, params, "user"))
            if any(folded(search) in folded(text) for text in (value.partition(":")[2], name, email))
        ]
        assert sorted(one["value"] for one in get("facets/users", search=search)) == fits


@settings(
    max_examples=8,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(events, copies, replays, st.lists(st.tuples(bounds, filters), min_size=1, max_size=2))
def test_what_is_counted_equals_a_look_at_every_event(
    query: QueryService,
    made: list[tuple[int, dict[str, Any]]],
    again: list[tuple[int, dict[str, Any] | None, int]],
    landed_twice: list[int],
    asked: list[tuple[dict[str, Any], dict[str, Any]]],
) -> None:
    """Ties, back-dated events, names that change, copies of the same and of other content, records landed twice."""
    workspace = query.workspace(f"w{uuid.uuid4().hex[:8]}")
    sent = [(back, words, str(uuid.uuid4())) for back, words in made]
    stored = [
        Stored(build(workspace, *one), NOON + timedelta(seconds=number), 0, number) for number, one in enumerate(sent)
    ]
    for index, words, later in again:
        back, same, event_id = sent[index % len(sent)]
        one = build(workspace, back, words or same, event_id)
        stored.append(Stored(one, NOON + timedelta(seconds=later), 1, len(stored)))
    records = [(one.event, one.accepted, one.partition, one.offset) for one in stored]
    query.tables.land(*records)
    if landed_twice:
        query.tables.land(*(records[index % len(records)] for index in landed_twice))
    client = query.client(workspace)
    for range_, chosen in asked:
        check(client, stored, {**range_, **chosen})


def test_counts_stay_exact_when_copies_are_set_aside(query: QueryService) -> None:
    """Copies arrive after a count, one of other content, then `dedupe` takes them out: the answers stay the same."""
    sent = [
        event(occurred_at=NOON - timedelta(days=back), actor={"type": "client", "id": "c1", "name": f"Name {back}"})
        for back in range(3)
    ]
    query.tables.put(*sent)
    client = query.client()

    def answers() -> list[Any]:
        paths = ("facets/users", "facets/events?category=files", "facets/targets", "histogram?interval=day")
        found = [client.get(f"/v1/{path}").json() for path in paths]
        assert all(one["exact"] for one in found)
        return [one["data"] for one in found]

    before = answers()
    other = sent[0].model_copy(update={"actor": sent[0].actor.model_copy(update={"name": "Zoe"})})
    query.tables.put(sent[1], other, accepted_at=NOON + timedelta(hours=1))
    assert answers() == before
    store = ClickHouseStore(PipelineSettings(clickhouse_url=query.clickhouse_url, clickhouse_database=query.database))
    moved = dedupe(store)
    store.close()
    assert (moved.duplicates, moved.conflicts) == (1, 1)
    assert answers() == before


def test_a_count_is_of_first_copies_and_ends_at_its_cap(query: QueryService) -> None:
    """Also where only a later copy matches, and whether or not it is known yet which events have copies."""
    sent = [event(occurred_at=NOON - timedelta(minutes=number), outcome="success") for number in range(6)]
    query.tables.put(*sent)
    query.tables.put(sent[0], sent[1].model_copy(update={"outcome": "failure"}), accepted_at=NOON + timedelta(hours=1))
    query.tables.put(sent[0], accepted_at=NOON + timedelta(seconds=1), offset=0)
    settings_ = ClickHouseSettings(clickhouse_url=query.clickhouse_url, clickhouse_database=query.database)

    async def counts(inline_rows: int, cap: int) -> list[tuple[int, bool]]:
        budget = Budget(10, 1024)
        reader = Reader(settings_, budget, budget)
        copies = Copies(reader, query.clock, inline_rows=inline_rows, most=100, workspaces=1)
        counting = Counting(reader, copies, budget, 10**6)
        asking = Asking(Plans(query.access, "/upgrade", query.clock), query.clock)
        principal = Principal("w1", "key", "k1", scopes=frozenset({Scope.READ}))
        asked: tuple[list[tuple[str, str]], ...] = (
            [],
            [("outcome", "success")],
            [("outcome", "failure")],
            [("user", "nobody")],
        )
        questions = [await asking.question(principal, params) for params in asked]
        found = [await counting.count(one.workspace_id, one.shown, cap) for one in questions]
        await reader.close()
        return found

    for inline_rows in (0, 1000):
        assert asyncio.run(counts(inline_rows, 6)) == [(6, False), (6, False), (0, False), (0, False)]
        assert asyncio.run(counts(inline_rows, 3))[:2] == [(3, True), (3, True)]
