"""The outbox's parts by themselves: what a row keeps, which relay works, how long a pause is."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from sqlalchemy import Engine, create_engine, insert, update
from sqlalchemy.pool import StaticPool

from audit_producers import AuditLog, ProducerSettings
from audit_producers.outbox import Outbox, OutboxRelay
from audit_producers.outbox.lease import Lease
from audit_producers.outbox.stored import event_of_text, text_of
from audit_schemas.event import EPOCH, Event, ProducerStamp
from tests import builders

OUTBOX = Outbox()


@pytest.fixture
def engine() -> Iterator[Engine]:
    """A database in memory with the tables."""
    engine = create_engine("sqlite://", poolclass=StaticPool)
    OUTBOX.create(engine)
    yield engine
    engine.dispose()


class Clock:
    """Seconds that pass when told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@settings(max_examples=30)
@given(builders.events())
def test_a_row_gives_back_the_event(event: Event) -> None:
    """All that the caller said, in ASCII; the stamp and the Events API's instant are others' to give."""
    text = text_of(event)
    assert text.isascii()
    assert event_of_text(text) == event.model_copy(update={"producer": ProducerStamp(), "received_at": EPOCH})


def test_a_row_of_an_older_version_gets_the_defaults_of_newer_fields() -> None:
    """As a reader of an older schema does."""
    values = json.loads(text_of(builders.event()))
    for name in ("outcome", "session_id", "on_behalf_of"):
        del values[name]
    event = event_of_text(json.dumps(values))
    assert (event.outcome, event.session_id, event.on_behalf_of.id) == ("success", "", "")


def test_the_lease_goes_to_one_and_passes_on_only_after_silence(engine: Engine) -> None:
    """Each asks in its own time: a holder that goes on keeps it, one that is silent for 10 s loses it."""
    clock = Clock()
    first, second = (Lease(OUTBOX.relay_table, 10, clock) for _ in range(2))
    assert (first.hold(engine), second.hold(engine)) == (True, False)
    for clock.now in (5.0, 12.0, 19.0, 27.0, 36.0, 45.0, 55.0):
        assert (first.hold(engine), second.hold(engine)) == (True, False)
    clock.now = 64.9
    assert not second.hold(engine)
    clock.now = 65.1
    assert second.hold(engine)
    assert (first.hold(engine), first.held, second.held) == (False, False, True)
    second.release(engine)
    assert (first.hold(engine), second.hold(engine)) == (True, False)


def test_of_two_that_see_the_silence_one_takes_the_lease(engine: Engine) -> None:
    """Whoever changes the row first: the other finds it changed, or finds it there already."""
    clock = Clock()
    second, third = Lease(OUTBOX.relay_table, 10, clock), Lease(OUTBOX.relay_table, 10, clock)
    row = OUTBOX.relay_table.c
    with engine.begin() as connection:
        connection.execute(insert(OUTBOX.relay_table).values(id=1, holder="gone", beat=7))
    assert not second.hold(engine)
    clock.now = 11
    with engine.begin() as connection:
        connection.execute(update(OUTBOX.relay_table).values(beat=row.beat + 1))
    assert not second.hold(engine), "it lives"
    clock.now = 22
    assert (second.hold(engine), third.hold(engine)) == (True, False)


def test_pauses_grow_are_spread_and_end_at_half_a_minute(engine: Engine) -> None:
    """Between half and all of 0.1 s, twice as much with each failure."""
    relay = relay_with(engine, rng=random.Random(1))
    pauses = [relay.pause_s(failures) for failures in (0, 1, 2, 8, 9, 1000)]
    for pause, most in zip(pauses, (0.1, 0.2, 0.4, 25.6, 30, 30), strict=True):
        assert most / 2 <= pause <= most
    assert len(set(pauses)) == len(pauses)


@pytest.mark.parametrize(
    "options", [{"until": "sent"}, {"batch": 0}, {"batch": 10_001}, {"poll_s": 0}, {"takeover_s": -1}]
)
def test_a_relay_that_could_not_work_is_refused(engine: Engine, options: dict[str, Any]) -> None:
    """Where it is made."""
    with pytest.raises(ValueError, match=r"until|above 0"):
        relay_with(engine, **options)


def relay_with(engine: Engine, **options: Any) -> OutboxRelay:
    return OutboxRelay(OUTBOX, engine, AuditLog("orders", settings=ProducerSettings()), **options)


def test_tables_join_the_metadata_and_schema_of_the_caller() -> None:
    """So that its migrations make them."""
    outbox = Outbox("events", schema="billing")
    assert sorted(outbox.table.metadata.tables) == ["billing.events", "billing.events_relay"]
    assert Outbox("other", metadata=outbox.table.metadata).table.metadata is outbox.table.metadata
