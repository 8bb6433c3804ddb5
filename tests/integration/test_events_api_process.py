"""The Events API as processes of its own: started by the command, ended in order, killed, and several at once."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import zlib
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from audit_infra.access import Access, Scope
from audit_local.ports import free_ports
from tests.bench.measure import peak_mib
from tests.support.events_service import StartEventsApi
from tests.support.processes import ServerProcess
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

WON: dict[str, Any] = {"event_type": "deal.won"}
COMMAND = (sys.executable, "-m", "audit_cli", "events-api")


def environment(folder: Path, port: int = 0) -> dict[str, str]:
    return {
        **os.environ,
        "AUDIT_EVENTS_PORT": str(port),
        "AUDIT_CONTROL_DATABASE_URL": f"sqlite:///{folder}/control.db",
        "AUDIT_SPOOL_DIR": str(folder / "spool"),
        "AUDIT_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9",
        "AUDIT_EXIT_TIMEOUT_S": "0.2",
        "AUDIT_ADOPT_INTERVAL_S": "0",
        "AUDIT_JWT_SECRET": "a secret that is never printed",
    }


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], tuple[ServerProcess, httpx.Client]]]:
    """Starts processes on one database and one spool folder; Kafka is away."""
    access = Access.open(f"sqlite:///{tmp_path}/control.db")
    access.create_workspace("w1", "enterprise")
    secret = access.create_key("w1", [Scope.WRITE], "CRM", "crm").secret
    access.close()
    with contextlib.ExitStack() as ends:

        def started() -> tuple[ServerProcess, httpx.Client]:
            (port,) = free_ports(1)
            client = ends.enter_context(
                httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"X-API-Key": secret}, timeout=30)
            )

            def ready() -> bool:
                with contextlib.suppress(httpx.TransportError):
                    return client.get("/readyz").status_code == 200
                return False

            log = tmp_path / f"events{port}.log"
            process = ServerProcess("the Events API", COMMAND, ready, log, 30, environment(tmp_path, port))
            process.start()
            ends.callback(process.stop)
            return process, client

        yield started


def spooled(tmp_path: Path, start_events_api: StartEventsApi, wanted: set[str]) -> list[str]:
    """The ids of what the spools of ended processes hold, once another process has brought all of it to Kafka."""
    successor = start_events_api(adopt_interval_s=0.05)
    successor.client(app="other").post("/v1/events", json={"event_type": "other.begun"})

    def ids() -> list[str]:
        return [event.event_id for event in successor.broker.events if event.app_id == "crm"]

    eventually(lambda: wanted <= set(ids()), 20, "the spools are adopted")
    return ids()


def test_what_was_answered_outlives_a_kill(
    start: Callable[[], tuple[ServerProcess, httpx.Client]], tmp_path: Path, start_events_api: StartEventsApi
) -> None:
    """Every event of a 202 arrives, once, though the process was killed and Kafka was away; its keys are known."""
    process, client = start()
    accepted: list[str] = []

    def send() -> None:
        with contextlib.suppress(httpx.TransportError):
            for number in range(10_000):
                batch = {"events": [{**WON, "event_id": f"{number}:{each}"} for each in range(20)]}
                answer = client.post("/v1/events", json=batch)
                assert answer.status_code == 202
                accepted.extend(one["event_id"] for one in answer.json()["results"])

    sender = threading.Thread(target=send)
    sender.start()
    eventually(lambda: len(accepted) > 1000, 20, "events are accepted")
    process.kill()
    sender.join()
    _, client = start()
    again = client.post("/v1/events", json={"events": [{**WON, "event_id": f"0:{each}"} for each in range(20)]})
    assert {one["status"] for one in again.json()["results"]} == {"duplicate"}
    ids = spooled(tmp_path, start_events_api, set(accepted))
    assert len(ids) == len(set(ids))


def test_two_processes_record_one_event_for_one_key(
    start: Callable[[], tuple[ServerProcess, httpx.Client]], tmp_path: Path, start_events_api: StartEventsApi
) -> None:
    """Whichever process an attempt meets, and then both end in order on SIGTERM."""
    (one, first), (two, second) = start(), start()
    answers: list[httpx.Response] = []

    def attempts(client: httpx.Client) -> None:
        for number in range(30):
            batch = {"events": [{**WON, "event_id": f"{number}:{each}"} for each in range(10)]}
            answers.append(client.post("/v1/events", json=batch))

    threads = [threading.Thread(target=attempts, args=[client]) for client in (first, second) * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} <= {202, 409}
    results = [one["status"] for answer in answers if answer.status_code == 202 for one in answer.json()["results"]]
    assert results.count("accepted") == 300
    for process in (one, two):
        process.terminate()
        assert process.wait(15) == 128 + signal.SIGTERM
    ids = {one["event_id"] for answer in answers if answer.status_code == 202 for one in answer.json()["results"]}
    found = spooled(tmp_path, start_events_api, ids)
    assert len(found) == len(set(found)) == 300


def test_hostile_bodies_take_a_bounded_amount_of_memory(
    start: Callable[[], tuple[ServerProcess, httpx.Client]],
) -> None:
    """Bombs and the most memory-hungry JSON there is, many at once: problems, and the service lives on."""
    process, client = start()
    before = peak_mib(process.pid)
    zeros = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join([*(zeros.compress(bytes(1_000_000)) for _ in range(100)), zeros.flush()])
    lists = b'{"events": [' + b",".join([b"[]"] * 1_700_000) + b"]}"
    many = b'{"events": [' + b",".join([b'{"metadata": {"a": [' + b",".join([b"{}"] * 1_600) + b"]}}"] * 1_000) + b"]}"
    statuses: list[int] = []

    def send(body: bytes, coding: str) -> None:
        headers = {"Content-Type": "application/json", "Content-Encoding": coding}
        statuses.append(client.post("/v1/events", content=body, headers=headers).status_code)

    bodies = [(bomb, "gzip"), (lists, "identity"), (many, "identity")]
    threads = [threading.Thread(target=send, args=body) for body in bodies * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(statuses) <= {413, 422, 503}
    assert client.post("/v1/events", json=WON).status_code == 202
    assert peak_mib(process.pid) - before < 600


def test_the_command_checks_its_settings(tmp_path: Path) -> None:
    """`--check` prints what is in force without secrets; every bad variable is named at once."""
    good = subprocess.run([*COMMAND, "--check"], env=environment(tmp_path), capture_output=True, text=True, check=True)
    shown = json.loads(good.stdout)
    assert (shown["events_host"], shown["rate_limit_events"]) == ("127.0.0.1", "100000/minute")
    assert "never printed" not in good.stdout
    wrong = {"AUDIT_RATE_LIMIT_EVENTS": "lots", "AUDIT_TRUSTED_PROXIES": "10.0.0.0/99", "AUDIT_EVENTS_PORT": "x"}
    wrong["AUDIT_IDEMPOTENCY_LEASE_S"] = "5"
    bad = subprocess.run(
        [*COMMAND, "--check"], env=environment(tmp_path) | wrong, capture_output=True, text=True, check=False
    )
    assert bad.returncode == 78
    assert all(name in bad.stderr for name in wrong), bad.stderr
