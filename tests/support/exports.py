"""Export workers for tests: turn by turn in the test's own process, or as processes that can be killed."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import sys
import threading
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

from audit_infra.access import Access
from audit_local.launch import environment
from audit_query.exports.keys import Keys, PublicKey
from audit_query.exports.process import assemble
from audit_query.settings import ExportWorkerSettings
from tests.builders import NOON, event
from tests.support.processes import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator
    from pathlib import Path

    import httpx

    from audit_schemas.event import Event
    from tests.support.query_service import QueryService


def settings_of(service: QueryService, **overrides: Any) -> ExportWorkerSettings:
    """A worker's, on the tables, workspaces and folders of the service."""
    return ExportWorkerSettings.model_validate(
        {
            "clickhouse_url": service.clickhouse_url,
            "clickhouse_database": service.database,
            "control_database_url": f"sqlite:///{service.folder}/control.db",
            "exports_dir": service.folder / "exports",
            "export_keys_dir": service.folder / "keys",
            "spool_dir": service.folder / "worker-spool",
            "adopt_interval_s": 0,
            "export_backoff_s": 0,
            "export_poll_s": 0.05,
            "export_lease_s": 1,
            **overrides,
        }
    )


def make_key(service: QueryService) -> PublicKey:
    """A key to sign with."""
    return Keys(service.access.engine).create(service.folder / "keys", service.clock())


@dataclass
class Monotonic:
    """A clock that only grows, as the test says."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Turns:
    """A worker of which the test takes each turn. It runs on a loop and a thread of its own."""

    service: QueryService
    settings: ExportWorkerSettings
    name: str = "worker"
    monotonic: Monotonic = field(default_factory=Monotonic)

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.assembled = self.run(self._assemble())
        return self

    async def _assemble(self) -> Any:
        return assemble(
            self.settings,
            self.name,
            clock=self.service.clock,
            monotonic=self.monotonic,
            transport=self.service.broker.transport,
        )

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """What the coroutine returns."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def once(self) -> bool:
        """One turn; False when there was nothing to do."""
        return bool(self.run(self.assembled.worker.once()))

    def tidy(self) -> None:
        """Signs, records and clears what has ended."""
        self.run(self.assembled.worker.tidy())

    def all(self) -> int:
        """Turns until there is nothing to do; how many there were."""
        turns = 0
        while self.once():
            turns += 1
            assert turns < 200, "a job is never done"
        self.tidy()
        return turns

    def __exit__(self, *_: object) -> None:
        self.run(self.assembled.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)
        self._loop.close()


class WorkerProcess(ServerProcess):
    """`audit-log export-worker`, ready as soon as it runs."""

    def __init__(self, settings: ExportWorkerSettings, log_path: Path) -> None:
        given = settings.model_dump(mode="json", exclude={"clickhouse_password"})
        variables = {f"AUDIT_{name.upper()}": str(value) for name, value in given.items() if value is not None}
        command = [sys.executable, "-m", "audit_cli", "export-worker"]
        super().__init__("export worker", command, lambda: True, log_path, 30, environment(variables))


@contextmanager
def worker_process(settings: ExportWorkerSettings, log_path: Path) -> Iterator[WorkerProcess]:
    """One that runs inside the block."""
    process = WorkerProcess(settings, log_path)
    process.start()
    try:
        yield process
    finally:
        if process.running:
            process.stop()


def ask(client: httpx.Client, *, key: str = "", **body: Any) -> httpx.Response:
    """Asks for a job."""
    return client.post(
        "/v1/exports", json={"format": "csv", **body}, headers={"Idempotency-Key": key or uuid.uuid4().hex}
    )


def events(count: int, **changes: Any) -> list[Event]:
    """Events a second apart, the newest first."""
    return [
        event(event_id=str(uuid.UUID(int=number + 1)), occurred_at=NOON - timedelta(seconds=number), **changes)
        for number in range(count)
    ]


def put(service: QueryService, found: list[Event]) -> None:
    """Stores events and says that they are ledgered."""
    service.tables.put(*found)
    service.tables.progress(NOON, end=service.tables.offset)


def files_of(client: httpx.Client, job: dict[str, Any]) -> list[bytes]:
    """The parts, downloaded and checked against what the job says of them."""
    found = []
    for part in job["parts"]:
        reply = client.get(f"/v1/exports/{job['id']}/parts/{part['number']}")
        assert reply.status_code == 200, reply.text
        assert hashlib.sha256(reply.content).hexdigest() == part["sha256"]
        assert len(reply.content) == part["bytes"]
        found.append(reply.content)
    return found


def rows_of(parts: list[bytes]) -> list[bytes]:
    """The lines of CSV parts behind their headers."""
    return [line for part in parts for line in gzip.decompress(part).split(b"\r\n")[1:] if line]


def open_access(service: QueryService) -> Access:
    """The control database, as another process opens it."""
    return Access.open(f"sqlite:///{service.folder}/control.db")


__all__ = [
    "Monotonic",
    "Turns",
    "WorkerProcess",
    "ask",
    "events",
    "files_of",
    "make_key",
    "open_access",
    "put",
    "rows_of",
    "settings_of",
    "worker_process",
]
