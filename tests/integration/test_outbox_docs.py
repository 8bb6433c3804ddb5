"""`docs/outbox.md`: its example works as it stands, and what it says of defaults and limits is so."""

from __future__ import annotations

import inspect
import re
import sqlite3
import sys
import uuid
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from confluent_kafka import Consumer, TopicPartition

from audit_consumers.kafka import create_topics
from audit_consumers.settings import PipelineSettings
from audit_local.launch import environment
from audit_producers.outbox import OutboxRelay
from audit_producers.outbox.outbox import STAMP_BYTES
from audit_schemas.codec import decode, unframe
from audit_schemas.event import MAX_EVENT_BYTES, Event
from tests.support.processes import ServerProcess

if TYPE_CHECKING:
    from tests.support.servers import KafkaServer

DOCS = (Path(__file__).parents[2] / "docs" / "outbox.md").read_text("utf-8")


def test_the_example_brings_its_event_to_kafka(kafka: KafkaServer, topic_prefix: str, tmp_path: Path) -> None:
    """Copied from the page, with nothing but Kafka's address around it; SIGTERM ends it in order."""
    create_topics(
        PipelineSettings(kafka_bootstrap_servers=kafka.bootstrap_servers, topic_prefix=topic_prefix), partitions=1
    )
    blocks = re.findall(r"```python\n(.*?)```", DOCS, re.DOTALL)
    assert len(blocks) == 2
    (tmp_path / "example.py").write_text("".join(blocks).replace("billing.db", f"{tmp_path}/billing.db"))
    surroundings = {"AUDIT_KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers, "AUDIT_TOPIC_PREFIX": topic_prefix}
    surroundings["AUDIT_SPOOL_DIR"] = str(tmp_path / "spool")
    example = ServerProcess(
        "example",
        [sys.executable, str(tmp_path / "example.py")],
        lambda: was_relayed(tmp_path / "billing.db"),
        tmp_path / "log",
        20,
        environment(surroundings),
    )
    try:
        example.start()
        example.terminate()
        assert example.wait(20) == 0
    finally:
        example.stop()
    event = first_event(kafka.bootstrap_servers, f"{topic_prefix}.billing")
    assert (event.workspace_id, event.event_type, event.producer.service) == ("acme", "invoice.paid", "billing")


def was_relayed(database: Path) -> bool:
    """Whether a row was written and is gone."""
    if not database.exists():
        return False
    with closing(sqlite3.connect(database)) as connection:
        try:
            written = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'audit_outbox'").fetchone()
            left = connection.execute("SELECT count(*) FROM audit_outbox").fetchone()
        except sqlite3.OperationalError:
            return False
    return (written, left) == ((1,), (0,))


def first_event(bootstrap_servers: str, topic: str) -> Event:
    """What stands first in the topic's only partition."""
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": uuid.uuid4().hex})
    consumer.assign([TopicPartition(topic, 0, 0)])
    (message,) = consumer.consume(1, 20)
    consumer.close()
    value = message.value()
    assert isinstance(value, bytes)
    return decode(unframe(value)[1])


def test_defaults_and_limits_are_as_described() -> None:
    """The table of arguments and the size of an event."""
    parameters = inspect.signature(OutboxRelay).parameters
    said = dict(re.findall(r"^\| `(\w+)` \| `?\"?([\w.]+)\"?`? \|", DOCS, re.MULTILINE))
    defaults = {name: one.default for name, one in parameters.items() if one.default not in (one.empty, None)}
    assert said == {name: str(default).removesuffix(".0") for name, default in defaults.items()}
    assert f"{MAX_EVENT_BYTES - STAMP_BYTES:_}".replace("_", " ") + " bytes" in DOCS
