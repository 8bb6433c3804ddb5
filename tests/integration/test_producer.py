"""The SDK against a real broker."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import confluent_kafka.admin as kafka_admin
import pytest

from audit_consumers.kafka import create_topics
from audit_consumers.settings import PipelineSettings
from audit_producers import AuditLog, Mode, ProducerSettings, Receipt
from audit_schemas.event import Event
from tests.support.topics import event_of, stored_messages
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from tests.conftest import StartKafka
    from tests.support.servers import KafkaServer

ADA = {"type": "internal_user", "id": "u1", "name": "Ada"}


def emit(log: AuditLog, number: int = 0, **fields: Any) -> Receipt:
    return log.emit("file.downloaded", workspace_id=f"w{number % 3}", actor=ADA, source="web", **fields)


def settings_for(kafka: KafkaServer, prefix: str, spool_dir: Path, **more: Any) -> ProducerSettings:
    """With topics made for them."""
    servers = kafka.bootstrap_servers
    create_topics(PipelineSettings(kafka_bootstrap_servers=servers, topic_prefix=prefix), partitions=1)
    return ProducerSettings(kafka_bootstrap_servers=servers, topic_prefix=prefix, spool_dir=spool_dir, **more)


def first_arrivals(kafka: KafkaServer, prefix: str) -> list[Event]:
    """The events of the topic for files without later copies, in the order of their arrival."""
    found: dict[str, Event] = {}
    for message in stored_messages(kafka.bootstrap_servers, f"{prefix}.files"):
        event = event_of(message)
        found.setdefault(event.event_id, event)
    return list(found.values())


@pytest.mark.parametrize("mode", ["durable", "direct"])
def test_events_arrive_framed_keyed_and_in_order(
    kafka: KafkaServer, topic_prefix: str, tmp_path: Path, mode: Mode
) -> None:
    """Every receipt is acknowledged with the position Kafka gave the event; the spool is empty in the end."""
    with AuditLog("files", version="1", settings=settings_for(kafka, topic_prefix, tmp_path, emit_mode=mode)) as log:
        receipts = [emit(log, number) for number in range(300)]
        positions = [receipt.wait(30) for receipt in receipts]
    assert [position.offset for position in positions] == list(range(300))
    messages = list(stored_messages(kafka.bootstrap_servers, f"{topic_prefix}.files"))
    events = [(message.key(), event_of(message)) for message in messages]
    assert [event.event_id for _, event in events] == [receipt.event_id for receipt in receipts]
    assert [event.producer.seq for _, event in events] == list(range(300))
    assert all(key == event.workspace_id.encode() for key, event in events)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.timeout(120)
@pytest.mark.parametrize("mode", ["durable", "direct"])
def test_a_killed_broker_costs_time_but_no_event(
    start_kafka: StartKafka, topic_prefix: str, tmp_path: Path, mode: Mode
) -> None:
    """Nothing is raised into the caller; events of before, during and after the outage arrive in order."""
    kafka = start_kafka()
    settings = settings_for(
        kafka, topic_prefix, tmp_path, emit_mode=mode, direct_patience_s=0.2, in_flight_events=1_000
    )
    with AuditLog("files", settings=settings) as log:
        receipts = [emit(log, number) for number in range(2_000)]
        receipts[0].wait(30)
        kafka.kill()
        receipts += [emit(log, number) for number in range(2_000)]
        for receipt in receipts:
            receipt.wait_durable(10)
        kafka.start()
        receipts += [emit(log, number) for number in range(2_000)]
        for receipt in receipts:
            receipt.wait(60)
    events = first_arrivals(kafka, topic_prefix)
    assert [event.event_id for event in events] == [receipt.event_id for receipt in receipts]
    assert [event.producer.seq for event in events] == list(range(6_000))


def test_a_refused_event_holds_up_what_is_behind_it_until_it_is_taken(
    kafka: KafkaServer, topic_prefix: str, tmp_path: Path
) -> None:
    """The client gives up for good; it is replaced, and sending resumes with the first unacknowledged event."""
    settings = settings_for(kafka, topic_prefix, tmp_path)
    topic = f"{topic_prefix}.files"
    _set_max_bytes(kafka, topic, 2_000)
    with AuditLog("files", settings=settings) as log:
        receipts = [emit(log)]
        receipts[0].wait(30)
        receipts.append(emit(log, metadata={str(number): secrets.token_hex(250) for number in range(40)}))
        receipts += [emit(log, number) for number in range(50)]
        eventually(lambda: log.stats().producers_replaced >= 1, 20)
        assert receipts[1].state == "spooled"
        eventually(lambda: "Message size too large" in (log.stats().alarm or ""), 20)
        _set_max_bytes(kafka, topic, 1_000_000)
        for receipt in receipts:
            receipt.wait(60)
    events = first_arrivals(kafka, topic_prefix)
    assert [event.event_id for event in events] == [receipt.event_id for receipt in receipts]


def test_a_workspace_goes_where_producers_in_java_put_it(kafka: KafkaServer, topic_prefix: str, tmp_path: Path) -> None:
    """Services in other languages share its partition, so that its order is one; keys of all lengths are tried."""
    settings = ProducerSettings(
        kafka_bootstrap_servers=kafka.bootstrap_servers, topic_prefix=topic_prefix, spool_dir=tmp_path
    )
    create_topics(
        PipelineSettings(kafka_bootstrap_servers=kafka.bootstrap_servers, topic_prefix=topic_prefix), partitions=7
    )
    workspaces = ["w" * length for length in range(1, 9)] + [f"acme-{number}" for number in range(30)]
    with AuditLog("files", settings=settings) as log:
        for workspace_id in workspaces:
            receipt = log.emit("file.downloaded", workspace_id=workspace_id, actor=ADA, source="web")
            assert receipt.wait(30).partition == (_murmur2(workspace_id.encode()) & 0x7FFFFFFF) % 7


def _murmur2(data: bytes) -> int:
    """The hash of Kafka's Java client, written from its description."""
    multiplier, mask = 0x5BD1E995, 0xFFFFFFFF
    found = 0x9747B28C ^ len(data)
    whole = len(data) // 4 * 4
    for place in range(0, whole, 4):
        part = int.from_bytes(data[place : place + 4], "little") * multiplier & mask
        part = (part ^ part >> 24) * multiplier & mask
        found = (found * multiplier & mask) ^ part
    if whole < len(data):
        found = (found ^ int.from_bytes(data[whole:], "little")) * multiplier & mask
    found = (found ^ found >> 13) * multiplier & mask
    return found ^ found >> 15


def _set_max_bytes(kafka: KafkaServer, topic: str, size: int) -> None:
    operation = kafka_admin.AlterConfigOpType.SET  # type: ignore[attr-defined]  # exported without saying so, as are:
    entry = kafka_admin.ConfigEntry("max.message.bytes", str(size), incremental_operation=operation)  # type: ignore[attr-defined]
    topics = kafka_admin.ResourceType.TOPIC  # type: ignore[attr-defined]
    resource = kafka_admin.ConfigResource(topics, topic, incremental_configs=[entry])  # type: ignore[attr-defined]
    admin = kafka_admin.AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    admin.incremental_alter_configs([resource])[resource].result()
