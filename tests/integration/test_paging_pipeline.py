"""Paging while events arrive: real topics, a real worker, the real service."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from audit_schemas.codec import encode, frame
from tests.builders import event
from tests.support.pipeline import Pipeline
from tests.support.query_service import QueryService
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.servers import ClickHouseServer, KafkaServer

PER_SECOND = 2000
CATEGORIES = ("files", "crm", "tasks")
FILTER: dict[str, Any] = {"category": ["files", "crm"], "user": "internal_user:u1"}


@dataclass
class Traffic:
    """Emits until it is stopped; every tenth event happened up to some hours before, every fifth is of another workspace."""

    pipeline: Pipeline
    chance: random.Random = field(default_factory=lambda: random.Random(5))
    stopping: threading.Event = field(default_factory=threading.Event)
    sent: int = 0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        began = time.monotonic()
        while not self.stopping.wait(0.01):
            now = datetime.now(UTC)
            alike: dict[tuple[str, str, str], bytes] = {}
            for number in range(self.sent, int((time.monotonic() - began) * PER_SECOND)):
                kind = (CATEGORIES[number % 3], f"u{number % 4}", "w2" if number % 5 == 0 else "w1")
                if number % 10 == 3:
                    value = self._value(kind, now - timedelta(seconds=self.chance.uniform(0, 5 * 3600)))
                elif (value := alike.get(kind, b"")) == b"":
                    # Events of one instant: their order among each other is that of their ids.
                    value = alike[kind] = self._value(kind, now)
                event_id = str(uuid.uuid4())
                self.pipeline.produce(kind[0], value[:6] + event_id.encode() + value[42:], key=event_id)
                self.pipeline.ids.append(event_id)
                self.sent += 1
        self.seconds = time.monotonic() - began

    def _value(self, kind: tuple[str, str, str], at: datetime) -> bytes:
        category, who, workspace = kind
        actor = {"type": "internal_user", "id": who, "name": who}
        return frame(encode(event(category=category, workspace_id=workspace, occurred_at=at, actor=actor)))

    def stop(self) -> None:
        self.stopping.set()
        self._thread.join(30)
        self.pipeline.flush()


class Walk:
    """Pages from the first on, and the marks of the first."""

    def __init__(self, service: QueryService, **params: Any) -> None:
        self._client, self.began = service.client(), datetime.now(UTC)
        answer = self._client.get("/v1/events", params={"limit": 250, **params}).json()
        self.marks: Mapping[str, str] = answer["complete_through"]
        self.rows: list[dict[str, Any]] = answer["data"]
        self._next, self.ended = answer["next"], self.began

    def go_on(self) -> bool:
        """Reads the next page; False behind the last."""
        if self._next:
            answer = self._client.get(self._next).json()
            self.rows += answer["data"]
            self._next, self.ended = answer["next"], datetime.now(UTC)
        return bool(self._next)

    @property
    def ids(self) -> list[str]:
        return [row["event_id"] for row in self.rows]


@pytest.fixture
def pipeline(
    kafka: KafkaServer, clickhouse: ClickHouseServer, topic_prefix: str, database: str, tmp_path: Path
) -> Iterator[Pipeline]:
    made = Pipeline(kafka, clickhouse, topic_prefix, database, tmp_path, overrides={"AUDIT_FLUSH_MS": "400"})
    yield made
    made.close()


def stored(pipeline: Pipeline) -> dict[str, dict[str, Any]]:
    rows = pipeline.store.rows(
        "SELECT toString(event_id), workspace_id, category, actor_id, kafka_timestamp, occurred_at FROM audit_events",
        {},
    )
    names = ("workspace", "category", "actor", "accepted", "occurred")
    return {
        row[0]: dict(zip(names, (*row[1:4], *(at.replace(tzinfo=UTC) for at in row[4:])), strict=True)) for row in rows
    }


def test_every_page_together_holds_every_event_that_was_accepted_once(
    pipeline: Pipeline, service: QueryService
) -> None:
    """With and without a filter: all that the first page's `complete_through` claims is there, and nothing comes twice."""
    pipeline.worker().start()
    begun = datetime.now(UTC)
    traffic = Traffic(pipeline)
    try:

        def complete() -> bool:
            mark = service.client().get("/v1/events?limit=1").json()["complete_through"]["all"]
            return mark is not None and datetime.fromisoformat(mark) > begun + timedelta(seconds=1)

        eventually(complete, 60, "a second is complete", interval_seconds=0.1)
        walks = [Walk(service), Walk(service, **FILTER)]
        # In turns, so that neither is at its end before the other.
        while sum(one.go_on() for one in walks):
            pass
    finally:
        traffic.stop()
    pipeline.wait_for_all()
    pipeline.prove()
    assert traffic.sent > 0.8 * PER_SECOND * traffic.seconds
    events = stored(pipeline)
    for found, categories, actors, least in (
        (walks[0], CATEGORIES, {"u0", "u1", "u2", "u3"}, 1000),
        (walks[1], ("files", "crm"), {"u1"}, 150),
    ):
        mark = min(datetime.fromisoformat(found.marks[category]) for category in categories)
        matching = {
            event_id
            for event_id, one in events.items()
            if one["workspace"] == "w1" and one["category"] in categories and one["actor"] in actors
        }
        due = {event_id for event_id in matching if events[event_id]["accepted"] < mark}
        assert len(due) > least
        assert due - set(found.ids) == set(), "events are missing"
        assert len(found.ids) == len(set(found.ids)), "events come twice"
        assert set(found.ids) <= matching
        moments = [row["occurred_at"] for row in found.rows]
        assert moments == sorted(moments, reverse=True)
        back_dated = {row["event_id"] for row in found.rows if row["late"]}
        minute = timedelta(seconds=60)
        assert back_dated == {i for i in found.ids if events[i]["accepted"] - events[i]["occurred"] > minute}
        assert len(back_dated & due) > least / 20
        assert any(found.began < events[one]["accepted"] < found.ended for one in matching), "nothing arrived meanwhile"
