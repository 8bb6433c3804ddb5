"""A whole pipeline for a test: topics and tables of its own, workers as real processes, and the proof at the end."""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.request
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from confluent_kafka import Producer

from audit_consumers.clickhouse import ClickHouseStore
from audit_consumers.inspection import states
from audit_consumers.kafka import create_topics
from audit_consumers.migrate import migrate
from audit_consumers.settings import PipelineSettings
from audit_consumers.verify import Report, verify
from audit_local.ports import free_ports
from audit_schemas.codec import encode, frame
from audit_schemas.errors import Transient
from audit_schemas.topics import CATEGORIES, topic_of
from tests.builders import event
from tests.support.processes import ServerProcess
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.support.servers import ClickHouseServer, KafkaServer

TEMPLATES = 48


class WorkerProcess(ServerProcess):
    """`audit-log worker` on a health port of its own."""

    def __init__(self, env: dict[str, str], log_path: Path) -> None:
        self.port = free_ports(1)[0]
        super().__init__(
            "worker",
            [sys.executable, "-m", "audit_cli", "worker"],
            self._answers,
            log_path,
            60,
            env=os.environ | env | {"AUDIT_WORKER_HTTP_PORT": str(self.port)},
        )

    def _answers(self) -> bool:
        """Alive is enough: a member may get no partition while another holds them."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def metrics(self) -> dict[str, float]:
        """What it tells Prometheus, by name with labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}

    def has_partitions(self) -> bool:
        """Whether it reads from any."""
        return self.metrics().get('audit_worker_partitions{status="running"}', 0.0) > 0

    def ledgered(self) -> int:
        """Rows this worker has brought as far as the commit."""
        return int(sum(value for name, value in self.metrics().items() if name.startswith("audit_worker_rows_total")))

    def sums(self) -> dict[str, float]:
        """Mean times of its attempts and commits, in milliseconds."""
        metrics = self.metrics()
        return {
            f"mean_{name}_ms": metrics[f"audit_worker_{name}_seconds_sum"]
            / max(1.0, metrics[f"audit_worker_{name}_seconds_count"])
            * 1000
            for name in ("attempt", "commit")
        }


@dataclass
class Pipeline:
    """`sent` counts the records produced, `ids` the event ids of the good ones; `group` is named by the prefix if empty."""

    kafka: KafkaServer
    clickhouse: ClickHouseServer
    prefix: str
    database: str
    folder: Path
    partitions: int = 1
    overrides: dict[str, str] = field(default_factory=dict)
    group: str = ""
    sent: int = 0
    ids: list[str] = field(default_factory=list)
    workers: list[WorkerProcess] = field(default_factory=list)

    def __post_init__(self) -> None:
        migrate(self.settings, list)
        create_topics(self.settings, partitions=self.partitions)
        self.store = ClickHouseStore(self.settings)
        self._producer = Producer(
            {
                "bootstrap.servers": self.kafka.bootstrap_servers,
                "enable.idempotence": True,
                "acks": "all",
                "linger.ms": 5,
                "queue.buffering.max.messages": 1_000_000,
            }
        )

    @property
    def settings(self) -> PipelineSettings:
        return PipelineSettings(
            kafka_bootstrap_servers=self.kafka.bootstrap_servers,
            topic_prefix=self.prefix,
            clickhouse_url=self.clickhouse.url,
            clickhouse_database=self.database,
            consumer_group=self.group or f"{self.prefix}-workers",
        )

    @property
    def env(self) -> dict[str, str]:
        settings = self.settings
        return {
            "AUDIT_KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
            "AUDIT_TOPIC_PREFIX": settings.topic_prefix,
            "AUDIT_CLICKHOUSE_URL": settings.clickhouse_url,
            "AUDIT_CLICKHOUSE_DATABASE": settings.clickhouse_database,
            "AUDIT_CONSUMER_GROUP": settings.consumer_group,
            "AUDIT_FLUSH_MS": "100",
            "AUDIT_CLOCK_SKEW_MARGIN_MS": "0",
            **self.overrides,
        }

    def worker(self, **overrides: str) -> WorkerProcess:
        """A worker that is not started yet; its log stays in the test's folder."""
        found = WorkerProcess(self.env | overrides, self.folder / f"worker{len(self.workers)}.log")
        self.workers.append(found)
        return found

    def send_events(self, count: int, categories: Sequence[str] = CATEGORIES) -> None:
        """Valid events, spread over the categories; returns once all are acknowledged."""
        for category, value, event_id in framed_events(count, categories):
            self.produce(category, value, key=event_id[:2])
            self.ids.append(event_id)
        self.flush()

    def produce(self, category: str, value: bytes | None, key: str = "w1", partition: int = -1) -> None:
        topic = topic_of(self.prefix, category)
        self._producer.produce(topic, value=value, key=key, partition=partition)
        self._producer.poll(0)
        self.sent += 1

    def flush(self) -> None:
        assert self._producer.flush(60) == 0

    def stored(self) -> tuple[int, int]:
        """How many positions are in events and in quarantine."""
        rows = self.store.rows(
            "SELECT (SELECT uniqExact(kafka_topic_id, kafka_partition, kafka_offset) FROM audit_events),"
            " (SELECT uniqExact(kafka_topic_id, kafka_partition, kafka_offset) FROM audit_quarantine)",
            {},
        )
        return int(rows[0][0]), int(rows[0][1])

    def wait_for_all(self, seconds: float = 90) -> None:
        """Until every record sent is stored and committed; a failure shows how far it came and what the workers said."""
        try:
            eventually(
                lambda: sum(self.stored()) >= self.sent,
                seconds,
                "everything is stored",
                interval_seconds=0.1,
                ignore=(Transient,),
            )
            eventually(
                lambda: all(state.lag == 0 for state in states(self.settings)),
                seconds,
                "everything is committed",
                interval_seconds=0.1,
                ignore=(Transient,),
            )
        except AssertionError as error:
            logs = "\n".join(f"{worker.log_path}:\n{worker.end_of_log()}" for worker in self.workers)
            raise AssertionError(f"{error}\n{self.stored()} of {self.sent} are stored\n{logs}") from None

    def prove(self, *, exactly: bool = True) -> Report:
        """Runs `verify` and compares the table with what was sent, id by id."""
        report = verify(self.store, states(self.settings))
        assert report.faults == []
        if exactly:
            rows = self.store.rows("SELECT toString(event_id) FROM audit_events FINAL", {})
            stored = [row[0] for row in rows]
            assert len(stored) == len(set(stored)), "an event is stored twice"
            assert set(stored) == set(self.ids)
        return report

    def close(self) -> None:
        for worker in self.workers:
            worker.stop()
        self.store.close()


def framed_events(count: int, categories: Sequence[str] = CATEGORIES) -> Iterator[tuple[str, bytes, str]]:
    """(category, Kafka value, event id) of valid events, made quickly: only the id differs from a few templates."""
    now = datetime.now(UTC)
    templates = []
    for number in range(TEMPLATES):
        category = categories[number % len(categories)]
        sent = event(
            category=category,
            event_type=f"{category}.happened",
            workspace_id=f"w{number % 7}",
            occurred_at=now,
            actor={"type": "internal_user", "id": f"u{number % 5}", "name": f"User {number % 5}"},
        )
        value = frame(encode(sent))
        templates.append((category, value[:6], value[42:]))
    for number in range(count):
        category, head, tail = templates[number % TEMPLATES]
        event_id = str(uuid.uuid4())
        yield category, head + event_id.encode() + tail, event_id
