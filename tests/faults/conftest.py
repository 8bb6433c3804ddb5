"""Pipelines and query services for the fault tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.pipeline import Pipeline
from tests.support.query_service import QueryService, over_empty_tables

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.servers import ClickHouseServer, KafkaServer


@pytest.fixture
def shared_pipeline(
    kafka: KafkaServer, clickhouse: ClickHouseServer, topic_prefix: str, database: str, tmp_path: Path
) -> Iterator[Pipeline]:
    """A pipeline on the broker and the engine that all tests share, for tests that kill neither."""
    made = Pipeline(kafka, clickhouse, topic_prefix, database, tmp_path, overrides={"AUDIT_BATCH_ROWS": "2000"})
    yield made
    made.close()


@pytest.fixture
def query(clickhouse: ClickHouseServer, database: str, tmp_path: Path) -> Iterator[QueryService]:
    """A query service over empty tables, with the workspace w1 on the enterprise plan."""
    with over_empty_tables(clickhouse.url, database, tmp_path) as service:
        yield service
