"""Retries of the Events API: what is recorded once, whatever is repeated, at once or by several processes."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from audit_infra.access import Scope
from audit_producers.events_api.identity import Identities, content_of
from audit_producers.events_api.keys import Claim, Keys
from audit_producers.events_api.tables import Database
from audit_schemas.event import micros
from tests.builders import NOON
from tests.support.events_service import EventsService, StartEventsApi

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx

    from tests.support.postgres import PostgresProcess

WON: dict[str, Any] = {"event_type": "deal.won"}
LOST: dict[str, Any] = {"event_type": "deal.lost"}
CRM = Identities("w1", "crm")


def results(answer: httpx.Response) -> list[tuple[str, str]]:
    return [(one["status"], one["event_id"]) for one in answer.json()["results"]]


def statuses(answer: httpx.Response) -> list[str]:
    return [status for status, _ in results(answer)]


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def control_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """On either, what is told of keys must hold."""
    if request.param == "SQLite":
        return f"sqlite:///{tmp_path}/control.db"
    server: PostgresProcess = request.getfixturevalue("postgres")
    return server.database()


@pytest.fixture
def keys(events_api: EventsService) -> Iterator[Keys]:
    """The keys of the service, as another process sees them."""
    database = Database(events_api.settings.control_database_url)
    yield Keys(database, days=7, lease_s=30)
    database.close()


def test_a_repeat_with_the_same_key_records_nothing_and_keeps_the_first_instant(events_api: EventsService) -> None:
    """The repeat is a duplicate with the first one's id; other content under the key is rejected (rows 9 and 10)."""
    client, keyed = events_api.client(), {**WON, "event_id": "order 4711 ✓"}
    first = client.post("/v1/events", json=keyed)
    events_api.clock.now += timedelta(minutes=3)
    again = client.post("/v1/events", json=dict(reversed(keyed.items())) | {"label": None})
    assert (results(first), results(again)) == (
        [("accepted", CRM.of_event("order 4711 ✓"))],
        [("duplicate", CRM.of_event("order 4711 ✓"))],
    )
    other = client.post("/v1/events", json={**keyed, "label": "Other"})
    assert (other.status_code, other.json()["results"][0]["problem"]["type"]) == (
        422,
        "urn:audit-log:problem:key-reused",
    )
    assert [(one["pointer"], one["code"]) for one in other.json()["errors"]] == [("/event_id", "key_reused")]
    assert [event.occurred_at for event in events_api.events] == [NOON]


def test_a_key_twice_in_one_batch_is_one_event(events_api: EventsService) -> None:
    """The first counts, the same again is a duplicate, other content is rejected (row 9)."""
    batch = [{**WON, "event_id": "b"}, {**WON, "event_id": "b"}, {**LOST, "event_id": "b"}, WON, WON]
    answer = events_api.client().post("/v1/events", json={"events": batch})
    assert statuses(answer) == ["accepted", "duplicate", "rejected", "accepted", "accepted"]
    assert len(events_api.events) == 3


def test_an_idempotency_key_covers_the_whole_request(events_api: EventsService) -> None:
    """The same body again is all duplicates; another body is refused whole; a bad key is a problem (row 10)."""
    client, header = events_api.client(), {"Idempotency-Key": "import 1"}
    batch = {"events": [WON, {**WON, "event_id": "own"}, {"event_type": "bad"}]}
    first = client.post("/v1/events", json=batch, headers=header)
    assert results(first)[:2] == [("accepted", CRM.of_position("import 1", 0)), ("accepted", CRM.of_event("own"))]
    again = client.post("/v1/events", json=batch, headers=header)
    assert (again.status_code, statuses(again)) == (202, ["duplicate", "duplicate", "rejected"])
    for body in ({"events": [WON]}, WON, {"events": [*batch["events"][:2], {"event_type": "worse"}]}):
        other = client.post("/v1/events", json=body, headers=header)
        assert (other.status_code, other.json()["type"]) == (422, "urn:audit-log:problem:key-reused")
        assert other.json()["errors"][0]["name"] == "Idempotency-Key"
        assert "results" not in other.json()
    for bad in (b"", b"x" * 256, b"caf\xe9"):
        answer = client.post("/v1/events", json=WON, headers={b"Idempotency-Key": bad})
        assert (answer.status_code, answer.json()["errors"][0]["in"]) == (400, "header"), bad
    assert len(events_api.events) == 2
    counted = events_api.client(scopes=[Scope.ADMIN]).get("/v1/refused-events").json()["data"]
    assert {one["reason"]: one["events"] for one in counted} == {"invalid": 2, "key_reused": 1 + 1 + 3}
    # Nothing was accepted under it, so it is still free.
    assert client.post("/v1/events", json={"event_type": "bad"}, headers={"Idempotency-Key": "2"}).status_code == 422
    assert client.post("/v1/events", json=WON, headers={"Idempotency-Key": "2"}).status_code == 202


def test_a_key_that_another_attempt_holds_stops_the_whole_request(events_api: EventsService, keys: Keys) -> None:
    """409 with Retry-After and nothing recorded; after the lease the next attempt keeps the dead one's instant."""
    client, held = events_api.client(), CRM.of_event("held")
    keys.claim("dead", [Claim(held, content_of(WON), micros(NOON))], (), int(NOON.timestamp() * 1000))
    batch = {"events": [{**WON, "event_id": "free"}, {**WON, "event_id": "held"}]}
    events_api.clock.now += timedelta(seconds=29)
    answer = client.post("/v1/events", json=batch)
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:audit-log:problem:in-flight")
    assert answer.headers["Retry-After"] == "1"
    assert events_api.events == []
    events_api.clock.now += timedelta(seconds=2)
    assert statuses(client.post("/v1/events", json=batch)) == ["accepted", "accepted"]
    assert [event.occurred_at for event in events_api.events] == [events_api.clock.now, NOON]
    # The dead attempt may have recorded its event, so its key is bound to that content.
    keys.claim(
        "dead2", [Claim(CRM.of_event("x"), content_of(WON), 1)], (), int(events_api.clock.now.timestamp() * 1000)
    )
    events_api.clock.now += timedelta(seconds=31)
    assert client.post("/v1/events", json={**LOST, "event_id": "x"}).status_code == 422


def test_keys_are_forgotten_after_seven_days(events_api: EventsService, keys: Keys) -> None:
    """Until then a repeat is a duplicate; later it is accepted again, under the same id, and collapses at readers."""
    client, keyed = events_api.client(), {**WON, "event_id": "k", "occurred_at": "2026-03-14T12:00:00Z"}
    first = client.post("/v1/events", json=keyed)
    events_api.clock.now += timedelta(days=7, seconds=-1)
    assert keys.prune(int(events_api.clock.now.timestamp() * 1000)) == 0
    assert statuses(client.post("/v1/events", json=keyed)) == ["duplicate"]
    events_api.clock.now += timedelta(seconds=1)
    later = client.post("/v1/events", json=keyed)
    assert results(later) == results(first)
    one, two = events_api.events
    assert (one.event_id, one.occurred_at) == (two.event_id, two.occurred_at)
    events_api.clock.now += timedelta(days=8)
    assert keys.prune(int(events_api.clock.now.timestamp() * 1000)) == 1
    assert keys.prune(int(events_api.clock.now.timestamp() * 1000)) == 0


def test_requests_without_keys_touch_no_key(events_api: EventsService, keys: Keys) -> None:
    """Each is an event of its own, and nothing is written for it."""
    client = events_api.client()
    assert len({results(client.post("/v1/events", json=WON))[0][1] for _ in range(3)}) == 3
    assert keys.prune(int((NOON + timedelta(days=99)).timestamp() * 1000)) == 0
    assert len(events_api.events) == 3


def test_many_attempts_at_once_record_one_event(start_events_api: StartEventsApi) -> None:
    """Two services on one database, eight attempts at the same moment: one is accepted, the others repeat or wait."""
    one = start_events_api()
    two = start_events_api(one.broker)
    clients = [service.client() for service in (one, two) * 4]
    for round_ in range(5):
        batch = {"events": [{**WON, "event_id": f"{round_}:{number}"} for number in range(20)]}
        together, answers = threading.Barrier(len(clients)), list[Any]()

        def attempt(client: httpx.Client, body: Any = batch, start: Any = together, into: Any = answers) -> None:
            start.wait()
            into.append(client.post("/v1/events", json=body))

        threads = [threading.Thread(target=attempt, args=[client]) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {answer.status_code for answer in answers} <= {202, 409}
        taken = [statuses(answer) for answer in answers if answer.status_code == 202]
        assert sorted(taken)[0] == ["accepted"] * 20
        assert all(one_ == ["duplicate"] * 20 for one_ in sorted(taken)[1:])
    assert one.log.flush(10) == two.log.flush(10) == 0
    assert len(one.broker.events) == len({event.event_id for event in one.broker.events}) == 100


class Attempts(RuleBasedStateMachine):
    """Arbitrary attempts against a service, beside a model of what each must be answered."""

    service: EventsService
    client: httpx.Client
    contents = (
        WON,
        LOST,
        {**WON, "occurred_at": "2026-03-14T11:00:00Z"},
        {"event_type": "deal.won", "outcome": "maybe"},
    )
    number = 0

    def __init__(self) -> None:
        super().__init__()
        Attempts.number += 1
        self.name = f"{Attempts.number}:"
        self.service.clock.now = NOON
        self.kept: dict[str, tuple[Any, Any]] = {}
        self.expected: list[tuple[str, Any]] = []

    def judge(self, id_: str, content: Any, occurred_at: Any) -> str:
        now = self.service.clock.now
        if content.get("outcome") == "maybe":
            return "rejected"
        if id_ in self.kept and self.kept[id_][1] > now:
            return "duplicate" if self.kept[id_][0] == content else "rejected"
        self.kept[id_] = (content, now + timedelta(days=7))
        self.expected.append((id_, occurred_at or now))
        return "accepted"

    @rule(items=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(range(4))), min_size=1, max_size=4))
    def send(self, items: list[tuple[str, int]]) -> None:
        expected = [
            self.judge(
                CRM.of_event(self.name + key), self.contents[number], NOON - timedelta(hours=1) if number == 2 else None
            )
            for key, number in items
        ]
        body = [{**self.contents[number], "event_id": self.name + key} for key, number in items]
        answer = self.client.post("/v1/events", json={"events": body})
        assert statuses(answer) == expected
        assert answer.status_code == (422 if set(expected) == {"rejected"} else 202)

    @rule(key=st.sampled_from("xy"), numbers=st.lists(st.sampled_from(range(3)), min_size=1, max_size=3))
    def send_with_key(self, key: str, numbers: list[int]) -> None:
        request, now = self.name + key, self.service.clock.now
        body = {"events": [self.contents[number] for number in numbers]}
        answer = self.client.post("/v1/events", json=body, headers={"Idempotency-Key": request})
        known = self.kept.get(request)
        if known is not None and known[1] > now and known[0] != numbers:
            assert (answer.status_code, answer.json()["type"]) == (422, "urn:audit-log:problem:key-reused")
            return
        if known is None or known[1] <= now:
            self.kept[request] = (numbers, now + timedelta(days=7))
        assert statuses(answer) == [
            self.judge(
                CRM.of_position(request, index),
                self.contents[number],
                NOON - timedelta(hours=1) if number == 2 else None,
            )
            for index, number in enumerate(numbers)
        ]

    @rule(days=st.sampled_from((1, 5, 7)))
    def wait(self, days: int) -> None:
        self.service.clock.now += timedelta(days=days)

    def teardown(self) -> None:
        """Each accepted event was recorded once, at the instant of its first attempt."""
        recorded = [(event.event_id, event.occurred_at) for event in self.service.events]
        assert recorded == self.expected
        self.service.broker.records.clear()


def test_any_sequence_of_attempts_is_answered_as_the_contract_says(start_events_api: StartEventsApi) -> None:
    """A state machine of keys, contents, batches and time."""
    service = start_events_api(rate_limit_requests="1000000/minute", rate_limit_events="1000000/minute")
    Attempts.service, Attempts.client, Attempts.number = service, service.client(), 0
    run_state_machine_as_test(
        Attempts,
        settings=settings(
            max_examples=40,
            stateful_step_count=12,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
