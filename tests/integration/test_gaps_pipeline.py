"""Gaps from Kafka to the operator: the worker watches them, and `audit-log gaps` names them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from audit_schemas.codec import encode, frame
from tests.builders import event
from tests.support.pipeline import Pipeline, WorkerProcess
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from tests.support.servers import ClickHouseServer, KafkaServer

GAPS = ("audit_producer_gaps", "audit_producer_missing_events", "audit_producer_unwatched_instances")


@pytest.fixture
def pipeline(
    kafka: KafkaServer, clickhouse: ClickHouseServer, topic_prefix: str, database: str, tmp_path: Path
) -> Iterator[Pipeline]:
    overrides = {"AUDIT_GAP_EVERY_S": "1", "AUDIT_GAP_AFTER_S": "0"}
    made = Pipeline(kafka, clickhouse, topic_prefix, database, tmp_path, overrides=overrides)
    yield made
    made.close()


def send(pipeline: Pipeline, number: int, topic: str = "files", *, category: str = "", rest: bytes = b"") -> None:
    stamp = {"service": "billing", "instance": "i1", "version": "1", "seq": number}
    pipeline.produce(topic, frame(encode(event(category=category or topic, producer=stamp)) + rest))


def told(worker: WorkerProcess) -> list[float]:
    metrics = worker.metrics()
    return [metrics[name] for name in GAPS]


def gaps(pipeline: Pipeline, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "audit_cli", "gaps", *arguments],
        env=os.environ | pipeline.env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_lost_event_is_told_until_it_arrives(pipeline: Pipeline) -> None:
    """Over topics and with bad records in between; by the worker's metrics and by the command."""
    for number, topic in enumerate(("files", "crm", "tasks", "files")):
        send(pipeline, number, topic)
    send(pipeline, 4, "files", category="crm")
    send(pipeline, 5, "files", rest=b"x")
    send(pipeline, 8, "billing")
    pipeline.flush()
    worker = pipeline.worker()
    worker.start()
    pipeline.wait_for_all()
    eventually(lambda: told(worker) == [1, 2, 0], 30, "the worker tells the gap", interval_seconds=0.1)
    found = gaps(pipeline)
    assert found.returncode == 1, found.stderr
    assert found.stdout.startswith("billing i1  6-7  2 missing since 20")
    report: dict[str, Any] = json.loads(gaps(pipeline, "--json").stdout)
    (gap,) = report["gaps"]
    assert (gap["service"], gap["instance"], gap["first"], gap["last"]) == ("billing", "i1", 6, 7)
    assert gap["since_ms"] < report["through_ms"]
    pipeline.overrides["AUDIT_GAP_AFTER_S"] = "3600"
    assert gaps(pipeline).returncode == 0
    send(pipeline, 7, "messages")
    send(pipeline, 6, "contracts")
    pipeline.flush()
    pipeline.wait_for_all()
    eventually(lambda: told(worker) == [0, 0, 0], 30, "the gap is closed", interval_seconds=0.1)
    found = gaps(pipeline)
    assert (found.returncode, found.stdout) == (0, "no number of any producer is missing\n")
    assert worker.metrics()["audit_producer_gaps_through_seconds"] * 1000 > report["through_ms"]
    pipeline.prove(exactly=False)
