"""The Events API against its own OpenAPI document: Schemathesis sends what the document allows and what it forbids."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from audit_infra.access import Scope
from tests.support.events_service import EventsService

CONFIG = """
# 413 is this service's answer to arrays that are too long.
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 406, 413, 415, 422]

# What no schema can say is refused with 422: native types, instants out of range, retry keys with other content,
# another app's type, an address without a person.
[checks.positive_data_acceptance]
expected-statuses = ["2xx", 403, 422]
"""


def test_schemathesis_finds_nothing(tmp_path: Path) -> None:
    """Examples, boundary values and random data: never a 5xx, and every answer as described."""
    rates = {"rate_limit_requests": "1000000/minute", "rate_limit_events": "100000000/minute"}
    service = EventsService(tmp_path, rates)
    try:
        key = service.client(scopes=list(Scope)).headers["x-api-key"]
        (tmp_path / "schemathesis.toml").write_text(CONFIG)
        ended = subprocess.run(
            [
                *(Path(sys.executable).with_name("schemathesis"), "--config-file", "schemathesis.toml", "run"),
                *(f"{service.url}/openapi.json", "--header", f"X-API-Key: {key}", "--no-color"),
                *("--phases", "examples,coverage,fuzzing", "--max-examples", "50", "--seed", "1"),
                *("--generation-database", "none", "--no-shrink", "--output-truncate", "true"),
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=90,
        )
        shown = "\n".join(line[:1000] for line in ended.stdout.splitlines())
        assert ended.returncode == 0, shown + ended.stderr
        cases = re.search(r"(\d+) generated", ended.stdout)
        assert cases is not None, shown
        assert int(cases[1]) > 300
    finally:
        service.close()
