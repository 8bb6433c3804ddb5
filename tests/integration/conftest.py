"""What the integration tests of the HTTP services share."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from tests.builders import NOON
from tests.support.events_service import EventsService
from tests.support.examples import Place
from tests.support.postgres import ABSENT, PostgresProcess, programs
from tests.support.query_service import QueryService, RealClock, over_empty_tables
from tests.support.rows import Tables
from tests.support.streams import FAST
from tests.support.topics import make_topics
from tests.support.transport import MemoryBroker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.events_service import StartEventsApi
    from tests.support.pipeline import Pipeline
    from tests.support.servers import ClickHouseServer, KafkaServer


@pytest.fixture
def query(clickhouse: ClickHouseServer, database: str, tmp_path: Path) -> Iterator[QueryService]:
    """A query service over empty tables, with the workspace w1 on the enterprise plan."""
    with over_empty_tables(clickhouse.url, database, tmp_path) as service:
        yield service


@pytest.fixture
def live(clickhouse: ClickHouseServer, database: str, tmp_path: Path) -> Iterator[QueryService]:
    """A query service that looks often, over tables that a worker has begun to fill: up to offset 0."""
    tables = Tables(clickhouse.url, database)
    tables.migrate()
    tables.progress(NOON, end=0)
    tables.close()
    service = QueryService(clickhouse.url, database, tmp_path, overrides=dict(FAST))
    service.workspace()
    yield service
    service.close()


@pytest.fixture
def service(pipeline: Pipeline) -> Iterator[QueryService]:
    """A query service by the real clock over the tables of the test's pipeline, with the workspace w1."""
    overrides = {"topic_prefix": pipeline.prefix}
    made = QueryService(pipeline.clickhouse.url, pipeline.database, pipeline.folder, overrides, clock=RealClock())
    made.workspace()
    yield made
    made.close()


@pytest.fixture
def place(kafka: KafkaServer, topic_prefix: str, tmp_path: Path) -> Iterator[Place]:
    """A folder and topics of the test's own, for a service that emits."""
    make_topics(kafka.bootstrap_servers, topic_prefix)
    with ExitStack() as ends:
        yield Place(kafka.bootstrap_servers, topic_prefix, tmp_path, ends)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresProcess]:
    """One server for all tests."""
    if programs() is None:
        pytest.skip(ABSENT)
    server = PostgresProcess()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def control_database_url(tmp_path: Path) -> str:
    """A new control database."""
    return f"sqlite:///{tmp_path}/control.db"


@pytest.fixture
def start_events_api(tmp_path: Path, control_database_url: str) -> Iterator[StartEventsApi]:
    """Starts Events APIs of the test, all on one control database and one spool folder; options are settings."""
    started: list[EventsService] = []

    def start(broker: MemoryBroker | None = None, **overrides: Any) -> EventsService:
        options = {"control_database_url": control_database_url, **overrides}
        started.append(EventsService(tmp_path, options, broker=broker or MemoryBroker()))
        return started[-1]

    yield start
    for service in started:
        service.close()


@pytest.fixture
def events_api(start_events_api: StartEventsApi) -> EventsService:
    """An Events API over an empty control database, with the workspace w1 and Kafka in memory."""
    return start_events_api()
