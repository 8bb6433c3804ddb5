"""What the local stack consists of: addresses, the settings of every process, and the processes themselves."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from audit_local import probes
from audit_local.ports import LOOPBACK
from audit_local.units import Unit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from audit_local.data_folder import DataFolder

USUAL_PORTS = {
    "kafka": 9092,
    "kafka controller": 9093,
    "clickhouse": 8123,
    "query": 8080,
    "events api": 8081,
    "worker health": 9101,
}
DOWNLOAD_SECONDS = 600.0
"""How long Kafka may take to get ready: its first start on a machine downloads 43 MB."""


@dataclass(frozen=True)
class Addresses:
    """Where the servers of one run listen; all on loopback."""

    ports: Mapping[str, int]

    @property
    def kafka(self) -> str:
        return f"{LOOPBACK}:{self.ports['kafka']}"

    @property
    def clickhouse(self) -> str:
        return f"http://{LOOPBACK}:{self.ports['clickhouse']}"

    @property
    def query(self) -> str:
        return f"http://{LOOPBACK}:{self.ports['query']}"

    @property
    def events(self) -> str:
        return f"http://{LOOPBACK}:{self.ports['events api']}"

    @property
    def worker(self) -> str:
        return f"http://{LOOPBACK}:{self.ports['worker health']}"

    def as_status(self) -> dict[str, str | None]:
        """The `addresses` of `audit-log status --json`."""
        return {
            "query_api": self.query,
            "events_api": self.events,
            "kafka": self.kafka,
            "clickhouse": self.clickhouse,
        }


def control_database_url(folder: DataFolder) -> str:
    """Workspaces, plans and keys in one SQLite file, which several processes share."""
    return f"sqlite:///{folder.control_database}"


def settings(folder: DataFolder, addresses: Addresses) -> dict[str, str]:
    """The variables every process of the stack gets: the same names that configure a production process."""
    return {
        "AUDIT_LOCAL": "1",
        "AUDIT_KAFKA_BOOTSTRAP_SERVERS": addresses.kafka,
        "AUDIT_SPOOL_DIR": str(folder.spool),
        "AUDIT_EXPORTS_DIR": str(folder.exports),
        "AUDIT_EXPORT_KEYS_DIR": str(folder.signing_keys),
        "AUDIT_EXIT_TIMEOUT_S": "1",  # below any `stop_seconds`
        "AUDIT_CLICKHOUSE_URL": addresses.clickhouse,
        "AUDIT_CONTROL_DATABASE_URL": control_database_url(folder),
        "AUDIT_CLOCK_SKEW_MARGIN_MS": "0",  # broker and worker share a clock
        "AUDIT_STOP_TIMEOUT_S": "3",  # below the worker's `stop_seconds`
        "AUDIT_WORKER_HTTP_PORT": str(addresses.ports["worker health"]),
        "AUDIT_QUERY_HOST": LOOPBACK,
        "AUDIT_QUERY_PORT": str(addresses.ports["query"]),
        "AUDIT_EVENTS_DOCS_URL": f"{addresses.events}/docs",
        "AUDIT_EVENTS_HOST": LOOPBACK,
        "AUDIT_EVENTS_PORT": str(addresses.ports["events api"]),
        "AUDIT_SIGNING_KEYS": folder.secret("signing-key"),
        "AUDIT_JWT_SECRET": folder.secret("jwt"),
        "PYTHONUNBUFFERED": "1",
    }


def units(folder: DataFolder, addresses: Addresses, *, partitions: int, demo: bool) -> list[Unit]:
    """The stack in the order of need.

    Kafka and ClickHouse start side by side, as do the two steps; a migration asks Kafka whether an insert is open.
    """
    environment = settings(folder, addresses)

    def command(*arguments: str) -> tuple[str, ...]:
        return (sys.executable, "-m", *arguments)

    kafka = command(
        *("audit_local.kafka", "--path", str(folder.kafka), "--port", str(addresses.ports["kafka"])),
        *("--controller-port", str(addresses.ports["kafka controller"])),
    )
    clickhouse = command(
        *("audit_local.clickhouse_server", "--path", str(folder.clickhouse)),
        *("--host", LOOPBACK, "--port", str(addresses.ports["clickhouse"]), "--grace", "2"),
    )
    stack = [
        Unit("kafka", kafka, ready=probes.kafka(LOOPBACK, addresses.ports["kafka"]), ready_seconds=DOWNLOAD_SECONDS),
        Unit("clickhouse", clickhouse, ready=probes.http(f"{addresses.clickhouse}/ping")),
        Unit("migrate", command("audit_cli", "migrate"), environment, after=("clickhouse", "kafka"), step=True),
        Unit(
            "topics",
            command("audit_cli", "topics", "create", "--partitions", str(partitions)),
            environment,
            after=("kafka",),
            step=True,
        ),
        Unit(
            "worker",
            command("audit_cli", "worker"),
            environment,
            after=("migrate", "topics"),
            ready=probes.http(f"{addresses.worker}/readyz"),
        ),
        Unit(
            "query",
            command("audit_cli", "query"),
            environment,
            after=("migrate", "topics"),
            ready=probes.http(f"{addresses.query}/readyz"),
            stop_seconds=3.0,
        ),
        Unit(
            "export-worker",
            command("audit_cli", "export-worker"),
            environment,
            # After what people wait for: exports can wait.
            after=("worker", "query"),
        ),
        Unit(
            "events-api",
            command("audit_cli", "events-api"),
            environment,
            after=("topics",),
            ready=probes.http(f"{addresses.events}/readyz"),
            stop_seconds=3.0,
        ),
    ]
    if demo:
        data_dir = ("--data-dir", str(folder.path))
        stack.append(
            Unit(
                "demo",
                command("audit_cli", "demo", *data_dir),
                environment,
                after=("worker", "query"),
                stop_seconds=3.0,
            )
        )
    return stack


__all__ = ["USUAL_PORTS", "Addresses", "control_database_url", "settings", "units"]
