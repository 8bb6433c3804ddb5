"""What happens when Kafka's logs, or the records in them, are not as they should be; and the proof that all is well."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions
from confluent_kafka import TopicPartition as KafkaTopicPartition
from confluent_kafka.admin import AdminClient

from audit_consumers.dedupe import dedupe
from audit_consumers.inspection import accept_loss, states
from audit_consumers.kafka import create_topics
from audit_consumers.positions import Range, TopicPartition
from audit_consumers.verify import verify
from audit_schemas.codec import encode, frame
from audit_schemas.datum import varint
from audit_schemas.errors import Transient
from audit_schemas.row import SELECT, event_of_row
from audit_schemas.topics import CATEGORIES, topic_of
from tests.builders import event
from tests.support.dead_letters import dead_letters
from tests.support.pipeline import Pipeline, framed_events
from tests.support.waiting import eventually


def test_a_group_reset_to_the_beginning_changes_nothing(shared_pipeline: Pipeline) -> None:
    """The ledger knows what is stored, so an operator's reset reads nothing twice."""
    pipeline = shared_pipeline
    pipeline.send_events(5_000)
    worker = pipeline.worker()
    worker.start()
    pipeline.wait_for_all()
    worker.stop()
    before = pipeline.store.rows("SELECT count(), max(ingested_at) FROM audit_events", {})
    reset = [KafkaTopicPartition(state.log.topic, state.log.partition, 0) for state in states(pipeline.settings)]
    admin = AdminClient({"bootstrap.servers": pipeline.kafka.bootstrap_servers})
    group = pipeline.settings.consumer_group

    def is_reset() -> bool:
        answer = admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, reset)])
        answer[group].result()
        return True

    from confluent_kafka import KafkaException

    eventually(is_reset, 20, "the group is empty and can be reset", ignore=(KafkaException,))
    assert any(state.lag for state in states(pipeline.settings))
    pipeline.worker().start()
    pipeline.wait_for_all()
    assert pipeline.store.rows("SELECT count(), max(ingested_at) FROM audit_events", {}) == before
    pipeline.prove()


@pytest.mark.timeout(180)
def test_a_recreated_topic_is_another_log(shared_pipeline: Pipeline) -> None:
    """Offsets begin again under another topic id; both incarnations are stored in full, none hides the other."""
    pipeline = shared_pipeline
    worker = pipeline.worker()
    worker.start()
    pipeline.send_events(3_000, ["files"])
    pipeline.wait_for_all()
    topic = topic_of(pipeline.prefix, "files")
    admin = AdminClient({"bootstrap.servers": pipeline.kafka.bootstrap_servers})
    admin.delete_topics([topic])[topic].result()

    def created() -> bool:
        return topic in create_topics(pipeline.settings, partitions=1)

    eventually(created, 30, "the topic exists again", ignore=(Transient,))
    pipeline.send_events(4_000, ["files"])
    pipeline.wait_for_all(120)
    ids = pipeline.store.rows(
        "SELECT kafka_topic_id, uniqExact(kafka_offset) FROM audit_events GROUP BY 1 ORDER BY 2", {}
    )
    assert [row[1] for row in ids] == [3_000, 4_000]
    pipeline.prove()


def test_a_resend_with_other_content_changes_no_row(shared_pipeline: Pipeline) -> None:
    """The stored row stays what it was; `dedupe` sets equal copies aside as duplicates and others as conflicts."""
    pipeline = shared_pipeline
    identity = {"event_id": str(uuid.uuid4()), "occurred_at": datetime.now(UTC)}
    first = event(**identity)
    sent = [first, event(**identity, outcome="failure"), first]
    for one in sent:
        pipeline.produce("files", frame(encode(one)))
    pipeline.flush()
    pipeline.worker().start()
    pipeline.wait_for_all()
    select = f"SELECT {', '.join(SELECT)} FROM audit_events ORDER BY kafka_offset"
    assert [event_of_row(row) for row in pipeline.store.rows(select, {})] == sent
    assert verify(pipeline.store, states(pipeline.settings)).faults == []

    moved = dedupe(pipeline.store)

    assert (moved.duplicates, moved.conflicts) == (1, 1)
    assert [event_of_row(row) for row in pipeline.store.rows(select, {})] == [first]
    aside = pipeline.store.rows("SELECT kafka_offset, reason, raw FROM audit_quarantine FINAL ORDER BY 1", {})
    assert [(row[0], row[1]) for row in aside] == [(1, "conflict"), (2, "duplicate")]
    report = verify(pipeline.store, states(pipeline.settings))
    assert (report.faults, report.events, report.copies) == ([], 1, 2)


def test_bad_records_stand_in_quarantine_and_good_ones_in_the_table(shared_pipeline: Pipeline) -> None:
    """Truncated, oversized, foreign, unknown, empty and misplaced records between good ones: each offset in one place.

    One of them declares an array of a million million targets. The record has no unions, so no wrong branch of one.
    """
    pipeline = shared_pipeline
    good = [(value, event_id) for _, value, event_id in framed_events(40, ["files"])]
    whole = good[0][0]
    no_targets = frame(encode(event(user_agent="before the targets", targets=(), occurred_at=datetime.now(UTC))))
    huge_array = no_targets.replace(b"before the targets\0", b"before the targets" + varint(2**40), 1)
    assert huge_array != no_targets
    bad: dict[str, list[bytes | None]] = {
        "framing": [b"", b"\0", b"\0\0\0\0\1", b"\1" + whole[1:], b'{"event_id": "x"}'],
        "unknown_schema": [b"\0\0\0\0\x63" + whole[5:]],
        "undecodable": [whole[:-3], whole + b"more", b"\0\0\0\0\1Hello", b"\0\0\0\0\1" + b"\xff" * 30, huge_array],
        "oversized": [b"\0\0\0\0\1" + b"H" + b"x" * 70_000],
        "tombstone": [None],
        "text_not_utf8": [whole.replace(b"web", b"\xff\xfeb", 1)],
        "event_id_not_canonical": [whole[:6] + b"X" * 36 + whole[42:], whole[:6] + whole[6:42].upper() + whole[42:]],
        "category_unlike_topic": [frame(encode(event(category="crm", occurred_at=datetime.now(UTC))))],
        "occurred_at_out_of_range": [frame(encode(event(occurred_at=datetime(2001, 1, 1, tzinfo=UTC))))],
    }
    expected: list[tuple[int, str, bytes]] = []
    offset = 0
    for reason, values in bad.items():
        for value in values:
            pipeline.produce("files", value, partition=0)
            expected.append((offset, reason, value or b""))
            pipeline.produce("files", good[len(expected)][0], partition=0)
            pipeline.ids.append(good[len(expected)][1])
            offset += 2
    pipeline.flush()
    pipeline.worker().start()
    pipeline.wait_for_all()
    found = pipeline.store.rows(
        "SELECT kafka_offset, reason, hex(raw) FROM audit_quarantine FINAL ORDER BY kafka_offset", {}
    )
    assert [(row[0], row[1], bytes.fromhex(row[2])) for row in found] == expected
    report = pipeline.prove()
    assert (report.events, report.quarantined) == (len(expected), len(expected))
    letters = dead_letters(pipeline.kafka.bootstrap_servers, f"{pipeline.prefix}.dead_letters")
    assert {offset for _, offset in letters} == {position for position, _, _ in expected}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("meanwhile", ["stopped", "frozen"])
def test_a_range_kafka_lost_stops_the_partition_until_it_is_accepted(shared_pipeline: Pipeline, meanwhile: str) -> None:
    """The partition stops and names the range; after `lost accept` it goes on, and the proof counts the loss.

    A worker that was stopped meets the loss when it starts, one that was frozen in the middle of reading.
    """
    pipeline = shared_pipeline
    worker = pipeline.worker()
    worker.start()
    pipeline.send_events(100, ["files"])
    pipeline.wait_for_all()
    if meanwhile == "stopped":
        worker.stop()
    else:
        worker.pause()
    pipeline.send_events(1, ["files"])  # may answer the fetch of a frozen worker
    pipeline.send_events(99, ["files"])
    topic = topic_of(pipeline.prefix, "files")
    admin = AdminClient({"bootstrap.servers": pipeline.kafka.bootstrap_servers})
    admin.delete_records([KafkaTopicPartition(topic, 0, 150)])
    eventually(
        lambda: next((s for s in states(pipeline.settings) if s.log.topic == topic and s.bounds.start == 150), None),
        20,
        "the records are gone",
    )
    if meanwhile == "stopped":
        worker = pipeline.worker()
        worker.start()
    else:
        worker.resume()
    way_out = eventually(lambda: re.search(rf"lost accept {topic} 0 (\d+) (\d+)", worker.end_of_log()), 30, "a way out")
    assert way_out is not None
    lost = Range(int(way_out[1]), int(way_out[2]))
    assert lost.first in (100, 101)
    assert lost.last == 149
    accept_loss(pipeline.settings, TopicPartition(topic, 0), lost)
    eventually(lambda: sum(pipeline.stored()) == 200 - len(lost), 60, "the partition goes on")
    eventually(lambda: all(s.lag == 0 for s in states(pipeline.settings)), 30, "everything is committed")
    report = pipeline.prove(exactly=False)
    assert (report.events, report.lost) == (200 - len(lost), len(lost))


def test_the_proof_finds_what_is_missing_and_what_is_double(shared_pipeline: Pipeline) -> None:
    """A missing row, a row in both tables and a hole in the ledger are each named."""
    pipeline = shared_pipeline
    pipeline.send_events(1_200)
    worker = pipeline.worker()
    worker.start()
    pipeline.wait_for_all()
    worker.stop()
    pipeline.prove()
    files = f"kafka_topic = '{topic_of(pipeline.prefix, 'files')}'"
    crm = f"kafka_topic = '{topic_of(pipeline.prefix, 'crm')}'"
    pipeline.store.command(f"DELETE FROM audit_events WHERE {files} AND kafka_offset = 7")
    pipeline.store.command(
        "INSERT INTO audit_quarantine (kafka_topic, kafka_topic_id, kafka_partition, kafka_offset, reason)"
        f" SELECT kafka_topic, kafka_topic_id, kafka_partition, kafka_offset, 'planted' FROM audit_events"
        f" WHERE {crm} AND kafka_offset = 3"
    )
    pipeline.store.command(f"DELETE FROM audit_ledger WHERE kafka_topic = '{topic_of(pipeline.prefix, 'tasks')}'")
    faults = "\n".join(verify(pipeline.store, states(pipeline.settings)).faults)
    assert "files" in faults
    assert "are stored" in faults
    assert "in events and in quarantine" in faults
    assert "committed, but no ledger row" in faults


def test_every_category_has_its_topic(shared_pipeline: Pipeline) -> None:
    """Twelve topics of events; what goes in comes out under its category."""
    pipeline = shared_pipeline
    pipeline.send_events(480)
    pipeline.worker().start()
    pipeline.wait_for_all()
    rows = pipeline.store.rows("SELECT category, count() FROM audit_events GROUP BY 1", {})
    assert {row[0] for row in rows} == set(CATEGORIES)
    pipeline.prove()
