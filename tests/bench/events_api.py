"""What the Events API takes: a process of its own with its spool and Kafka, and a client on the same machine."""

from __future__ import annotations

import dataclasses
import http.client
import json
import os
import sys
import threading
import time
import urllib.request
import uuid
from dataclasses import dataclass
from pathlib import Path

from audit_consumers.kafka import create_topics
from audit_consumers.settings import PipelineSettings
from audit_infra.access import Access, Scope
from audit_local.ports import free_ports
from tests.bench.measure import cpu_seconds, peak_mib, percentile
from tests.support.kafka import KafkaProcess
from tests.support.processes import ServerProcess

BATCH = 500
ITEM = {
    "event_type": "deal.stage_changed",
    "label": "Deal stage changed",
    "targets": [{"type": "deal", "id": "d-4711", "name": "New roof"}],
    "metadata": {"amount": 129900, "currency": "EUR", "stage": "won"},
    "request_id": "req-4711",
}


@dataclass(frozen=True)
class Rate:
    """Batches of 500 from several connections. CPU of the service in microseconds per event."""

    name: str
    events: int
    events_per_second: float
    service_us: float


@dataclass(frozen=True)
class Wait:
    """One event per call, one call after the other; milliseconds."""

    name: str
    calls: int
    p50: float
    p99: float
    most: float


@dataclass(frozen=True)
class EventsApi:
    """Everything that was measured."""

    rates: list[Rate]
    waits: list[Wait]
    peak_mib: float


class Client:
    """One connection."""

    def __init__(self, port: int, key: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._headers = {"X-API-Key": key, "Content-Type": "application/json"}

    def post(self, body: bytes) -> None:
        self._connection.request("POST", "/v1/events", body, self._headers)
        answer = self._connection.getresponse()
        text = answer.read()
        assert answer.status == 202, text[:500]
        assert b'"rejected"' not in text, text[:500]

    def close(self) -> None:
        self._connection.close()


def bodies(batches: int, size: int, *, keyed: bool) -> list[bytes]:
    """Requests; with retry keys each event has its own."""
    return [
        json.dumps(
            {"events": [ITEM | ({"event_id": str(uuid.uuid4())} if keyed else {}) for _ in range(size)]}
        ).encode()
        for _ in range(batches)
    ]


def measure(bootstrap_servers: str, folder: Path, *, batches: int = 200, calls: int = 2000) -> EventsApi:
    """Starts the service on topics of its own and measures it."""
    prefix = f"api{uuid.uuid4().hex[:8]}"
    create_topics(PipelineSettings(kafka_bootstrap_servers=bootstrap_servers, topic_prefix=prefix), partitions=4)
    access = Access.open(f"sqlite:///{folder}/events-api.db")
    access.create_workspace("w1", "enterprise")
    key = access.create_key("w1", [Scope.WRITE], "CRM", "crm").secret
    access.close()
    (port,) = free_ports(1)
    environment = {
        **os.environ,
        "AUDIT_EVENTS_PORT": str(port),
        "AUDIT_CONTROL_DATABASE_URL": f"sqlite:///{folder}/events-api.db",
        "AUDIT_SPOOL_DIR": str(folder / "events-api-spool"),
        "AUDIT_KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers,
        "AUDIT_TOPIC_PREFIX": prefix,
        "AUDIT_RATE_LIMIT_EVENTS": "1000000000/minute",
        "AUDIT_RATE_LIMIT_REQUESTS": "1000000000/minute",
    }

    def ready() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
                return True
        except OSError:
            return False

    command = (sys.executable, "-m", "audit_cli", "events-api")
    process = ServerProcess("the Events API", command, ready, folder / "events-api.log", 30, environment)
    process.start()
    try:
        client = Client(port, key)
        for body in bodies(5, BATCH, keyed=True):
            client.post(body)
        client.close()
        rates = [_rate(port, key, process.pid, batches, keyed=keyed) for keyed in (False, True)]
        client = Client(port, key)
        waits = [_wait(client, calls, keyed=keyed) for keyed in (False, True)]
        client.close()
        return EventsApi(rates, waits, peak_mib(process.pid))
    finally:
        process.stop()


def _rate(port: int, key: str, pid: int, batches: int, *, keyed: bool) -> Rate:
    waiting, connections = bodies(batches, BATCH, keyed=keyed), 3

    def send() -> None:
        client = Client(port, key)
        while True:
            try:
                body = waiting.pop()
            except IndexError:
                break
            client.post(body)
        client.close()

    threads = [threading.Thread(target=send) for _ in range(connections)]
    cpu, begun = cpu_seconds(pid), time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds, events = time.monotonic() - begun, batches * BATCH
    name = f"batches of {BATCH}, {'a retry key per event' if keyed else 'no retry keys'}"
    return Rate(name, events, events / seconds, (cpu_seconds(pid) - cpu) / events * 1e6)


def _wait(client: Client, calls: int, *, keyed: bool) -> Wait:
    took = []
    for body in bodies(calls, 1, keyed=keyed):
        begun = time.perf_counter()
        client.post(body)
        took.append((time.perf_counter() - begun) * 1000)
    took.sort()
    name = f"single events, {'with' if keyed else 'without'} retry key"
    return Wait(name, calls, percentile(took, 0.5), percentile(took, 0.99), took[-1])


def shown(kafka: KafkaProcess, folder: Path) -> dict[str, object]:
    """Measures, and prints a table."""
    found = measure(kafka.bootstrap_servers, folder)
    print(f"\n{'Events API':<40}{'events':>10}{'events/s':>10}{'service µs':>12}")
    for rate in found.rates:
        print(f"{rate.name:<40}{rate.events:>10}{rate.events_per_second:>10.0f}{rate.service_us:>12.1f}")
    print(f"\n{'':<40}{'calls':>10}{'p50 ms':>10}{'p99 ms':>12}{'max ms':>10}")
    for wait in found.waits:
        print(f"{wait.name:<40}{wait.calls:>10}{wait.p50:>10.1f}{wait.p99:>12.1f}{wait.most:>10.1f}")
    print(f"\n{'peak memory of the service, MiB':<40}{found.peak_mib:>10.0f}")
    return dataclasses.asdict(found)
