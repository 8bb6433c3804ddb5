"""What the integration tests of the query service share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.query_service import QueryService
from tests.support.rows import Tables

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.servers import ClickHouseServer


@pytest.fixture
def query(clickhouse: ClickHouseServer, database: str, tmp_path: Path) -> Iterator[QueryService]:
    """A query service over empty tables, with the workspace w1 on the enterprise plan."""
    tables = Tables(clickhouse.url, database)
    tables.migrate()
    tables.close()
    service = QueryService(clickhouse.url, database, tmp_path)
    service.workspace()
    yield service
    service.close()
