"""Emitting: every problem at once, nothing secret, a stamp without holes, and forks that do no harm."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from audit_producers import AuditLog, BufferFull, Closed, InvalidEvent, NotDelivered, Position, ProducerSettings
from audit_producers.ports import Delivered
from audit_schemas.codec import decode, unframe
from audit_schemas.event import Event

NOW = datetime(2026, 3, 14, 12, 0, tzinfo=UTC)
ADA = {"type": "internal_user", "id": "u1", "name": "Ada", "email": "ada@example.com"}


@dataclass
class Memory:
    """A transport that keeps what it is given and acknowledges when told."""

    room: int = 10**9
    sent: list[tuple[str, str, bytes]] = field(default_factory=list)
    waiting: list[Delivered] = field(default_factory=list)
    closed: bool = False

    def send(self, topic: str, key: str, value: bytes, delivered: Delivered) -> None:
        if self.closed:
            raise Closed("closed")
        if len(self.sent) >= self.room:
            raise BufferFull("full")
        self.sent.append((topic, key, value))
        self.waiting.append(delivered)

    def flush(self, timeout: float) -> int:
        return len(self.waiting)

    def close(self, timeout: float) -> int:
        self.closed = True
        return len(self.waiting)

    def event(self, number: int = -1) -> Event:
        return decode(unframe(self.sent[number][2])[1])


def log_on(memory: Memory, **options: Any) -> AuditLog:
    return AuditLog(
        "billing", version="3.1", settings=ProducerSettings(), transport=lambda _: memory, clock=lambda: NOW, **options
    )


def emit(log: AuditLog, event_type: str = "file.downloaded", **fields: Any) -> Any:
    return log.emit(event_type, **({"workspace_id": "w1", "actor": ADA, "source": "web"} | fields))


def test_an_event_is_stamped_framed_and_keyed() -> None:
    """What is sent carries the catalogue's category, the producer's stamp and the workspace as key."""
    memory = Memory()
    receipt = emit(log_on(memory), targets=[{"type": "file", "id": "f1", "name": "x"}], ip="::ffff:203.0.113.7")
    event = memory.event()
    assert memory.sent[0][:2] == ("audit.files", "w1")
    assert (event.event_id, event.category, event.occurred_at, event.ip) == (
        receipt.event_id,
        "files",
        NOW,
        "203.0.113.7",
    )
    assert (event.producer.service, event.producer.version, event.producer.seq) == ("billing", "3.1", 0)
    assert len(event.producer.instance) == 16


def test_all_problems_come_in_one_exception_and_nothing_is_sent() -> None:
    """A caller mends its event in one go."""
    memory = Memory()
    with pytest.raises(InvalidEvent) as raised:
        emit(
            log_on(memory),
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
    assert memory.sent == []


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
def test_the_rules_of_the_catalogue_and_the_limits_hold(event_type: str, fields: dict[str, Any], pointer: str) -> None:
    """Updates say what changed, targets fit the type, instants are plausible, events have a size."""
    memory = Memory()
    with pytest.raises(InvalidEvent) as raised:
        emit(log_on(memory), event_type, **fields)
    assert [problem.pointer for problem in raised.value.problems] == [pointer]
    assert memory.sent == []


def test_a_custom_app_names_its_own_events() -> None:
    """They are in the category developer, with the app's label or one made from the name."""
    memory = Memory()
    log = log_on(memory)
    emit(log, "deal.stage_changed", app_id="crm-sync")
    assert (memory.event().category, memory.event().label) == ("developer", "Deal Stage Changed")
    emit(log, "deal.won", app_id="crm-sync", label="Deal won 🎉")
    assert memory.event().label == "Deal won 🎉"


def test_secrets_never_leave_the_process() -> None:
    """Values of fields on the secret list are replaced, at the path and inside the values; that they changed stays."""
    memory = Memory()
    changes = [
        {"path": "settings.password", "old": "hunter2", "new": "hunter3"},
        {"path": "webhook", "old": None, "new": {"url": "https://x", "auth": [{"Secret": "s3cr3t"}]}},
        {"path": "name", "old": "a", "new": "b"},
    ]
    emit(log_on(memory), "client.updated", changes=changes)
    assert json.loads(memory.event().changes) == [
        {"path": "settings.password", "old": {"redacted": True}, "new": {"redacted": True}},
        {"path": "webhook", "old": None, "new": {"url": "https://x", "auth": [{"Secret": {"redacted": True}}]}},
        {"path": "name", "old": "a", "new": "b"},
    ]
    assert b"hunter" not in memory.sent[0][2]
    assert b"s3cr3t" not in memory.sent[0][2]


def test_a_long_user_agent_is_cut_and_says_so() -> None:
    """The one field that is cut rather than refused, since its sender can't be told."""
    memory = Memory()
    emit(log_on(memory), user_agent="x" * 3000, metadata={"a": 1})
    assert len(memory.event().user_agent) == 1024
    assert json.loads(memory.event().metadata) == {"a": 1, "_truncated": ["user_agent"]}


def test_a_full_buffer_is_an_error_and_leaves_no_hole() -> None:
    """An event that was not taken has no number; the next one gets it."""
    memory = Memory(room=1)
    log = log_on(memory)
    emit(log)
    with pytest.raises(BufferFull):
        emit(log)
    memory.room = 2
    emit(log)
    assert [memory.event(number).producer.seq for number in (0, 1)] == [0, 1]


def test_receipts_tell_what_became_of_the_event() -> None:
    """Pending, then acknowledged with a position or failed with a reason; failures also reach the callback."""
    memory, failures = Memory(), []
    log = log_on(memory, on_delivery_failure=lambda receipt, error: failures.append((receipt, error)))
    good, bad = emit(log), emit(log)
    assert good.state == bad.state == "pending"
    with pytest.raises(TimeoutError):
        good.wait(0)
    position = Position("audit.files", 0, 7)
    memory.waiting[0](position, None)
    memory.waiting[1](None, NotDelivered("gone"))
    assert (good.state, good.wait()) == ("acknowledged", position)
    assert bad.state == "failed"
    with pytest.raises(NotDelivered):
        bad.wait()
    assert failures == [(bad, bad.error)]


def test_after_close_nothing_is_taken() -> None:
    """`close` says how many events are left unacknowledged."""
    memory = Memory()
    log = log_on(memory)
    emit(log)
    assert log.close() == 1
    with pytest.raises(Closed):
        emit(log)


def test_threads_share_one_log() -> None:
    """Eight threads: every id is unique and the numbers have no hole."""
    memory = Memory()
    log = log_on(memory)

    def work() -> None:
        for _ in range(1000):
            emit(log)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    events = [memory.event(number) for number in range(8000)]
    assert len({event.event_id for event in events}) == 8000
    assert [event.producer.seq for event in events] == list(range(8000))


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


def test_a_forked_child_has_a_stamp_and_a_connection_of_its_own() -> None:
    """The child's numbers begin again under another instance; the parent's go on."""
    made: list[Memory] = []

    def make(_: ProducerSettings) -> Memory:
        made.append(Memory())
        return made[-1]

    log = AuditLog("billing", settings=ProducerSettings(), transport=make, clock=lambda: NOW)
    emit(log)

    def child() -> bytes:
        emit(log)
        event = made[-1].event()
        return json.dumps([len(made), event.producer.instance, event.producer.seq]).encode()

    count, instance, seq = json.loads(in_child(child))
    emit(log)
    mine = made[0].event()
    assert (count, seq) == (2, 0)
    assert instance != mine.producer.instance
    assert (len(made), mine.producer.seq) == (1, 1)
