"""A service that imports the SDK gets the SDK alone."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

HEAVY = {
    *(
        "aiohttp",
        "anyio",
        "celery",
        "chdb",
        "clickhouse_connect",
        "confluent_kafka",
        "fastapi",
        "httpx",
        "jinja2",
        "limits",
    ),
    *("multiprocessing", "prometheus_client", "pytest", "sqlalchemy", "starlette", "structlog", "typer"),
    *("urllib3", "uvicorn", "audit_consumers", "audit_query", "audit_local", "audit_cli"),
}
SCRIPT = """
import json, sys, time
began = time.process_time()
{imports}
print(json.dumps([time.process_time() - began, sorted({{name.partition(".")[0] for name in sys.modules}})]))
"""


def imported(imports: str) -> tuple[float, set[str]]:
    """CPU seconds that some imports take in a fresh interpreter, and the packages that are loaded afterwards."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(imports=imports)], capture_output=True, text=True, check=True
    )
    seconds, names = json.loads(done.stdout)
    return seconds, set(names)


def test_importing_the_sdk_loads_no_framework_driver_or_client(record_property: Callable[[str, object], None]) -> None:
    """Kafka's client comes with the first event; the middlewares need no framework either."""
    seconds, names = imported(
        "import audit_producers, audit_producers.middleware.asgi, audit_producers.middleware.wsgi"
    )
    record_property("import_cpu_seconds", seconds)
    assert "audit_producers" in names
    assert names & HEAVY == set()
