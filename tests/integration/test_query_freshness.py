"""`GET /v1/freshness`: how far storing is behind, and what is told of it."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from audit_infra.access import Scope
from audit_query.freshness import Freshness
from audit_query.sql import Query
from audit_schemas.topics import CATEGORIES
from tests.builders import NOON, event
from tests.support.query_service import QueryService


def report(query: QueryService) -> dict[str, Any]:
    answer = query.client(scopes=[Scope.READ]).get("/v1/freshness")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def pause(query: QueryService, topic: str, partition: int, *, paused: bool = True) -> None:
    query.tables.client.insert(
        "audit_pauses", [(topic, partition, paused)], column_names=["kafka_topic", "kafka_partition", "paused"]
    )


def test_who_may_ask_and_how(query: QueryService) -> None:
    """The scope audit:read and no parameters; all of them are refused at once."""
    assert query.guest().get("/v1/freshness").status_code == 401
    assert query.client(scopes=[Scope.WRITE]).get("/v1/freshness").status_code == 403
    refused = query.client().get("/v1/freshness?category=files&since=1h")
    assert refused.status_code == 400
    assert {one["name"] for one in refused.json()["errors"]} == {"category", "since"}
    assert query.client().post("/v1/freshness").status_code == 405


def test_nothing_is_claimed_before_a_worker_has_spoken(query: QueryService) -> None:
    """Every moment is null, and the slowest partition is one that nobody knows."""
    found = report(query)
    unknown = dict.fromkeys(("all", *CATEGORIES))
    assert found["complete_through"] == found["behind_s"] == found["lag"] == unknown
    assert found["slowest"] == {
        "category": "authentication",
        "partition": None,
        "complete_through": None,
        "behind_s": None,
        "paused": False,
    }


def test_the_slowest_partition_is_named(query: QueryService) -> None:
    """The earliest mark, one that has not spoken before all others; and whether an operator holds it."""
    tables, at = query.tables, datetime(2026, 3, 14, 12, 0, tzinfo=UTC)
    tables.progress(at - timedelta(seconds=1))
    tables.progress(at - timedelta(seconds=2), categories=("crm",), partitions=3)
    tables.progress(at - timedelta(seconds=90), categories=("crm",), partitions=3, partition=2)
    found = report(query)
    assert (found["slowest"]["category"], found["slowest"]["partition"]) == ("crm", 1)
    assert found["complete_through"]["crm"] is found["behind_s"]["crm"] is found["behind_s"]["all"] is None
    tables.progress(at, categories=("crm",), partitions=3, partition=1)
    pause(query, "audit.crm", 2)
    pause(query, "audit.files", 0)
    found = report(query)
    assert found["slowest"] == {
        "category": "crm",
        "partition": 2,
        "complete_through": "2026-03-14T11:58:30.000Z",
        "behind_s": 90.0,
        "paused": True,
    }
    assert (found["behind_s"]["all"], found["behind_s"]["crm"], found["behind_s"]["files"]) == (90.0, 90.0, 1.0)
    assert found["complete_through"]["all"] == found["complete_through"]["crm"] == "2026-03-14T11:58:30.000Z"
    pause(query, "audit.crm", 2, paused=False)
    assert report(query)["slowest"]["paused"] is False
    query.clock.now = at - timedelta(minutes=5)
    assert report(query)["behind_s"]["files"] == 0


def test_a_recreated_topic_begins_anew(query: QueryService) -> None:
    """What was said of its former incarnation counts no longer, however far that was."""
    query.tables.progress(NOON)
    query.tables.progress(
        NOON - timedelta(seconds=60), categories=("tasks",), topic_id="two", at=NOON + timedelta(seconds=1)
    )
    query.tables.progress(
        NOON + timedelta(seconds=9), categories=("tasks",), topic_id="old", at=NOON - timedelta(hours=1), partitions=2
    )
    found = report(query)
    assert found["behind_s"]["tasks"] == 60
    assert found["slowest"]["partition"] == 0


def test_the_lag_is_that_of_recent_events_of_all_workspaces(query: QueryService) -> None:
    """From Kafka's append to the insert, per category and for all; only percentiles are told, and only of the window."""
    query.tables.client.command(
        "INSERT INTO audit_events (workspace_id, category, occurred_at, event_id, kafka_offset, kafka_timestamp,"
        " ingested_at) SELECT concat('w', toString(number % 5)), ['files', 'crm'][number % 2 + 1], at, generateUUIDv4(),"
        " number, at - toIntervalMillisecond(number), at"
        " FROM (SELECT number, toDateTime64('2026-03-14 11:58:00', 3, 'UTC') AS at FROM numbers(1000))"
    )
    # Older than the window, and by a clock that is behind.
    query.tables.client.command(
        "INSERT INTO audit_events (workspace_id, category, occurred_at, kafka_timestamp, ingested_at) VALUES"
        " ('w1', 'tasks', now(), '2026-03-14 10:00:00', '2026-03-14 11:50:00'),"
        " ('w1', 'forms', now(), '2026-03-14 11:59:02', '2026-03-14 11:59:00')"
    )
    found = report(query)
    assert found["lag"]["files"] == {"p50_s": 0.5, "p99_s": 0.99}
    assert abs(found["lag"]["crm"]["p50_s"] - 0.501) < 0.003
    assert abs(found["lag"]["all"]["p99_s"] - 0.989) < 0.003
    assert found["lag"]["tasks"] is None
    assert found["lag"]["forms"] == {"p50_s": 0, "p99_s": 0}
    assert found["lag_window_s"] == 300
    query.clock.now += timedelta(minutes=5)
    assert set(report(query)["lag"].values()) == {None}
    narrow = QueryService(query.clickhouse_url, query.database, query.folder, {"lag_window_s": 59.5})
    try:
        assert narrow.client().get("/v1/freshness").json()["lag"]["files"] is None
    finally:
        narrow.close()


def test_late_begins_beyond_a_minute(query: QueryService) -> None:
    """An event accepted exactly 60 s after it happened is not late, a millisecond more is; the setting moves the edge."""
    for behind in (0, 60_000, 60_001, 600_000):
        query.tables.put(event(), accepted_at=NOON + timedelta(milliseconds=behind))

    def late(service: QueryService) -> dict[int, bool]:
        rows = service.client().get("/v1/events").json()["data"]
        behind = [datetime.fromisoformat(row["accepted_at"]) - NOON for row in rows]
        return {round(one.total_seconds() * 1000): row["late"] for one, row in zip(behind, rows, strict=True)}

    assert late(query) == {0: False, 60_000: False, 60_001: True, 600_000: True}
    patient = QueryService(query.clickhouse_url, query.database, query.folder, {"late_after_s": 599.9995})
    try:
        assert late(patient) == {0: False, 60_000: False, 60_001: False, 600_000: True}
    finally:
        patient.close()


@dataclasses.dataclass
class Speaking:
    """Tables that say one more second each time they are asked."""

    asked: int = 0

    async def rows(self, query: Query) -> Sequence[Sequence[Any]]:
        self.asked += 1
        return [(f"audit.{category}", "id", 0, 1, self.asked * 1000, 0) for category in CATEGORIES]

    def stream(self, query: Query) -> Any:
        raise NotImplementedError


def test_answers_in_quick_succession_share_what_was_read() -> None:
    """It is never older than the setting says; what is complete stays complete meanwhile."""

    async def told(cache_s: float) -> list[str | None]:
        freshness = Freshness(Speaking(), "audit", lambda: NOON, cache_s=cache_s)
        return [(await freshness.complete_through())["all"] for _ in range(3)]

    async def shared() -> int:
        speaking = Speaking()
        freshness = Freshness(speaking, "audit", lambda: NOON, cache_s=60)
        await asyncio.gather(*(freshness.complete_through() for _ in range(16)))
        return speaking.asked

    async def ahead() -> tuple[list[str | None], int]:
        speaking = Speaking()
        freshness = Freshness(speaking, "audit", lambda: NOON, cache_s=60)
        found = [(await freshness.complete_through())["all"]]
        freshness._read_at -= 31
        found.append((await freshness.complete_through())["all"])
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))
        found.append((await freshness.complete_through())["all"])
        return found, speaking.asked

    assert asyncio.run(shared()) == 1
    assert asyncio.run(ahead()) == (
        ["1970-01-01T00:00:01.000Z", "1970-01-01T00:00:01.000Z", "1970-01-01T00:00:02.000Z"],
        2,
    ), "nobody waits for marks that are read again before their time is over"
    assert asyncio.run(told(60)) == ["1970-01-01T00:00:01.000Z"] * 3
    assert asyncio.run(told(0)) == [f"1970-01-01T00:00:0{asked}.000Z" for asked in (1, 2, 3)]
