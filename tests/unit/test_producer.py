"""Emitting: every problem at once, nothing secret, a stamp without holes, and forks that do no harm."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from audit_producers import (
    AuditLog,
    Closed,
    EventFields,
    InvalidEvent,
    Mode,
    Position,
    ProducerSettings,
    Receipt,
    Unconfirmed,
    audit_context,
)
from audit_producers.adoption import Adopter
from tests.support.transport import MemoryBroker

NOW = datetime(2026, 3, 14, 12, 0, tzinfo=UTC)
ADA = {"type": "internal_user", "id": "u1", "name": "Ada", "email": "ada@example.com"}


@pytest.fixture
def broker() -> MemoryBroker:
    """Takes everything at once."""
    return MemoryBroker()


@pytest.fixture
def log_with(broker: MemoryBroker, tmp_path: Path) -> Iterator[Callable[..., AuditLog]]:
    """Makes logs that write to the broker, with these settings; they are closed at the end."""
    made: list[AuditLog] = []

    def make(on_delivery_failure: Any = None, **settings: Any) -> AuditLog:
        one = AuditLog(
            "billing",
            version="3.1",
            settings=ProducerSettings(**{"spool_dir": tmp_path, "adopt_interval_s": 0, **settings}),
            transport=broker.transport,
            clock=lambda: NOW,
            on_delivery_failure=on_delivery_failure,
        )
        made.append(one)
        return one

    yield make
    for one in made:
        one.close(0)


@pytest.fixture
def log(log_with: Callable[..., AuditLog]) -> AuditLog:
    """A log with the usual settings."""
    return log_with()


def emit(log: AuditLog, event_type: str = "file.downloaded", **fields: Any) -> Receipt:
    return log.emit(event_type, **({"workspace_id": "w1", "actor": ADA, "source": "web"} | fields))


def sent(log: AuditLog, event_type: str = "file.downloaded", **fields: Any) -> Receipt:
    """Emits and waits until the broker has it."""
    receipt = emit(log, event_type, **fields)
    receipt.wait(10)
    return receipt


def test_an_event_is_stamped_framed_and_keyed(log: AuditLog, broker: MemoryBroker) -> None:
    """What is sent carries the catalogue's category, the producer's stamp and the workspace as key."""
    receipt = sent(log, targets=[{"type": "file", "id": "f1", "name": "x"}], ip="::ffff:203.0.113.7")
    (event,) = broker.events
    assert (broker.records[0].topic, broker.records[0].key) == ("audit.files", "w1")
    assert (event.event_id, event.category) == (receipt.event_id, "files")
    assert (event.occurred_at, event.ip) == (NOW, "203.0.113.7")
    assert (event.producer.service, event.producer.version, event.producer.seq) == ("billing", "3.1", 0)
    assert len(event.producer.instance) == 16


def test_all_problems_come_in_one_exception_and_nothing_is_sent(log: AuditLog, broker: MemoryBroker) -> None:
    """A caller mends its event in one go."""
    with pytest.raises(InvalidEvent) as raised:
        emit(
            log,
            "file.downloade",
            workspace_id="no good",
            actor={"type": "robot"},
            source="fax",
            metadata={"_internal": 1},
            targets=[{"type": "file", "colour": "red"}],
        )
    assert {problem.pointer for problem in raised.value.problems} == {
        "/event_type",
        "/workspace_id",
        "/actor/type",
        "/source",
        "/metadata/_internal",
        "/targets/0/colour",
    }
    assert "file.downloaded" in str(raised.value)
    assert (log.close(), broker.records) == (0, [])


@pytest.mark.parametrize(
    ("event_type", "fields", "pointer"),
    [
        ("client.updated", {}, "/changes"),
        ("file.downloaded", {"label": "Mine"}, "/label"),
        ("file.downloaded", {"targets": [{"type": "invoice", "id": "i1"}]}, "/targets/0/type"),
        ("file.downloaded", {"occurred_at": NOW + timedelta(days=2)}, "/occurred_at"),
        ("file.downloaded", {"occurred_at": NOW - timedelta(days=4000)}, "/occurred_at"),
        ("file.downloaded", {"metadata": {"x": ["y" * 500] * 200}}, ""),
        ("deal.won", {}, "/event_type"),
    ],
)
def test_the_rules_of_the_catalogue_and_the_limits_hold(
    log: AuditLog, event_type: str, fields: dict[str, Any], pointer: str
) -> None:
    """Updates say what changed, targets fit the type, instants are plausible, events have a size."""
    with pytest.raises(InvalidEvent) as raised:
        emit(log, event_type, **fields)
    assert [problem.pointer for problem in raised.value.problems] == [pointer]
    assert log.stats().accepted == 0


def test_a_field_that_events_do_not_have_is_refused_with_the_nearest(log: AuditLog) -> None:
    """As Python does it for parameters, so that a typing error is seen where it was made."""
    with pytest.raises(TypeError, match="no field 'target'; did you mean targets"):
        emit(log, target=[])
    with pytest.raises(ValueError, match="'fast' is none of durable, direct, sync"):
        emit(log, mode="fast")


def test_what_is_left_out_comes_from_the_context(log: AuditLog, broker: MemoryBroker) -> None:
    """A handler writes one line; what it says itself wins."""
    with audit_context(workspace_id="w7", actor=ADA, source="api", ip="203.0.113.9", request_id="r1"):
        log.emit("file.downloaded", source="web").wait(10)
    (event,) = broker.events
    assert (event.workspace_id, event.actor.id, event.source) == ("w7", "u1", "web")
    assert (event.ip, event.request_id) == ("203.0.113.9", "r1")
    with pytest.raises(InvalidEvent) as raised:
        log.emit("file.downloaded")
    assert {problem.pointer for problem in raised.value.problems} == {"/workspace_id", "/actor", "/source"}


def test_a_custom_app_names_its_own_events(log: AuditLog, broker: MemoryBroker) -> None:
    """They are in the category developer, with the app's label or one made from the name."""
    sent(log, "deal.stage_changed", app_id="crm-sync")
    sent(log, "deal.won", app_id="crm-sync", label="Deal won 🎉")
    assert [(event.category, event.label) for event in broker.events] == [
        ("developer", "Deal Stage Changed"),
        ("developer", "Deal won 🎉"),
    ]


def test_secrets_never_leave_the_process(log: AuditLog, broker: MemoryBroker, tmp_path: Path) -> None:
    """Values of fields on the secret list are replaced, at the path and inside the values; that they changed stays."""
    broker.set(up=False)
    changes = [
        {"path": "settings.password", "old": "hunter2", "new": "hunter3"},
        {"path": "webhook", "old": None, "new": {"url": "https://x", "auth": [{"Secret": "s3cr3t"}]}},
        {"path": "name", "old": "a", "new": "b"},
    ]
    receipt = emit(log, "client.updated", changes=changes)
    receipt.wait_durable(10)
    spooled = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"webhook" in spooled
    assert not any(secret in spooled for secret in (b"hunter", b"s3cr3t"))
    broker.set(up=True)
    receipt.wait(10)
    assert json.loads(broker.events[0].changes) == [
        {"path": "settings.password", "old": {"redacted": True}, "new": {"redacted": True}},
        {"path": "webhook", "old": None, "new": {"url": "https://x", "auth": [{"Secret": {"redacted": True}}]}},
        {"path": "name", "old": "a", "new": "b"},
    ]


def test_a_long_user_agent_is_cut_and_says_so(log: AuditLog, broker: MemoryBroker) -> None:
    """The one field that is cut rather than refused, since its sender can't be told."""
    sent(log, user_agent="x" * 3000, metadata={"a": 1})
    (event,) = broker.events
    assert len(event.user_agent) == 1024
    assert json.loads(event.metadata) == {"a": 1, "_truncated": ["user_agent"]}


def test_receipts_tell_how_far_the_event_is(log: AuditLog, broker: MemoryBroker) -> None:
    """Durable on the disk first, then in Kafka, with the position."""
    broker.set(up=False)
    receipt = emit(log)
    assert receipt.wait_durable(10) == "spooled"
    assert receipt.state == "spooled"
    with pytest.raises(TimeoutError):
        receipt.wait(0)
    assert receipt._waiting == ()
    broker.set(up=True)
    assert receipt.wait(10) == Position("audit.files", 0, 0)
    assert (receipt.state, receipt.durability) == ("acknowledged", "kafka")


def test_sync_waits_for_kafka_and_says_when_it_does_not_answer(
    log_with: Callable[..., AuditLog], broker: MemoryBroker
) -> None:
    """The event is kept all the same: its receipt goes on, and it arrives once."""
    log = log_with(confirm_timeout_s=0.05, direct_patience_s=0.05)
    assert emit(log, mode="sync").state == "acknowledged"
    broker.set(up=False)
    with pytest.raises(Unconfirmed) as raised:
        emit(log, mode="sync")
    assert raised.value.receipt.wait_durable(10) == "spooled"
    broker.set(up=True)
    raised.value.receipt.wait(10)
    assert [event.producer.seq for event in broker.events] == [0, 1]


def test_after_close_nothing_is_taken(log: AuditLog, broker: MemoryBroker, tmp_path: Path) -> None:
    """`close` says how many events Kafka does not have; they are in the spool."""
    broker.set(up=False)
    emit(log)
    assert log.close(0.05) == 1
    assert [path.suffix for path in sorted(tmp_path.iterdir())] == [".lock", ".spool"]
    with pytest.raises(Closed):
        emit(log)


def test_threads_share_one_log(log: AuditLog, broker: MemoryBroker) -> None:
    """Eight threads in all modes: every id is unique, the numbers have no hole and arrive in order."""

    def work(mode: Mode) -> None:
        for _ in range(500):
            emit(log, mode=mode)

    threads = [threading.Thread(target=work, args=[mode]) for mode in ("durable", "direct") * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert log.flush(30) == 0
    events = broker.events
    assert len({event.event_id for event in events}) == 4000
    assert [event.producer.seq for event in events] == list(range(4000))


def test_emitting_from_asyncio_keeps_the_loop_free(log: AuditLog, broker: MemoryBroker) -> None:
    """`aemit` returns once the mode's promise holds."""
    fields: EventFields = {"workspace_id": "w1", "actor": ADA, "source": "web"}

    async def emits() -> None:
        receipts = await asyncio.gather(*(log.aemit("file.downloaded", **fields) for _ in range(50)))
        assert all(receipt.durability is not None for receipt in receipts)
        assert (await log.aemit("file.downloaded", mode="sync", **fields)).state == "acknowledged"
        await log.aemit("file.downloaded", mode="direct", **fields)

    asyncio.run(emits())
    assert log.flush(10) == 0
    assert [event.producer.seq for event in broker.events] == list(range(52))


def in_child(work: Callable[[], bytes]) -> bytes:
    """Runs `work` in a forked child and returns what it answers."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, work())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        found = answer.read()
    assert os.waitpid(child, 0)[1] == 0
    return found


def test_a_forked_child_has_a_stamp_and_a_spool_of_its_own(log: AuditLog, broker: MemoryBroker, tmp_path: Path) -> None:
    """The child's numbers begin again under another instance, the parent's go on; neither disturbs the other's spool."""
    broker.set(up=False)
    emit(log).wait_durable(10)

    def child() -> bytes:
        # The threads of the parent's broker are not here: the child looks at its own spool.
        receipt = emit(log)
        receipt.wait_durable(10)
        stats = log.stats()
        log.close(0)
        return json.dumps([stats.accepted, receipt.state]).encode()

    accepted, state = json.loads(in_child(child))
    assert (accepted, state) == (1, "spooled")
    emit(log).wait_durable(10)
    broker.set(up=True)
    assert log.flush(10) == 0
    log.close()
    orphan = Adopter(ProducerSettings(spool_dir=tmp_path), lambda: broker.transport(ProducerSettings()))
    assert orphan.look() == 1
    first, second, child_event = (event.producer for event in broker.events)
    assert (first.seq, second.seq, child_event.seq) == (0, 1, 0)
    assert first.instance == second.instance != child_event.instance
    assert list(tmp_path.iterdir()) == []
