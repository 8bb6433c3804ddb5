"""The query service against its own OpenAPI document: Schemathesis sends what the document allows and forbids."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from audit_infra.access import Scope
from audit_query.openapi import OPERATIONS
from audit_query.openapi.parameters import FILTERS
from tests.builders import NOON, event
from tests.support.query_service import QueryService
from tests.support.rows import Tables

if TYPE_CHECKING:
    from tests.support.servers import ClickHouseServer

CONFIG = """
# What no schema can say is refused: instants, zones and cursors that are none, ranges that hold nothing, unknown ids.
[checks.positive_data_acceptance]
expected-statuses = ["2xx", 400, 403, 404, 409, 422]
"""
# Boundary values of the filters, which all questions share, are tried at one address.
ELSEWHERE = """
[[operations]]
include-operation-id = "{name}"
phases.coverage.enabled = false
"""


def test_schemathesis_finds_nothing(clickhouse: ClickHouseServer, database: str, tmp_path: Path) -> None:
    """Examples, boundary values and random data: never a 5xx, and every answer as described."""
    tables = Tables(clickhouse.url, database)
    tables.migrate()
    tables.put(*(event(occurred_at=NOON - timedelta(minutes=number)) for number in range(5)))
    tables.close()
    # Every request for an export that is good is queued, and no worker is there.
    service = QueryService(clickhouse.url, database, tmp_path, overrides={"export_queued": 10_000})
    try:
        service.workspace()
        key = service.client(scopes=list(Scope)).headers["x-api-key"]
        sharing = [one.name for one in OPERATIONS if FILTERS[0] in one.parameters and one.name != "listEvents"]
        config = CONFIG + "".join(ELSEWHERE.format(name=name) for name in sharing)
        (tmp_path / "schemathesis.toml").write_text(config)
        ended = subprocess.run(
            [
                *(Path(sys.executable).with_name("schemathesis"), "--config-file", "schemathesis.toml", "run"),
                *(f"{service.url}/openapi.json", "--header", f"X-API-Key: {key}", "--no-color"),
                # It would find its own key among those that can be revoked; a stream has no end.
                *("--exclude-operation-id", "revokeKey", "--exclude-operation-id", "followEvents"),
                *("--phases", "examples,coverage,fuzzing", "--max-examples", "10", "--seed", "1"),
                *("--generation-database", "none", "--no-shrink", "--output-truncate", "true"),
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
        shown = "\n".join(line[:1000] for line in ended.stdout.splitlines())
        assert ended.returncode == 0, shown + ended.stderr
        cases = re.search(r"(\d+) generated", ended.stdout)
        assert cases is not None, shown
        assert int(cases[1]) > 200
    finally:
        service.close()
