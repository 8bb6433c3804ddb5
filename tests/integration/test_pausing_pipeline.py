"""An operator holds a partition of a running pipeline."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer import BadParameter

from audit_cli.operator import user
from audit_cli.worker import pause, resume
from audit_consumers.pauses import Pauses
from audit_consumers.process import check_contract
from audit_schemas.errors import ContractBroken
from audit_schemas.topics import dead_letter_topic, topic_of
from tests.support.pipeline import Pipeline, WorkerProcess, framed_events
from tests.support.query_service import QueryService
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from tests.support.servers import ClickHouseServer, KafkaServer

PARTITIONS = 24


@pytest.fixture
def pipeline(
    kafka: KafkaServer, clickhouse: ClickHouseServer, topic_prefix: str, database: str, tmp_path: Path
) -> Iterator[Pipeline]:
    overrides = {"AUDIT_SPOOL_DIR": str(tmp_path / "spool")}
    made = Pipeline(kafka, clickhouse, topic_prefix, database, tmp_path, partitions=2, overrides=overrides)
    yield made
    made.close()


def command(pipeline: Pipeline, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "audit_cli", *arguments],
        env=os.environ | pipeline.env | env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def send(pipeline: Pipeline, category: str, partition: int) -> None:
    for _, value, event_id in framed_events(10, (category,)):
        pipeline.produce(category, value, partition=partition)
        pipeline.ids.append(event_id)
    pipeline.flush()


def marks(service: QueryService) -> dict[str, datetime]:
    found = service.client().get("/v1/freshness").json()["complete_through"]
    return {category: datetime.fromisoformat(through) for category, through in found.items() if through is not None}


def pass_by(service: QueryService, category: str, moment: datetime) -> list[datetime]:
    """Waits until the category's mark has passed; the marks of files that were told meanwhile."""
    seen: list[datetime] = []

    def passed() -> bool:
        found = marks(service)
        if "files" in found:
            seen.append(found["files"])
        return category in found and found[category] > moment

    eventually(passed, 30, f"the mark of {category} passes", interval_seconds=0.1)
    return seen


def held(worker: WorkerProcess) -> float:
    return worker.metrics()["audit_worker_paused_partitions"]


def waiting_rows(pipeline: Pipeline) -> list[datetime]:
    rows = pipeline.store.rows(
        "SELECT kafka_timestamp FROM audit_events WHERE category = 'files' AND kafka_partition = 0 ORDER BY ALL", {}
    )
    return [row[0].replace(tzinfo=UTC) for row in rows]


def readyz(worker: WorkerProcess) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://127.0.0.1:{worker.port}/readyz", timeout=5) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def test_a_paused_partition_holds_its_mark_until_it_is_resumed(pipeline: Pipeline, service: QueryService) -> None:
    """Also in the next worker; the others go on, the proof stays clean, and every command stands in the log."""
    first, topic = pipeline.worker(), topic_of(pipeline.prefix, "files")
    first.start()
    pass_by(service, "all", datetime(2026, 1, 1, tzinfo=UTC))
    done = command(pipeline, "worker", "pause", topic, "0", "--reason", "a faulty producer")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"paused: {topic}[0]\n", "")
    eventually(lambda: held(first) == 1, 10, "the worker holds it")

    for category, partition in (("files", 0), ("files", 1), ("crm", 0)):
        send(pipeline, category, partition)
    seen = pass_by(service, "crm", datetime.now(UTC))
    second = pipeline.worker()
    second.start()
    first.stop()
    eventually(lambda: second.metrics()['audit_worker_partitions{status="running"}'] == PARTITIONS, 30, "all moved")
    assert held(second) == 1
    assert readyz(second)["paused"] == [f"{topic}[0]"]
    send(pipeline, "files", 0)
    seen += pass_by(service, "crm", datetime.now(UTC))
    assert waiting_rows(pipeline) == []
    slowest = service.client().get("/v1/freshness").json()["slowest"]
    assert (slowest["category"], slowest["partition"], slowest["paused"]) == ("files", 0, True)
    pipeline.prove(exactly=False)
    listed = command(pipeline, "worker", "list").stdout
    assert listed.startswith(f"{topic}[0]  paused since 20")
    assert listed.endswith(f"Z by {user()}: a faulty producer\n")

    assert command(pipeline, "worker", "resume", topic, "0").returncode == 0
    eventually(lambda: marks(service)["files"] > seen[-1], 5, "the mark moves on", interval_seconds=0.1)
    pipeline.wait_for_all()
    pass_by(service, "files", datetime.now(UTC))
    waited = waiting_rows(pipeline)
    assert len(waited) == 20
    assert max(seen) <= waited[0]
    pipeline.prove(exactly=False)
    rows = pipeline.store.rows("SELECT toString(event_id) FROM audit_events WHERE workspace_id != 'operator'", {})
    assert sorted(row[0] for row in rows) == sorted(pipeline.ids)
    recorded = pipeline.store.rows(
        "SELECT event_type, actor_type, actor_id, `targets.type`[1], `targets.id`[1], metadata FROM audit_events"
        " WHERE workspace_id = 'operator' ORDER BY occurred_at",
        {},
    )
    who = ("system", f"operator:{user()}", "partition", f"{topic}[0]")
    assert [tuple(row) for row in recorded] == [
        ("worker.partition_paused", *who, '{"reason":"a faulty producer"}'),
        ("worker.partition_resumed", *who, f'{{"paused_by":"{user()}","reason":"a faulty producer"}}'),
    ]


def test_what_does_not_exist_is_refused(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a sentence that says what there is; nothing is written down."""
    for name, value in pipeline.env.items():
        monkeypatch.setenv(name, value)
    topic = topic_of(pipeline.prefix, "files")
    for partition in (-1, 2):
        with pytest.raises(ContractBroken, match=rf"no partition {topic}\[{partition}\]; there are .*{topic}\[0-1\]"):
            pause(topic, partition)
    with pytest.raises(ContractBroken, match="no partition"):
        pause(dead_letter_topic(pipeline.prefix), 0)
    with pytest.raises(ContractBroken, match=rf"{topic}\[0\] is not paused; paused: none"):
        resume(topic, 0)
    with pytest.raises(BadParameter, match="500"):
        pause(topic, 0, "x" * 501)
    assert Pauses(pipeline.store).all() == []
    assert not (pipeline.folder / "spool").exists()


def test_a_worker_needs_the_table(pipeline: Pipeline) -> None:
    """One that could not read the pauses would read on where it was told to stop."""
    pipeline.store.command("DROP TABLE audit_pauses")
    with pytest.raises(ContractBroken, match="audit_pauses does not exist"):
        check_contract(pipeline.store)


def test_without_kafka_it_is_paused_and_the_record_waits(pipeline: Pipeline) -> None:
    """The command says so; the next process that looks into the spool brings the record to Kafka."""
    topic = topic_of(pipeline.prefix, "files")
    away = {"AUDIT_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1", "AUDIT_EXIT_TIMEOUT_S": "0.2"}
    done = command(pipeline, "worker", "pause", topic, "1", **away)
    assert (done.returncode, done.stdout) == (0, f"paused: {topic}[1]\n")
    assert f"whether {topic}[1] exists can't be checked now" in done.stderr
    assert f"the event of this waits in {pipeline.folder}/spool" in done.stderr
    assert f"{topic}[1]  paused since" in command(pipeline, "worker", "list").stdout
    assert command(pipeline, "relay", "--once").stdout.startswith("1 events of dead processes brought to Kafka")
