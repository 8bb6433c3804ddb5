"""The tables: what is sent comes back byte for byte, the schema fits, and everybody is listed."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit_consumers import contract
from audit_consumers.batch import FormingBatch
from audit_consumers.clickhouse import ClickHouseStore
from audit_consumers.migrate import migrate
from audit_consumers.positions import Log, Range
from audit_consumers.process import check_contract
from audit_consumers.settings import PipelineSettings
from audit_schemas.codec import encode, frame
from audit_schemas.errors import ContractBroken
from audit_schemas.event import Event
from audit_schemas.migrations import migrations
from audit_schemas.registry import StaticRegistry
from audit_schemas.row import SELECT, datum_of_row, event_of_row
from tests.builders import NOON, event, events
from tests.fakes import FakeRecord
from tests.support.users import unlisted

if TYPE_CHECKING:
    from tests.support.servers import ClickHouseServer

FIRST = itertools.count(0, 100_000)


@pytest.fixture
def pipeline_settings(clickhouse: ClickHouseServer, database: str) -> PipelineSettings:
    return PipelineSettings(clickhouse_url=clickhouse.url, clickhouse_database=database)


@pytest.fixture
def store(pipeline_settings: PipelineSettings) -> Iterator[ClickHouseStore]:
    migrate(pipeline_settings, list)
    made = ClickHouseStore(pipeline_settings)
    yield made
    made.close()


def insert(store: ClickHouseStore, log: Log, first: int, values: list[bytes], at: datetime = NOON) -> None:
    forming = FormingBatch(log, first, StaticRegistry().schema)
    forming.add([FakeRecord(value, first + n, int(at.timestamp() * 1000)) for n, value in enumerate(values)])
    batch = forming.seal()
    for container in batch.containers:
        store.insert(container, uuid.uuid4().hex, "test")


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.lists(events(category="files"), min_size=1, max_size=12))
def test_a_row_gives_back_exactly_the_bytes_that_were_sent(store: ClickHouseStore, sent: list[Event]) -> None:
    """For arbitrary valid events: all Unicode, all optional fields, every kind of address."""
    first = next(FIRST)
    log = Log("t.files", "roundtrip", 0)
    insert(store, log, first, [frame(encode(one)) for one in sent])
    rows = store.rows(
        f"SELECT {', '.join(SELECT)} FROM audit_events WHERE kafka_offset BETWEEN {{f:Int64}} AND {{l:Int64}}"
        " ORDER BY kafka_offset",
        {"f": first, "l": first + len(sent) - 1},
    )
    assert [datum_of_row(row) for row in rows] == [encode(one) for one in sent]
    assert [event_of_row(row) for row in rows] == sent


def test_every_address_the_codec_makes_is_canonical_for_the_tables(store: ClickHouseStore) -> None:
    """The spellings on which RFC 5952 and the engine differ are stored, not refused."""
    addresses = [
        "::1",
        "::1:2",
        "::1.2.3.4",
        "1:0:3:4:5:6:7:8",
        "2001:db8:0:0:1::1",
        "64:ff9b::1.2.3.4",
        "::ffff:0:1:2",
    ]
    sent = [event(ip=one, event_id=str(uuid.uuid4())) for one in addresses]
    insert(store, Log("t.files", "addresses", 0), 0, [frame(encode(one)) for one in sent])
    rows = store.rows(f"SELECT {', '.join(SELECT)} FROM audit_events ORDER BY kafka_offset", {})
    assert [event_of_row(row) for row in rows] == sent


def test_a_row_of_a_foreign_producer_is_sorted_by_its_fault(store: ClickHouseStore) -> None:
    """Spellings we don't make, wrong units and empty identities each have their reason."""
    good = frame(encode(event()))
    ip = b"\x16203.0.113.7"
    values = {
        "ip_not_canonical": good.replace(ip, b"\x16203.000.1.7"),
        "event_id_not_canonical": good[:6] + b"0" * 8 + b"-0000-0000-0000-000000000000" + good[42:],
        "occurred_at_out_of_range": frame(encode(event(occurred_at=datetime(2199, 1, 1, tzinfo=UTC)))),
        "category_unlike_topic": frame(encode(event(category="tasks"))),
        "empty_workspace_id": good.replace(b"\x04w1", b"\x00", 1),
        "text_not_utf8": good.replace(b"Ada L", b"Ada\xff\xfe"),
    }
    insert(store, Log("t.files", "foreign", 0), 0, list(values.values()))
    rows = store.rows("SELECT reason FROM audit_quarantine ORDER BY kafka_offset", {})
    assert [row[0] for row in rows] == list(values)
    assert store.rows("SELECT count() FROM audit_events", {})[0][0] == 0


def test_the_schema_and_the_columns_agree(store: ClickHouseStore) -> None:
    """Units and widths, every leaf of every record, and windows large enough."""
    check_contract(store)
    windows = store.dedup_windows()
    assert set(windows) == {"audit_events", "audit_quarantine", "audit_users"}
    assert all(window >= contract.LEAST_WINDOW for window in windows.values())


@pytest.mark.parametrize(
    ("column", "type_", "fault"),
    [
        ("occurred_at", "DateTime64(3, 'UTC')", "occurred_at"),
        ("kafka_offset", "UInt32", "kafka_offset"),
        ("targets", "Array(Tuple(type String, id String))", "targets"),
        ("label", None, "no column label"),
        ("extra", "String", "no field for audit_ingest.extra"),
    ],
)
def test_a_mismatch_is_named_before_anything_is_lost(
    store: ClickHouseStore, column: str, type_: str | None, fault: str
) -> None:
    """What would be lost silently stops the worker at its start."""
    columns: dict[str, Any] = dict(store.columns("audit_ingest"))
    columns.pop(column, None)
    if type_ is not None:
        columns[column] = type_
    found = contract.faults(StaticRegistry().schema(1), columns, {"audit_events": 0})
    assert any(fault in one for one in found)
    assert any("remembers only 0 tokens" in one for one in found)


def test_who_acted_is_listed_also_after_an_insert_that_broke_off(store: ClickHouseStore) -> None:
    """The worker lists them itself, as the migration did for what was there before; repeating it changes nothing."""
    log = Log("t.files", "users", 0)
    now = datetime.now(UTC)
    values = [
        frame(encode(event(actor={"type": "client", "id": f"c{number % 3}", "name": "Ada"}, occurred_at=now)))
        for number in range(6)
    ]
    insert(store, log, 0, values, now)
    listed = store.rows("SELECT * FROM audit_users FINAL ORDER BY ALL", {})
    assert (len(listed), unlisted(store)) == (3, [])
    store.command("TRUNCATE TABLE audit_users")
    assert len(unlisted(store)) == 3
    (backfill,) = (one.statements[-1] for one in migrations() if one.name == "users")
    store.command(backfill)
    assert store.rows("SELECT * FROM audit_users FINAL ORDER BY ALL", {}) == listed
    store.command("TRUNCATE TABLE audit_users")
    for _ in range(2):
        store.list_users(log, Range(0, 5))
        assert store.rows("SELECT * FROM audit_users FINAL ORDER BY ALL", {}) == listed


def test_migrations_are_applied_once_and_never_change(pipeline_settings: PipelineSettings) -> None:
    """A second run does nothing; a changed one, or one that meets open intents, is refused."""
    assert len(migrate(pipeline_settings, list)) == len(migrations())
    assert migrate(pipeline_settings, list) == []
    store = ClickHouseStore(pipeline_settings)
    store.command("ALTER TABLE audit_migrations DELETE WHERE number = 2 SETTINGS mutations_sync = 1")
    with pytest.raises(ContractBroken, match=r"t\.files\[0\] 5-9"):
        migrate(pipeline_settings, lambda: ["t.files[0] 5-9"])
    store.command("ALTER TABLE audit_migrations UPDATE checksum = 'x' WHERE number = 1 SETTINGS mutations_sync = 1")
    with pytest.raises(ContractBroken, match="0001 events was changed"):
        migrate(pipeline_settings, list)
    store.close()
