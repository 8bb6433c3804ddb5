"""Where the examples of docs/examples run, and how."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.processes import ServerProcess
from tests.support.topics import stored_events

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack

    from audit_schemas.event import Event

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


@dataclass
class Place:
    """Where an example runs: its environment, its folder, and what it has brought to Kafka."""

    bootstrap_servers: str
    prefix: str
    folder: Path
    ends: ExitStack

    @property
    def spool(self) -> Path:
        """The folder of spools."""
        return self.folder / "spool"

    def environment(self, **more: str) -> dict[str, str]:
        """What an example finds set."""
        return os.environ | {
            "AUDIT_KAFKA_BOOTSTRAP_SERVERS": self.bootstrap_servers,
            "AUDIT_TOPIC_PREFIX": self.prefix,
            "AUDIT_SPOOL_DIR": str(self.spool),
            **more,
        }

    def run(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Runs Python to its end."""
        command = [sys.executable, *arguments]
        return subprocess.run(
            command, cwd=self.folder, env=self.environment(**more), capture_output=True, text=True, check=False
        )

    def serve(self, name: str, command: list[str], ready: Callable[[], bool], **more: str) -> ServerProcess:
        """Starts a server that ends with the test."""
        log = self.folder / f"{name}.log"
        server = ServerProcess(name, command, ready, log, 60, self.environment(**more))
        self.ends.callback(server.stop)
        server.start()
        return server

    @property
    def events(self) -> list[Event]:
        """What has arrived."""
        return stored_events(self.bootstrap_servers, self.prefix)


__all__ = ["EXAMPLES", "Place"]
