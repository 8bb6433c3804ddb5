"""The contract of `Store`, held against the tables of a real engine and against the fake of the unit tests."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from audit_consumers.batch import Batch, Container, FormingBatch
from audit_consumers.clickhouse import ClickHouseStore
from audit_consumers.migrate import migrate
from audit_consumers.ports import LANDED, LOST, LedgerRow, ProgressRow, QuarantineRow, Store
from audit_consumers.positions import Log, Range
from audit_consumers.settings import PipelineSettings
from audit_schemas.codec import encode, frame
from audit_schemas.errors import RowRejected
from audit_schemas.registry import StaticRegistry
from tests.builders import event
from tests.fakes import FakeRecord, FakeStore

if TYPE_CHECKING:
    from tests.support.servers import ClickHouseServer

LOG = Log("t.files", "topicA", 3)
OTHER = Log("t.files", "topicB", 3)
NOW_MS = int(datetime.now(UTC).timestamp() * 1000)


@pytest.fixture(params=["fake", "clickhouse"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """Both implementations, empty."""
    if request.param == "fake":
        yield FakeStore()
        return
    server: ClickHouseServer = request.getfixturevalue("clickhouse")
    settings = PipelineSettings(clickhouse_url=server.url, clickhouse_database=request.getfixturevalue("database"))
    migrate(settings, list)
    made = ClickHouseStore(settings)
    yield made
    made.close()


def batch(count: int, first: int = 0, log: Log = LOG, category: str = "files") -> Batch:
    """A sealed batch of good events."""
    forming = FormingBatch(log, first, StaticRegistry().schema)
    now = datetime.now(UTC)
    records = [
        FakeRecord(
            frame(encode(event(event_id=str(uuid.uuid4()), category=category, occurred_at=now))), first + n, NOW_MS
        )
        for n in range(count)
    ]
    forming.add(records)
    return forming.seal()


def container(count: int, first: int = 0, log: Log = LOG, category: str = "files") -> Container:
    return batch(count, first, log, category).containers[0]


def test_inserted_rows_are_found_by_their_position(store: Store) -> None:
    """In the log they were inserted for, and in no other."""
    store.insert(container(5, first=10), "token", "comment")
    found = store.stored(LOG, Range(0, 12))
    assert (found.events, found.quarantine) == (frozenset({10, 11, 12}), frozenset())
    assert store.counts(LOG, Range(0, 100), NOW_MS - 60_000) == (5, 0)
    assert store.stored(OTHER, Range(0, 100)).events == frozenset()
    assert store.highest_stored(LOG, 0) == 14
    assert store.highest_stored(LOG, 15) is None
    assert store.highest_stored(OTHER, 0) is None


def test_the_same_token_inserts_nothing_again(store: Store) -> None:
    """Repeating an insert is safe; what lands under another token lands."""
    one = container(5)
    store.insert(one, "token", "c")
    store.insert(one, "token", "c")
    store.insert(container(2, first=5), "other", "c")
    assert store.counts(LOG, Range(0, 100), 0) == (7, 0)


def test_rows_of_the_wrong_category_go_to_quarantine(store: Store) -> None:
    """Sorted by the tables; their bytes come from the worker afterwards."""
    store.insert(container(2, category="crm"), "token", "c")
    found = store.stored(LOG, Range(0, 9))
    assert (found.events, found.quarantine) == (frozenset(), frozenset({0, 1}))
    assert dict(found.bare) == {0: "category_unlike_topic", 1: "category_unlike_topic"}
    store.quarantine([QuarantineRow(LOG, 0, NOW_MS, "category_unlike_topic", raw=b"\0\xff")])
    found = store.stored(LOG, Range(0, 9))
    assert (found.quarantine, dict(found.bare)) == (frozenset({0, 1}), {1: "category_unlike_topic"})


def test_quarantine_can_be_written_twice(store: Store) -> None:
    """A tombstone has no bytes and is complete all the same."""
    rows = [QuarantineRow(LOG, 4, NOW_MS, "tombstone", raw=None), QuarantineRow(LOG, 5, NOW_MS, "framing", raw=b"x")]
    store.quarantine(rows)
    store.quarantine(rows)
    found = store.stored(LOG, Range(0, 9))
    assert (found.quarantine, dict(found.bare)) == (frozenset({4, 5}), {})


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda body: body[:-60] + body[-16:], id="cut"),
        pytest.param(lambda body: body[:-100] + b"\xff" * 84 + body[-16:], id="garbled"),
    ],
)
def test_an_unreadable_row_rejects_the_whole_insert(store: Store, damage: Callable[[bytes], bytes]) -> None:
    """Nothing of it is stored, and the token is free for the good rows."""
    good = container(5)
    bad = Container(good.schema_id, good.offsets, damage(good.body))
    with pytest.raises(RowRejected):
        store.insert(bad, "token", "c")
    assert store.counts(LOG, Range(0, 9), 0) == (0, 0)
    assert not store.readable(bad)
    assert store.readable(good)
    assert store.counts(LOG, Range(0, 9), 0) == (0, 0)
    store.insert(good, "token", "c")
    assert store.counts(LOG, Range(0, 9), 0) == (5, 0)


def test_nothing_runs_when_nothing_was_sent(store: Store) -> None:
    """An attempt is looked for by its comment."""
    assert not store.running("audit-log somebody")


def test_the_ledger_gives_back_what_reaches_far_enough(store: Store) -> None:
    """In order, per log, once even when written twice."""
    rows = [
        LedgerRow(LOG, Range(10, 19), LANDED, "framing:0-2", (Range(12, 13),), 7, 3, "abc", NOW_MS),
        LedgerRow(LOG, Range(0, 9), LANDED, rows_events=10),
        LedgerRow(LOG, Range(20, 29), LOST),
        LedgerRow(OTHER, Range(0, 4), LANDED, rows_events=5),
    ]
    store.write_ledger(rows[:2])
    store.write_ledger(rows)
    assert store.ledger({LOG: 15, OTHER: 0}) == {LOG: [rows[0], rows[2]], OTHER: [rows[3]]}
    assert store.ledger({LOG: 30}) == {LOG: []}


def test_progress_and_listing_users_can_be_repeated(store: Store) -> None:
    """Both are safe at any time."""
    store.insert(container(5), "token", "c")
    for _ in range(2):
        store.write_progress([ProgressRow(LOG, 4, NOW_MS, 5, NOW_MS)])
        store.list_users(LOG, Range(0, 4))
