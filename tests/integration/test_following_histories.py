"""Whatever arrives in whatever order, and wherever a stream is cut: each matching event is followed exactly once."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from audit_query import following
from tests.builders import NOON, event
from tests.support.query_service import QueryService
from tests.support.rows import Tables
from tests.support.streams import EventStream

if TYPE_CHECKING:
    from audit_schemas.event import Event


@dataclass
class History:
    """One log of a random history. Batches become known to the ledger in order, some only later."""

    tables: Tables
    topic_id: str
    partition: int
    offset: int = 0
    known: bool = False
    sent: list[Event] = field(default_factory=list)
    waiting: list[tuple[int, int, list[str]]] = field(default_factory=list)

    def grow(self, workspace: str, chance: random.Random) -> list[str]:
        """Stores some batches; the ids of new events that match and that the ledger says are there."""
        found: list[str] = []
        for _ in range(chance.randint(0, 2)):
            batch, matching = [], []
            for _ in range(chance.randint(1, 6)):
                if self.sent and chance.random() < 0.3:
                    batch.append(chance.choice(self.sent))
                    continue
                user = {"type": "client", "id": chance.choice(("u1", "u1", "u2"))}
                moment = NOON - timedelta(seconds=chance.randint(0, 90 * 86_400))
                batch.append(event(workspace_id=workspace, actor=user, occurred_at=moment))
                self.sent.append(batch[-1])
                matching += [batch[-1].event_id] if user["id"] == "u1" else []
            self._put(batch, matching, unused=chance.randint(0, 3))
            found += self.settle(chance.randint(0, len(self.waiting)))
        return found

    def _put(self, batch: list[Event], matching: list[str], unused: int = 0) -> None:
        """One batch, behind it some offsets without an event."""
        first = self.tables.offset = self.offset
        accepted = NOON + timedelta(seconds=first)
        self.tables.put(*batch, accepted_at=accepted, partition=self.partition, topic_id=self.topic_id)
        self.offset += len(batch) + unused
        self.waiting.append((first, self.offset - 1, matching))

    def last(self, one: Event) -> list[str]:
        """A matching event behind all the others."""
        self._put([one], [one.event_id])
        return self.settle()

    def settle(self, batches: int | None = None) -> list[str]:
        """Enters the oldest batches in the ledger, all by default."""
        now = self.waiting[:batches]
        del self.waiting[:batches]
        self.tables.ledger(*[part[:2] for part in now], partition=self.partition, topic_id=self.topic_id)
        if now and not self.known:
            self.known, end = True, now[-1][1] + 1
            files = ("files",)
            self.tables.progress(NOON, categories=files, partition=self.partition, topic_id=self.topic_id, end=end)
        return [one for _, _, matching in now for one in matching]


def test_any_history_is_followed_without_loss_or_repetition(
    live: QueryService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random arrivals in three logs, copies, holes and cuts after any event: every matching event exactly once.

    With few events and offsets at a time, so that each look finds more than it takes.
    """
    monkeypatch.setattr(following, "MOST", 3)
    monkeypatch.setattr(following, "BLOCK", 2)
    monkeypatch.setattr(following, "OFFSETS", (8, 64))
    chance = random.Random(20260314)
    for round_ in range(2):
        workspace = live.workspace(f"w-{round_}")
        logs = [History(live.tables, f"round-{round_}", number) for number in range(3)]
        client = live.client(workspace)
        wanted: list[str] = []
        seen: list[str] = []
        with EventStream(client, "user=u1") as stream:
            last_id = stream.opened().last_id
        for _step in range(6):
            for one in logs:
                wanted += one.grow(workspace, chance)
            with EventStream(client, "user=u1", last_id=last_id) as stream:
                seen += stream.ids(min(chance.randint(0, 6), len(wanted) - len(seen)))
                last_id = stream.last_id
        for one in logs:
            wanted += one.settle()
        with EventStream(client, "user=u1", last_id=last_id) as stream:
            seen += stream.ids(len(wanted) - len(seen))
            last = logs[0].last(event(workspace_id=workspace))
            assert stream.ids(1) == last, "something is shown again"
        assert sorted(seen) == sorted(wanted)
