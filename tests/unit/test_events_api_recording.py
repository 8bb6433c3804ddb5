"""Recording: what an attempt is answered, and what becomes of its keys, when the log behaves badly."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from audit_producers import NotDelivered, Receipt, SpoolFull, Stats
from audit_producers.events_api.fields import Caller
from audit_producers.events_api.intake import Intake
from audit_producers.events_api.keys import Keys
from audit_producers.events_api.recording import Fate, Outcome, Recording
from audit_producers.events_api.tables import Database
from audit_producers.events_api.work import Work
from audit_schemas.catalogue import load
from tests.builders import NOON

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from audit_schemas.event import Event

CALLER = Caller("w1", "crm", "k1", "CRM", "", "", "")
INTAKE = Intake(load())
START = int(NOON.timestamp() * 1000)


@dataclass
class Log:
    """Takes events as a spool does: durable at once, later, or never. `room`: how many it takes."""

    room: int = 100
    settles: str = "at once"
    events: list[Event] = field(default_factory=list)

    def submit(self, event: Event) -> Receipt:
        if len(self.events) >= self.room:
            raise SpoolFull("full")
        self.events.append(event)
        receipt = Receipt(event.event_id)
        if self.settles == "at once":
            receipt.settle_spooled()
        elif self.settles == "fails":
            receipt.settle_failed(NotDelivered("closed"))
        return receipt

    def stats(self) -> Stats:
        return Stats()

    def close(self, timeout: float) -> int:
        return 0


class Bench:
    """A recording on a log, a real table of keys, and a clock in milliseconds."""

    def __init__(self, folder: Path) -> None:
        self.log, self.now = Log(), START
        self._database = Database(f"sqlite:///{folder}/control.db")
        self._work = Work(one_writer=True)
        self._recording = Recording(self.log, Keys(self._database, days=7, lease_s=30), self._work, 0.05)

    def attempt(self, *items: dict[str, Any]) -> list[Outcome]:
        prepared = INTAKE.prepare(items, CALLER, "", {}, NOON)
        return asyncio.run(self._recording.record(prepared, None, 10, self.now))[0]

    def fates(self, *items: dict[str, Any]) -> list[Fate]:
        return [one.fate for one in self.attempt(*items)]

    def close(self) -> None:
        self._work.close()
        self._database.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


def keyed(key: str, **further: Any) -> dict[str, Any]:
    return {"event_type": "deal.won", "event_id": key, **further}


def test_what_the_log_does_not_take_frees_its_keys(bench: Bench) -> None:
    """The order is kept: nothing behind the first that was not taken is tried. The keys take other content later."""
    bench.log.room = 1
    assert bench.fates(keyed("a"), keyed("b"), keyed("c")) == [Fate.ACCEPTED, Fate.NOT_TAKEN, Fate.NOT_TAKEN]
    assert len(bench.log.events) == 1
    bench.log.room = 9
    assert bench.fates(keyed("a"), keyed("b", label="Other"), keyed("c")) == [
        Fate.DUPLICATE,
        Fate.ACCEPTED,
        Fate.ACCEPTED,
    ]


def test_what_nobody_confirms_in_time_is_in_doubt_and_keeps_its_keys(bench: Bench) -> None:
    """Until the lease ends nobody else may try; then only the same content, at the same instant."""
    bench.log.settles = "never"
    assert bench.fates(keyed("a")) == [Fate.IN_DOUBT]
    bench.log.settles = "at once"
    with pytest.raises(Exception, match="nothing of this request was recorded"):
        bench.fates(keyed("a"))
    bench.now += 30_001
    assert bench.fates(keyed("a", label="Other")) == [Fate.REJECTED]
    assert bench.fates(keyed("a")) == [Fate.ACCEPTED]
    first, second = bench.log.events
    assert (first.event_id, first.occurred_at) == (second.event_id, second.occurred_at)


def test_what_is_given_back_may_be_tried_again_at_once(bench: Bench) -> None:
    """With the same content only, since it may have been recorded all the same."""
    bench.log.settles = "fails"
    assert bench.fates(keyed("a")) == [Fate.IN_DOUBT]
    bench.log.settles = "at once"
    assert bench.fates(keyed("a", label="Other")) == [Fate.REJECTED]
    assert bench.fates(keyed("a")) == [Fate.ACCEPTED]
    assert bench.fates(keyed("a")) == [Fate.DUPLICATE]


def test_a_repeat_that_is_not_valid_any_more_is_still_a_duplicate(bench: Bench) -> None:
    """What was accepted stays accepted, though the clock has left its instant behind."""
    old = keyed("a", occurred_at="2016-03-20T12:00:00Z")
    assert bench.fates(old) == [Fate.ACCEPTED]
    later = INTAKE.prepare([old, keyed("a", outcome="maybe")], CALLER, "", {}, NOON.replace(month=4))
    assert later[0].event is None
    again = asyncio.run(bench._recording.record(later, None, 10, bench.now))[0]
    assert [one.fate for one in again] == [Fate.DUPLICATE, Fate.REJECTED]
