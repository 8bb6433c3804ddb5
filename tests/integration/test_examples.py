"""The examples of docs/examples, run as their first lines say, against a real broker."""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import os
import re
import subprocess
import sys
import threading
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from audit_infra.access import Scope
from audit_local.ports import free_ports
from audit_producers import audit_context
from audit_producers.recording import recording
from tests.support.examples import EXAMPLES, Place
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from audit_schemas.event import Event
    from tests.support.events_service import StartEventsApi

BIN = Path(sys.executable).parent
NOBODY = "127.0.0.1:9"


def assert_numbered_without_holes(events: list[Event]) -> None:
    """Each producer instance has numbered its events 0, 1, 2, … and all of them are here."""
    numbers = defaultdict(list)
    for event in events:
        numbers[event.producer.instance].append(event.producer.seq)
    for found in numbers.values():
        assert sorted(found) == list(range(len(found)))


def answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code > 0
    except httpx.TransportError:
        return False


@pytest.mark.timeout(120)
def test_a_fastapi_service_says_who_did_what_from_where_and_loses_nothing_on_sigterm(place: Place) -> None:
    """Two workers under load get SIGTERM: every request that was answered is in the topics, as it was made."""
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}/workspaces/acme"
    server = place.serve(
        "uvicorn",
        [
            *(sys.executable, "-m", "uvicorn", "--app-dir", str(EXAMPLES), "--no-proxy-headers", "--workers", "2"),
            *("--port", str(port), "fastapi_service:app"),
        ],
        lambda: answers(f"http://127.0.0.1:{port}/openapi.json"),
    )
    agent = {"User-Agent": "tests/1", "X-Forwarded-For": "6.6.6.6, 203.0.113.7", "X-User": "ada"}
    changed = httpx.patch(
        f"{url}/clients/c1", json={"city": "Kiel", "password": "hunter2"}, headers=agent | {"X-Request-ID": "patch"}
    )
    unchanged = httpx.patch(f"{url}/clients/c1", json={}, headers=agent | {"X-Request-ID": "unchanged"})
    refused = httpx.get(f"{url}/files/f1", headers={"X-Request-ID": "refused"})
    assert [changed.status_code, unchanged.status_code, refused.status_code] == [200, 200, 401]
    assert changed.headers["x-request-id"] == "patch"
    answered: list[str] = []

    def ask(name: str) -> None:
        for number in range(100_000):
            try:
                headers = agent | {"X-Request-ID": f"{name}-{number}"}
                if httpx.get(f"{url}/files/f{number}", headers=headers).status_code == 200:
                    answered.append(f"{name}-{number}")
            except httpx.TransportError:
                return

    threads = [threading.Thread(target=ask, args=[f"t{number}"]) for number in range(4)]
    for thread in threads:
        thread.start()
    eventually(lambda: len(answered) >= 100, 30, "a hundred requests were answered")
    server.terminate()
    for thread in threads:
        thread.join(30)
    assert server.wait(30) == 0, server.end_of_log()
    events = {event.request_id: event for event in place.events}
    assert set(answered) <= events.keys()
    assert list(place.spool.iterdir()) == []
    download = events[answered[0]]
    assert (download.event_type, download.workspace_id, download.source) == ("file.downloaded", "acme", "web")
    assert (download.actor.id, download.actor.name, download.actor.type) == ("ada", "ADA", "internal_user")
    assert (download.ip, download.user_agent) == ("203.0.113.7", "tests/1")
    assert json.loads(events["patch"].changes) == [
        {"path": "city", "old": "Berlin", "new": "Kiel"},
        {"path": "password", "old": {"redacted": True}, "new": {"redacted": True}},
    ]
    assert "unchanged" not in events
    failed = events["refused"]
    assert (failed.event_type, failed.actor.type, failed.outcome) == ("auth.login_failed", "anonymous", "failure")
    assert len({event.producer.instance for event in events.values()}) == 2
    assert_numbered_without_holes(list(events.values()))


# Celery's loader that reads `celeryconfig.py`, so that the example can do without a broker's address.
CELERY = {"CELERY_LOADER": "default"}
ASK = """
import celery_worker
from audit_producers import audit_context

ada = {"type": "internal_user", "id": "ada"}
with audit_context(workspace_id="acme"):
    print(celery_worker.send_invoice.delay("by itself").id)
with audit_context(workspace_id="acme", actor=ada, source="web", ip="203.0.113.7", request_id="click"):
    for number in range(40):
        celery_worker.send_invoice.delay(f"i{number}")
"""


@pytest.mark.timeout(120)
def test_a_celery_task_writes_as_whoever_asked_for_it_and_loses_nothing_on_sigterm(place: Place) -> None:
    """A prefork worker gets SIGTERM while it works: every task that had finished is in the topic, by the right actor."""
    for name in ("messages", "done"):
        (place.folder / name).mkdir()
    (place.folder / "celeryconfig.py").write_text(
        "broker_url = 'filesystem://'\n"
        f"broker_transport_options = {{'data_folder_in': {str(place.folder / 'messages')!r},"
        f" 'data_folder_out': {str(place.folder / 'messages')!r}, 'control_folder': {str(place.folder / 'done')!r}}}\n"
        "worker_enable_remote_control = False\n"
    )
    asked = place.run("-c", ASK, **CELERY, PYTHONPATH=os.pathsep.join([str(place.folder), str(EXAMPLES)]))
    assert asked.returncode == 0, asked.stderr
    by_itself = asked.stdout.strip()
    log = place.folder / "celery.log"

    def finished() -> set[str]:
        return set(re.findall(r"Task celery_worker.send_invoice\[([^\]]+)\] succeeded", log.read_text()))

    worker = place.serve(
        "celery",
        [
            *(str(BIN / "celery"), "--workdir", str(place.folder), "--app", "celery_worker", "worker"),
            *("--concurrency", "2", "--loglevel", "INFO", "--without-gossip", "--without-mingle"),
        ],
        lambda: len(finished()) >= 10 and by_itself in finished(),
        **CELERY,
        PYTHONPATH=str(EXAMPLES),
    )
    worker.terminate()
    assert worker.wait(60) == 0, worker.end_of_log()
    assert list(place.spool.iterdir()) == []
    events = place.events
    assert len(finished()) <= len(events) <= 41
    assert_numbered_without_holes(events)
    system = ("by itself", "system", "billing", "automation", "", by_itself)
    seen: list[tuple[str, ...]] = [
        (one.targets[0].id, one.actor.type, one.actor.id, one.source, one.ip, one.request_id) for one in events
    ]
    assert seen.count(system) == 1
    assert {one[1:] for one in seen if one != system} == {("internal_user", "ada", "web", "203.0.113.7", "click")}


async def asked(app: Any, path: str, headers: dict[str, str]) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client:
        assert (await client.get(path, headers=headers)).status_code == 200


def test_the_code_of_the_guide_runs_as_it_stands(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every Python block of docs/emitting.md, one after the other against Kafka, and its test with the recorder."""
    for name, value in place.environment().items():
        monkeypatch.setenv(name, value)
    blocks = re.findall(r"```python\n(.*?)```", (EXAMPLES.parent / "emitting.md").read_text("utf-8"), re.DOTALL)
    names: dict[str, Any] = {"__name__": "guide"}
    try:
        for block in blocks:
            code = compile(block, "emitting.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            if inspect.iscoroutine(running := eval(code, names)):
                asyncio.run(running)
    finally:
        left = names["log"].close()
    assert left == 0
    seen = [(event.event_type, event.workspace_id) for event in place.events]
    files = [("file.downloaded", "atlas-enterprise"), ("file.viewed", "acme"), ("file.downloaded", "acme")]
    assert sorted(seen) == sorted([*files, ("client.updated", "acme"), *[("invoice.paid", "acme")] * 2])
    with recording() as recorder, audit_context():
        names["test_a_download_is_recorded"](recorder)
        asyncio.run(asked(names["app"], "/files/f7", {"x-user": "c7", "x-request-id": "r7"}))
        recorder.assert_emitted("file.downloaded", actor={"id": "c7"}, request_id="r7", source="web")


def test_a_script_ends_with_its_events_in_kafka_or_kept_and_said(place: Place) -> None:
    """Away from Kafka it says so, and `audit-log relay` brings its events afterwards."""
    script = str(EXAMPLES / "cron_script.py")
    away = place.run(script, "acme", "f1", "f2", AUDIT_KAFKA_BOOTSTRAP_SERVERS=NOBODY)
    assert (away.returncode, "2 audit events wait" in away.stderr) == (os.EX_TEMPFAIL, True), away.stderr
    assert [path.suffix for path in sorted(place.spool.iterdir())] == [".lock", ".spool"]
    assert place.events == []
    relayed = place.run("-m", "audit_cli", "relay", "--once")
    assert "2 events of dead processes brought to Kafka" in relayed.stdout, relayed.stderr
    there = place.run(script, "acme", "f3")
    assert there.returncode == 0, there.stderr
    seen = [(event.targets[0].id, event.actor.id, event.source) for event in place.events]
    assert sorted(seen) == [(file, "retention", "automation") for file in ("f1", "f2", "f3")]
    assert list(place.spool.iterdir()) == []


PREFORK = """
import os, signal, sys
from audit_producers import AuditLog, audit_context

log = AuditLog("portal")
context = audit_context(workspace_id="acme", actor={"type": "system"}, source="api")


def work(name, end):
    with context:
        for number in range(50):
            log.emit("file.viewed", request_id=f"{name}-{number}", mode=("durable", "direct")[number % 2])
        end()


def wait_for_sigterm():
    os.write(writing, b"x")
    while True:
        signal.pause()


work("before", lambda: None)
reading, writing = os.pipe()
children = []
for name, end in (("exits", sys.exit), ("ended", wait_for_sigterm)):
    children.append(os.fork())
    if children[-1] == 0:
        work(name, end)
work("after", lambda: None)
os.read(reading, 1)
os.kill(children[1], signal.SIGTERM)
print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
"""


def test_a_server_that_forks_its_workers_loses_nothing_however_they_end(place: Place) -> None:
    """Parent and children emit through one log that was used before; they exit, or end by SIGTERM with no handler."""
    done = place.run("-c", PREFORK)
    assert done.stdout.strip() == "[0, 143]", done.stdout + done.stderr
    events = place.events
    expected = {f"{name}-{number}" for name in ("before", "exits", "ended", "after") for number in range(50)}
    assert sorted(event.request_id for event in events) == sorted(expected)
    assert len({event.producer.instance for event in events}) == 3
    assert_numbered_without_holes(events)
    assert list(place.spool.iterdir()) == []


def test_curl_records_events_once_however_often_the_script_runs(
    start_events_api: StartEventsApi, tmp_path: Path
) -> None:
    """One event and a batch, in the name of the app and of a person; the second run finds all of them recorded."""
    service = start_events_api()
    secret = service.access.create_key("w1", [Scope.WRITE], "CRM", "crm").secret
    environment = os.environ | {"AUDIT_EVENTS_URL": service.url, "AUDIT_API_KEY": secret}
    statuses = []
    for _ in range(2):
        done = subprocess.run(
            ["sh", str(EXAMPLES / "events_api.sh")], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        statuses.append([result["status"] for answer in answers for result in answer["results"]])
    assert statuses == [["accepted"] * 3, ["duplicate"] * 3]
    seen = [(event.event_type, event.app_id, event.actor.type, event.actor.id, event.ip) for event in service.events]
    assert seen == [
        ("deal.won", "crm", "custom_app", "crm", "127.0.0.1"),
        ("deal.stage_changed", "crm", "internal_user", "u1", "203.0.113.7"),
        ("deal.lost", "crm", "custom_app", "crm", "127.0.0.1"),
    ]
    wrong = subprocess.run(
        ["sh", str(EXAMPLES / "events_api.sh")],
        env=environment | {"AUDIT_API_KEY": "x"},
        capture_output=True,
        check=False,
    )
    assert wrong.returncode != 0
