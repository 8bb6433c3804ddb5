"""The outbox on SQLite and PostgreSQL: an event is recorded exactly when the caller's transaction commits."""

from __future__ import annotations

import asyncio
import json
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from audit_producers import Closed, InvalidEvent, NotDelivered, audit_context
from audit_producers.outbox.lease import Lease
from audit_producers.outbox.stored import text_of
from audit_producers.recording import recording
from tests import builders
from tests.support.outbox import ADA, OutboxService, identities, running
from tests.support.postgres import PostgresProcess
from tests.support.waiting import eventually


@pytest.fixture
def on_postgres(postgres: PostgresProcess, tmp_path: Path) -> Iterator[OutboxService]:
    """A service with a database on PostgreSQL."""
    service = OutboxService(postgres.database(), tmp_path)
    yield service
    service.close()


@pytest.fixture
def on_sqlite(tmp_path: Path) -> Iterator[OutboxService]:
    """A service with a database in a file."""
    service = OutboxService(f"sqlite:///{tmp_path}/service.db", tmp_path)
    yield service
    service.close()


@pytest.fixture(params=["on_sqlite", "on_postgres"])
def service(request: pytest.FixtureRequest) -> OutboxService:
    """A service with either."""
    found: OutboxService = request.getfixturevalue(request.param)
    return found


def test_a_committed_event_arrives_once(service: OutboxService) -> None:
    """With its id, instant and context, stamped by the relay's log; then its row is gone."""
    relay = service.relay()
    assert relay.look() == 0
    with Session(service.engine) as session, audit_context(actor=ADA, source="api", ip="203.0.113.9"):
        session.execute(insert(service.orders).values(id=1))
        fields: Any = {"workspace_id": "w7", "metadata": {"größe": [1, "ß", None]}}
        event_id = service.outbox.emit(session, "file.downloaded", **fields)
        assert (relay.look(), service.broker.events) == (0, [])
        session.commit()
    (row,) = service.texts
    assert (relay.look(), relay.look(), service.waiting) == (1, 0, 0)
    (found,) = service.broker.events
    assert (found.event_id, found.workspace_id, found.source, found.ip) == (event_id, "w7", "api", "203.0.113.9")
    assert found.occurred_at.isoformat().replace("+00:00", "Z") == json.loads(row)["occurred_at"]
    assert json.loads(found.metadata) == {"größe": [1, "ß", None]}
    assert (found.producer.service, found.producer.version, found.producer.seq) == ("orders", "3.1", 0)
    assert (relay.stats().relayed, relay.stats().leading) == (1, True)


def test_the_number_of_a_removed_row_is_never_given_again(service: OutboxService) -> None:
    """Else a relay that was paused would remove a row it never read."""
    relay = service.relay()
    numbers = []
    for _ in range(3):
        service.emitted(1)
        with service.engine.connect() as connection:
            numbers.append(connection.execute(select(service.outbox.table.c.id)).scalar_one())
        assert relay.look() == 1
    assert numbers == sorted(set(numbers))


def test_what_is_rolled_back_is_never_recorded(service: OutboxService) -> None:
    """The whole transaction, or the part behind a savepoint."""
    with service.engine.connect() as connection:
        service.emit(connection)
        connection.rollback()
        kept = service.emit(connection)
        with connection.begin_nested() as savepoint:
            service.emit(connection)
            savepoint.rollback()
        connection.commit()
    assert service.relay().look() == 1
    assert service.arrived == [kept]


def test_an_invalid_event_leaves_the_transaction_usable(service: OutboxService) -> None:
    """All problems come at once, as `AuditLog.emit` tells them, and the caller may go on and commit."""
    with service.engine.begin() as connection:
        connection.execute(insert(service.orders).values(id=1))
        with pytest.raises(InvalidEvent) as raised:
            service.emit(connection, "no good", actor={"type": "robot"}, source="fax")
        with pytest.raises(InvalidEvent, match="at most 64512 are taken"):
            service.emit(connection, metadata={"x": ["y" * 500] * 128})
        with pytest.raises(TypeError, match="no field 'target'; did you mean targets"):
            service.emit(connection, target=[])
    assert {problem.pointer for problem in raised.value.problems} == {"/workspace_id", "/actor/type", "/source"}
    with service.engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(service.orders)).scalar_one() == 1
    assert service.waiting == 0


def test_the_largest_event_that_is_taken_can_be_sent(service: OutboxService) -> None:
    """There is room for the stamp, so that nothing is found too large after the transaction."""
    service.emitted(1, metadata={"x": ["y" * 500] * 127})
    assert service.relay().look() == 1
    assert len(service.broker.records[0].value) > 64_000


def test_a_recorder_takes_the_event_instead(service: OutboxService) -> None:
    """In a service's own tests nothing is written, and limits hold as in production."""
    with recording() as recorder, service.engine.begin() as connection:
        event_id = service.emit(connection)
        with pytest.raises(InvalidEvent):
            service.emit(connection, "no good")
    assert recorder.only().event_id == event_id
    assert service.waiting == 0


def test_asyncio_sessions_are_taken(on_postgres: OutboxService) -> None:
    """`aemit` for them; `emit` refuses one instead of forgetting the event."""

    async def work() -> str:
        engine = create_async_engine(on_postgres.url)
        async with AsyncSession(engine) as session:
            fields: Any = {"workspace_id": "w1", "actor": ADA, "source": "web"}
            await on_postgres.outbox.aemit(session, "file.downloaded", **fields)
            await session.rollback()
            kept = await on_postgres.outbox.aemit(session, "file.downloaded", **fields)
            with pytest.raises(TypeError, match=r"await outbox\.aemit"):
                on_postgres.emit(session)
            await session.commit()
        await engine.dispose()
        return kept

    kept = asyncio.run(work())
    assert on_postgres.relay().look() == 1
    assert on_postgres.arrived == [kept]


def test_a_relay_killed_before_it_removes_the_rows_sends_them_again_unchanged(service: OutboxService) -> None:
    """Another takes over; the copies have the same id and instant, by which readers show one."""
    sent = service.emitted(5)
    first = service.relay_killed_before_removing()
    assert [event_id for event_id, _ in first] == sent
    assert service.waiting == 5
    relay = service.relay(takeover_s=0.3)
    assert relay.look() == 0, "the dead one still counts as working"
    assert eventually(relay.look) == 5
    assert identities(service.broker) == first
    assert service.waiting == 0


def test_busy_writers_lose_nothing_and_keep_their_order(service: OutboxService) -> None:
    """Four writers, a workspace each, commit and roll back while relays work: what was committed arrives, in order."""
    committed: dict[str, list[str]] = {f"w{number}": [] for number in range(4)}

    def write(workspace: str, mine: list[str]) -> None:
        rng = random.Random(workspace)
        for _ in range(25):
            with service.engine.connect() as connection:
                new = [service.emit(connection, workspace) for _ in range(rng.randint(1, 4))]
                if rng.random() < 0.8:
                    connection.commit()
                    mine += new

    relays = [service.relay(batch=7, poll_s=0.01) for _ in range(2)]
    with running(*relays):
        threads = [threading.Thread(target=write, args=one) for one in committed.items()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        eventually(lambda: service.waiting == 0, 20)
        assert sorted(one.stats().leading for one in relays) == [False, True]
    for workspace, expected in committed.items():
        assert [one.event_id for one in service.broker.events if one.workspace_id == workspace] == expected


def test_a_transaction_that_commits_late_is_not_skipped(on_postgres: OutboxService) -> None:
    """PostgreSQL shows a later number first; the earlier one is found when it appears."""
    relay = on_postgres.relay()
    with on_postgres.engine.connect() as early, on_postgres.engine.connect() as late:
        first, second = on_postgres.emit(early), on_postgres.emit(late)
        late.commit()
        third = on_postgres.emitted(1)
        assert (relay.look(), on_postgres.arrived) == (2, [second, *third])
        early.commit()
        assert (relay.look(), on_postgres.arrived) == (1, [second, *third, first])


def test_a_relay_that_is_gone_is_replaced_and_one_that_stops_at_once(service: OutboxService) -> None:
    """One works at a time; nobody waits longer than `takeover_s`, and after an orderly end not at all."""
    gone, next_one, last = (service.relay(takeover_s=each) for each in (0.3, 0.3, 600))
    service.emitted(1)
    assert gone.look() == 1
    service.emitted(1)
    assert (next_one.look(), last.look(), next_one.stats().leading) == (0, 0, False)
    assert eventually(next_one.look) == 1
    eventually(lambda: not (gone.look() or gone.stats().leading), message="the first one notices")
    service.emitted(1)
    assert last.look() == 0
    with running(next_one):
        eventually(lambda: service.waiting == 0)
    service.emitted(1)
    assert last.look() == 1


@pytest.mark.parametrize("statement", ["INSERT", "UPDATE"])
def test_of_two_that_see_the_lease_free_at_once_one_takes_it(service: OutboxService, statement: str) -> None:
    """The database decides, whether the row was never there or its holder has left."""
    if statement == "UPDATE":
        before = Lease(service.outbox.relay_table, 600)
        assert before.hold(service.engine)
        before.release(service.engine)
    both = threading.Barrier(2)

    @event.listens_for(service.engine, "before_cursor_execute")
    def meet(_connection: object, _cursor: object, text: str, *_: object) -> None:
        if text.startswith(statement):
            both.wait(10)

    leases = [Lease(service.outbox.relay_table, 600) for _ in range(2)]
    threads = [threading.Thread(target=lease.hold, args=[service.engine]) for lease in leases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(lease.held for lease in leases) == [False, True]


def test_two_relays_that_work_at_once_cost_copies_but_no_order(
    service: OutboxService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a pause longer than `takeover_s`: the first copies are complete and in order."""
    monkeypatch.setattr("audit_producers.outbox.lease.Lease.hold", lambda *_: True)
    expected = [event_id for _ in range(20) for event_id in service.emitted(10)]
    with running(service.relay(batch=3), service.relay(batch=7)):
        eventually(lambda: service.waiting == 0, 20)
    assert service.arrived == expected


def test_rows_that_are_no_events_are_set_aside_and_block_nothing(
    service: OutboxService, caplog: pytest.LogCaptureFixture
) -> None:
    """Each keeps its reason, is logged as an error, and can be mended and released."""
    good = text_of(builders.event())
    newer = json.dumps(json.loads(good) | {"colour": "red"})
    texts = ["{", "[" * 100_000, "[]", '{"event_id": 1}', good, newer, "9" * 10_000]
    table, row = service.outbox.table, service.outbox.table.c
    with service.engine.begin() as connection:
        rows = [{"event_id": str(number), "written_at": 0, "event": text} for number, text in enumerate(texts)]
        connection.execute(insert(table), rows)
    relay = service.relay()
    last = service.emitted(1)
    assert (relay.look(), relay.look()) == (8, 0)
    assert service.arrived == [json.loads(good)["event_id"], *last]
    with service.engine.begin() as connection:
        reasons = {one.event_id: one.set_aside for one in connection.execute(select(row.event_id, row.set_aside))}
        assert sorted(reasons) == ["0", "1", "2", "3", "5", "6"]
        assert reasons["0"].startswith("/: the row is not JSON")
        assert reasons["5"].startswith("/colour: ")
        assert service.outbox.backlog(connection).set_aside == relay.stats().set_aside == 6
        assert len([one for one in caplog.records if "is set aside" in one.message]) == 6
        connection.execute(update(table).where(row.event_id == "5").values(event=good))
        assert service.outbox.release(connection) == 6
    assert (relay.look(), len(service.broker.records)) == (6, 3)


def test_a_row_stays_until_kafka_has_the_event(service: OutboxService) -> None:
    """While Kafka is away nothing is removed and nothing is sent twice by one relay, however long it takes."""
    service.broker.set(up=False)
    sent = service.emitted(3)
    relay = service.relay(takeover_s=0.4)
    assert (relay.look(), relay.look(), service.waiting, relay.stats().in_flight) == (0, 0, 3, 3)
    sent += service.emitted(1)
    service.broker.set(up=True)
    assert (relay.look(), relay.look(), service.waiting) == (3, 1, 0)
    assert [one.event_id for one in service.broker.events] == sent


def test_a_full_spool_is_waited_for(service: OutboxService) -> None:
    """With `until="spooled"` rows go as long as the spool has room; the rest stays in the table and arrives later."""
    service.broker.set(up=False)
    expected = service.emitted(50, metadata={"x": ["y" * 500] * 100})
    relay = service.relay(until="spooled", spool_max_mib=1)
    with running(relay):
        eventually(lambda: "SpoolFull" in (relay.stats().alarm or ""))
        assert 10 < service.waiting < 40
        service.broker.set(up=True)
        eventually(lambda: len(service.broker.records) == 50, 20)
        eventually(lambda: relay.stats().alarm is None)
    assert [one.event_id for one in service.broker.events] == expected


def test_a_database_that_is_away_is_waited_for(
    postgres: PostgresProcess, on_postgres: OutboxService, caplog: pytest.LogCaptureFixture
) -> None:
    """The relay says once what is wrong and goes on when it is over."""
    relay = on_postgres.relay(poll_s=0.01)
    with running(relay):
        sent = on_postgres.emitted(1)
        eventually(lambda: on_postgres.waiting == 0)
        postgres.kill()
        eventually(lambda: "OperationalError" in (relay.stats().alarm or ""))
        postgres.start()
        on_postgres.engine.dispose()
        sent += on_postgres.emitted(1)
        eventually(lambda: len(on_postgres.broker.records) == 2, 20)
        eventually(lambda: relay.stats().alarm is None)
    assert on_postgres.arrived == sent
    assert sum("alarm: the outbox is not relayed" in one.message for one in caplog.records) == 1


def test_an_event_that_the_log_gives_back_stays_in_the_table(service: OutboxService) -> None:
    """The log was closed with no way to Kafka nor to its spool: the rows wait for another relay."""
    service.broker.set(up=False)
    sent = service.emitted(2)
    relay = service.relay(emit_mode="direct")
    assert relay.look() == 0
    service.spool_turns_into_a_file()
    service.close_logs()
    with pytest.raises(NotDelivered):
        relay.look()
    with pytest.raises(Closed):
        relay.run(threading.Event())
    service.broker.set(up=True)
    assert (service.relay().look(), service.arrived) == (2, sent)


def test_a_call_wakes_the_relay(service: OutboxService) -> None:
    """Whoever commits in the same process need not wait for the next look."""
    relay = service.relay(poll_s=3600)
    with running(relay):
        eventually(lambda: relay.stats().leading)
        service.emitted(1)
        relay.wake()
        eventually(lambda: service.broker.records)
