"""A real broker for the tests: the same module that the local stack runs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from audit_local import kafka_client
from audit_local.ports import free_ports
from tests.support.processes import ServerProcess

if TYPE_CHECKING:
    from pathlib import Path


class KafkaProcess(ServerProcess):
    """A broker on a folder and ports of its own; both stay the same over `kill` and `start`."""

    def __init__(self, data_dir: Path, log_path: Path, *, session_timeout_ms: int = 6000) -> None:
        self.data_dir = data_dir
        self.port, controller_port = free_ports(2)
        self.bootstrap_servers = f"127.0.0.1:{self.port}"
        options = {
            "path": data_dir,
            "port": self.port,
            "controller-port": controller_port,
            "session-timeout-ms": session_timeout_ms,
        }
        command = [sys.executable, "-m", "audit_local.kafka"]
        for name, value in options.items():
            command += [f"--{name}", str(value)]
        # The first start on a machine downloads the jars.
        super().__init__(
            "kafka",
            command,
            lambda: kafka_client.answers(self.bootstrap_servers),
            log_path,
            300,
        )
