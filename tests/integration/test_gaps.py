"""Holes in the producers' numbers: found whatever the order, told at their age, closed by the event that was missing."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit_consumers.clickhouse import ClickHouseStore
from audit_consumers.decoding import Stamp
from audit_consumers.dedupe import dedupe
from audit_consumers.gaps import Gap, Gaps, Unwatched
from audit_consumers.migrate import migrate
from audit_consumers.ports import QuarantineRow
from audit_consumers.positions import Log
from audit_consumers.process import check_contract
from audit_consumers.settings import PipelineSettings
from audit_schemas.errors import ContractBroken
from audit_schemas.migrations import migrations
from tests.builders import NOON, event
from tests.support.rows import TOPIC_ID, Tables
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from tests.support.servers import ClickHouseServer

EVER = 2**42
"""Later than any time a test sees."""
COLUMNS = ("producer_service", "producer_instance", "producer_seq", "kafka_offset")
FOLDED = ("audit_gap_progress", "audit_producers")
Found = tuple[str, int, int]


class EndedError(Exception):
    """The process is gone."""


def ended() -> None:
    raise EndedError


class Hooked(ClickHouseStore):
    """A store that lets the test do something before a statement that writes to a table."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.before: dict[str, Any] = {}

    def command(
        self, sql: str, *, parameters: Mapping[str, Any] | None = None, settings: Mapping[str, str] | None = None
    ) -> None:
        for table in list(self.before):
            if sql.startswith(f"INSERT INTO {table} "):
                self.before.pop(table)()
        super().command(sql, parameters=parameters, settings=settings)


@dataclass
class System:
    """Tables to put numbered events into, and what is folded from them. `gaps` reads nothing twice."""

    settings: PipelineSettings
    tables: Tables
    store: Hooked
    offset: int = 0

    def __post_init__(self) -> None:
        self.gaps = Gaps(self.store, look_back_ms=0)

    def put(
        self, numbers: Sequence[tuple[str, int]], *, table: str = "audit_events", at: datetime | None = None
    ) -> None:
        """(instance, number) straight into a table, as stored now or at a given time."""
        names = (*COLUMNS, *(("ingested_at",) if at else ()))
        rows = []
        for instance, number in numbers:
            self.offset += 1
            rows.append(("svc", instance, number, self.offset, *((f"{at:%Y-%m-%d %H:%M:%S}",) if at else ())))
        self.store.insert_rows(table, names, rows)

    def send(self, instance: str, number: int, *, early: bool = False, **changes: Any) -> None:
        """An event through `audit_ingest`; one that is accepted days before it happens goes to quarantine."""
        stamp = {"service": "svc", "instance": instance, "version": "1", "seq": number}
        accepted_at = NOON - timedelta(days=2) if early else None
        self.tables.put(event(producer=stamp, **changes), accepted_at=accepted_at)

    def now(self) -> int:
        return int(self.store.rows("SELECT toUnixTimestamp64Milli(now64(3))", {})[0][0])

    def fold(self, gaps: Gaps | None = None) -> list[Gap]:
        """Folds all that is stored by now, and gives the gaps of any age by instance."""
        folding = gaps or self.gaps
        begun = self.now()
        eventually(lambda: folding.fold_all() > begun, 20, "everything is folded")
        return sorted(folding.gaps(EVER))

    def holes(self) -> list[Found]:
        return [(gap.instance, gap.first, gap.last) for gap in self.fold()]

    def expected(self) -> list[Gap]:
        """What the tables say, by looking at every number."""
        stored: dict[tuple[str, str], dict[int, int]] = defaultdict(dict)
        for service, instance, number, at in self.store.rows(
            "SELECT producer_service, producer_instance, producer_seq, toUnixTimestamp64Milli(ingested_at)"
            " FROM audit_events UNION ALL SELECT producer_service, producer_instance, producer_seq,"
            " toUnixTimestamp64Milli(quarantined_at) FROM audit_quarantine",
            {},
        ):
            if instance and number >= 0:
                known = stored[service, instance]
                known[number] = min(known.get(number, EVER), at)
        found = []
        for (service, instance), numbers in stored.items():
            hole: list[int] = []
            for number in range(max(numbers) + 2):
                if number not in numbers:
                    hole.append(number)
                elif hole:
                    since = min(at for other, at in numbers.items() if other > hole[0])
                    found.append(Gap(service, instance, hole[0], hole[-1], since))
                    hole = []
        return sorted(found)

    def forget(self, *tables: str) -> None:
        """Empties them."""
        for table in tables:
            self.store.command(f"TRUNCATE TABLE {table}")


@pytest.fixture
def system(clickhouse: ClickHouseServer, database: str) -> Iterator[System]:
    tables = Tables(clickhouse.url, database)
    tables.migrate()
    pipeline = PipelineSettings(clickhouse_url=clickhouse.url, clickhouse_database=database)
    store = Hooked(pipeline)
    yield System(pipeline, tables, store)
    store.close()
    tables.close()


numbers = st.lists(
    st.tuples(st.sampled_from(("a", "b", "")), st.integers(-1, 14) | st.just(-5)),
    min_size=1,
    max_size=8,
)
batches = st.lists(st.tuples(numbers, st.booleans(), st.booleans()), min_size=1, max_size=5)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=batches, most_rows=st.integers(4, 12))
def test_gaps_are_what_the_tables_lack(
    system: System, batches: list[tuple[list[tuple[str, int]], bool, bool]], most_rows: int
) -> None:
    """In any order, with duplicates, in events or quarantine, folded at once or bit by bit, again, or from nothing."""
    system.forget("audit_events", "audit_quarantine", *FOLDED)
    for batch, quarantined, fold in batches:
        system.put(batch, table="audit_quarantine" if quarantined else "audit_events")
        if fold:
            system.gaps.fold_all()
    expected = system.expected()
    assert system.fold() == expected
    assert system.fold(Gaps(system.store)) == expected
    system.forget(*FOLDED)
    assert system.fold(Gaps(system.store, most_rows=most_rows)) == expected


def test_a_gap_is_told_at_its_age_and_closes(system: System) -> None:
    """It counts from when the event behind it was stored, also once it is split; the late events close it."""
    system.put([("i", 0), ("i", 1), ("i", 6)])
    begun = system.now()
    eventually(lambda: system.now() > begun, 5, "the next one is stored later")
    system.put([("i", 7)])
    (gap,) = system.fold()
    assert gap.since_ms <= begun
    assert (gap.first, gap.last, gap.events) == (2, 5, 4)
    assert abs(gap.since_ms - system.now()) < 60_000
    assert system.gaps.gaps(gap.since_ms - 1) == []
    assert system.gaps.gaps(gap.since_ms) == [gap]
    assert system.gaps.missing(gap.since_ms - 1).gaps == 0
    system.put([("i", 4)])
    assert system.fold() == [Gap("svc", "i", 2, 3, gap.since_ms), Gap("svc", "i", 5, 5, gap.since_ms)]
    missing = system.gaps.missing(gap.since_ms)
    assert (missing.gaps, missing.events, missing.unwatched) == (2, 3, 0)
    system.put([("i", 3), ("i", 5), ("i", 2)])
    assert system.fold() == []


def test_events_that_arrive_in_another_order_leave_no_gap(system: System) -> None:
    """Topics are read independently of each other: the numbers come as they like, and instances are told apart."""
    system.send("one", 1, category="crm", event_type="client.created")
    system.send("two", 0)
    assert system.holes() == [("one", 0, 0)]
    system.send("one", 0, category="files")
    system.send("two", 1)
    system.send("two", 1)
    assert system.holes() == []


def test_a_quarantined_event_is_no_gap(system: System) -> None:
    """Whether a view sorted it out, the worker put the bytes in its place, or it was excluded before."""
    system.send("i", 0)
    system.send("i", 1, early=True)
    system.send("i", 3)
    assert system.holes() == [("i", 2, 2)]
    system.forget(*FOLDED)
    log, view_row = Log("audit.files", TOPIC_ID, 0), 1
    rows = [
        QuarantineRow(log, view_row, 0, "occurred_at_out_of_range", raw=b"x", stamp=Stamp("svc", "i", 1)),
        QuarantineRow(log, 10, 0, "oversized", raw=b"x", stamp=Stamp("svc", "i", 2)),
        QuarantineRow(log, 11, 0, "tombstone"),
    ]
    system.store.quarantine(rows)
    system.store.command("OPTIMIZE TABLE audit_quarantine FINAL")
    assert system.store.rows("SELECT count() FROM audit_quarantine", {})[0][0] == 3
    assert system.fold() == []


def test_a_database_from_before_is_upgraded(
    clickhouse: ClickHouseServer, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not while batches are on their way, since a view changes; a worker does not start on it before."""
    pipeline = PipelineSettings(clickhouse_url=clickhouse.url, clickhouse_database=database)
    with monkeypatch.context() as older:
        older.setattr("audit_consumers.migrate.migrations", lambda: migrations()[:3])
        assert len(migrate(pipeline, list)) == 3
    system = System(pipeline, Tables(clickhouse.url, database), Hooked(pipeline))
    system.send("i", 0, early=True)
    system.send("i", 3)
    with pytest.raises(ContractBroken, match="audit_quarantine has no column producer_seq"):
        check_contract(system.store)
    with pytest.raises(ContractBroken, match="on their way"):
        migrate(pipeline, lambda: ["t.files[0] 5-9"])
    assert [migration.number for migration in migrate(pipeline, list)][:1] == [4]
    check_contract(system.store)
    system.send("i", 2, early=True)
    assert system.holes() == [("i", 0, 1)]
    system.store.close()
    system.tables.close()


def test_a_copy_that_was_set_aside_is_no_gap(system: System) -> None:
    """Its number may be another than that of the first copy; it is stored all the same."""
    first = event(producer={"service": "svc", "instance": "i", "version": "1", "seq": 0})
    again = first.model_copy(update={"producer": first.producer.model_copy(update={"seq": 1})})
    system.tables.put(first, again)
    assert dedupe(system.store).duplicates == 1
    system.send("i", 2)
    assert system.fold() == []


def test_a_table_from_before_is_folded_in_pieces(system: System) -> None:
    """None reads more rows than allowed, however they are spread over the years, and idle years cost few pieces."""
    begin = datetime(2019, 1, 1, tzinfo=UTC)
    for day in range(30):
        many = range(day * 40, day * 40 + 40)
        system.put([("i", number) for number in many if number != 700], at=begin + timedelta(days=day**2, seconds=day))
    system.put([("late", 5)])
    gaps = Gaps(system.store, most_rows=100, look_back_ms=0)
    pieces = 0
    while gaps.fold().behind:
        pieces += 1
    assert 12 <= pieces <= 60
    assert system.fold() == system.expected()
    assert [(gap.instance, gap.first, gap.last) for gap in system.fold()] == [("i", 700, 700), ("late", 0, 4)]


def test_a_fold_that_ends_early_is_repeated(system: System) -> None:
    """Between the numbers and the progress, or before both."""
    for table in ("audit_producers", "audit_gap_progress"):
        instance = f"i-{table}"
        system.put([(instance, 0), (instance, 2)])
        system.store.before = {table: ended}
        with pytest.raises(EndedError):
            eventually(lambda: system.gaps.fold().through_ms < 0, 5, "the end comes")
        assert system.fold() == system.expected()


def test_two_may_fold_at_the_same_time(system: System) -> None:
    """One that began earlier and writes later takes nothing back."""
    system.put([("i", 0), ("i", 3)])
    assert system.holes() == [("i", 1, 2)]
    system.put([("i", 1)])
    other = Gaps(ClickHouseStore(system.settings), look_back_ms=0)

    def overtake() -> None:
        system.put([("i", 2), ("i", 5)])
        assert [(gap.first, gap.last) for gap in system.fold(other)] == [(4, 4)]

    system.store.before = {"audit_producers": overtake}
    begun = system.now()
    eventually(lambda: system.gaps.fold_all() > begun, 20, "the slower one is done")
    assert system.store.before == {}
    assert system.holes() == [("i", 4, 4)]


def test_rows_of_a_slow_insert_are_not_overlooked(system: System) -> None:
    """They bear the time at which it began and appear when it ends; what came meanwhile waits for them."""
    system.store.command("CREATE TABLE wire (number Int64) ENGINE = Null")
    system.store.command(
        "CREATE MATERIALIZED VIEW slow TO audit_events AS SELECT 'svc' AS producer_service, 'i' AS producer_instance,"
        " number AS producer_seq, number AS kafka_offset FROM wire WHERE sleepEachRow(0.5) = 0"
    )
    begun = system.now()
    slow = threading.Thread(
        target=ClickHouseStore(system.settings).insert_rows,
        args=("wire", ("number",), [(number,) for number in range(4)]),
    )
    slow.start()
    running = (
        "SELECT count() FROM system.processes WHERE query_kind = 'Insert' AND current_database = currentDatabase()"
    )
    eventually(lambda: system.store.rows(running, {})[0][0], 10, "the insert runs")
    system.put([("i", 9)])
    through = system.gaps.fold_all()
    assert slow.is_alive()
    assert system.gaps.gaps(EVER) == []
    assert through <= system.now() - 1
    slow.join()
    assert system.holes() == [("i", 4, 8)]
    (first,) = system.store.rows("SELECT min(toUnixTimestamp64Milli(ingested_at)) FROM audit_events", {})[0]
    assert begun <= first
    assert through <= first


def test_an_instance_that_does_not_count_is_let_go(system: System) -> None:
    """With too many holes its numbers say nothing: how far they are watched is told, what is known stays true."""
    gaps = Gaps(system.store, most_runs=3, look_back_ms=0)
    system.put([("wild", 10 * number) for number in range(6)])
    system.put([("tame", 0), ("tame", 2)])
    known = [("tame", 1, 1), ("wild", 1, 9), ("wild", 11, 19)]
    assert [(gap.instance, gap.first, gap.last) for gap in system.fold(gaps)] == known
    assert gaps.unwatched() == [Unwatched("svc", "wild", 21)]
    assert gaps.missing(EVER).unwatched == 1
    system.put([("wild", number) for number in (*range(1, 10), 35, 10**15)])
    assert [(gap.instance, gap.first, gap.last) for gap in system.fold(gaps)] == [known[0], known[2]]
    assert gaps.unwatched() == [Unwatched("svc", "wild", 21)]


def test_the_greatest_number_is_counted_right(system: System) -> None:
    """Nothing wraps around."""
    most = 2**63 - 1
    system.put([("i", most), ("i", most), ("j", 0), ("j", most - 1)])
    assert system.holes() == [("i", 0, most - 1), ("j", 1, most - 2)]
    assert system.gaps.missing(EVER).events > most
