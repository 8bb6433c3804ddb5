"""SIGKILL at any moment: nothing is lost and nothing is stored twice."""

from __future__ import annotations

import random
import subprocess
from typing import TYPE_CHECKING

import pytest

from audit_consumers.inspection import states
from tests.support.pipeline import Pipeline
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import StartClickHouse, StartKafka

KILLS = 25
EVENTS = 200_000


@pytest.fixture
def pipeline(
    start_kafka: StartKafka, start_clickhouse: StartClickHouse, topic_prefix: str, tmp_path: Path
) -> Iterator[Pipeline]:
    """A pipeline whose broker notices dead members quickly, so that many kills fit into a test."""
    made = Pipeline(
        start_kafka(session_timeout_ms=1000),
        start_clickhouse(),
        topic_prefix,
        "audit",
        tmp_path,
        partitions=2,
        overrides={"AUDIT_BATCH_ROWS": "1000"},
    )
    yield made
    made.close()


@pytest.mark.timeout(420)
def test_killed_workers_lose_and_double_nothing(pipeline: Pipeline) -> None:
    """25 workers in a row are killed at random moments of their work; the next one always finishes it exactly."""
    moments = random.Random(20260314)
    pipeline.send_events(EVENTS)
    interrupted = 0
    for _ in range(KILLS):
        worker = pipeline.worker()
        worker.start()
        eventually(worker.has_partitions, 30, "the partitions of the killed worker have moved")
        with pytest.raises(subprocess.TimeoutExpired):
            worker.wait(moments.uniform(0.0, 0.8))
        worker.kill()
        interrupted += any(state.intent for state in states(pipeline.settings))
    assert interrupted > KILLS // 2, "too few kills fell into an insert"
    assert sum(pipeline.stored()) < EVENTS, "the last kills had nothing to interrupt"
    pipeline.worker().start()
    pipeline.wait_for_all(120)
    report = pipeline.prove()
    assert report.events == EVENTS
