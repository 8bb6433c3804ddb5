"""SIGKILL at any moment: nothing is lost and nothing is stored twice."""

from __future__ import annotations

import random
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.pipeline import Pipeline

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
        overrides={"AUDIT_BATCH_ROWS": "2000"},
    )
    yield made
    made.close()


@pytest.mark.timeout(420)
def test_killed_workers_lose_and_double_nothing(pipeline: Pipeline) -> None:
    """25 workers in a row are killed at random moments of their work; the next one always finishes it exactly."""
    moments = random.Random(20260314)
    pipeline.send_events(EVENTS)
    for _ in range(KILLS):
        worker = pipeline.worker()
        worker.start()
        lifetime = moments.uniform(0.3, 3.0)
        with pytest.raises(subprocess.TimeoutExpired):
            worker.wait(lifetime)
        worker.kill()
    pipeline.worker().start()
    pipeline.wait_for_all(120)
    report = pipeline.prove()
    assert report.events == EVENTS
