"""A real engine behind ClickHouse's HTTP protocol for the tests: the same module that the local stack runs."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

from audit_local.ports import free_ports
from tests.support.processes import ServerProcess

if TYPE_CHECKING:
    from pathlib import Path


class ClickHouseProcess(ServerProcess):
    """An engine on a folder and a port of its own; both stay the same over `kill` and `start`."""

    def __init__(self, data_dir: Path, port: int = 0, *, log_path: Path, **options: str | int) -> None:
        """`options` are further flags of the server, such as `threads=2` or `password="…"`."""
        self.data_dir = data_dir
        self.port = port or free_ports(1)[0]
        self.url = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, "-m", "audit_local.clickhouse_server", "--path", str(data_dir)]
        command += ["--port", str(self.port)]
        for name, value in options.items():
            command += [f"--{name}", str(value)]
        super().__init__("clickhouse", command, self._answers, log_path, 30)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/ping", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False
