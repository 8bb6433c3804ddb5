"""A WSGI service under gunicorn, which forks its workers from a process that has emitted already."""

from __future__ import annotations

import sys
import textwrap
import threading
from collections import Counter
from typing import TYPE_CHECKING

import httpx
import pytest

from audit_local.ports import free_ports
from tests.support.examples import Place
from tests.support.waiting import eventually

if TYPE_CHECKING:
    pass

SERVICE = """
    from audit_producers import AuditLog, set_actor
    from audit_producers.middleware.wsgi import AuditContextMiddleware

    log = AuditLog("portal")
    log.emit("file.viewed", workspace_id="acme", actor={"type": "system", "id": "portal"}, source="automation")

    def handler(environ, start_response):
        set_actor({"type": "client", "id": "c1"})
        log.emit("file.downloaded", workspace_id="acme").wait_durable(10)
        start_response("204 No Content", [])
        return []

    app = AuditContextMiddleware(handler)
"""


@pytest.mark.timeout(120)
def test_preforked_workers_under_load_lose_nothing_on_sigterm(place: Place) -> None:
    """The parent emitted before it forked: three instances, no hole, every answered request, and an empty spool."""
    (place.folder / "service.py").write_text(textwrap.dedent(SERVICE))
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"

    def ask(request_id: str) -> bool:
        try:
            return httpx.get(url, headers={"X-Request-ID": request_id}).status_code == 204
        except httpx.TransportError:
            return False

    server = place.serve(
        "gunicorn",
        [
            *(sys.executable, "-m", "gunicorn", "--preload", "--workers", "2", "--bind", f"127.0.0.1:{port}"),
            *("--pythonpath", str(place.folder), "service:app"),
        ],
        lambda: ask("ready"),
    )
    answered: list[str] = []
    stop = threading.Event()

    def load(name: str) -> None:
        number = 0
        while not stop.is_set() and ask(f"{name}-{number}"):
            answered.append(f"{name}-{number}")
            number += 1

    threads = [threading.Thread(target=load, args=[f"t{number}"]) for number in range(4)]
    for thread in threads:
        thread.start()
    eventually(lambda: len(answered) >= 100, 30, "a hundred requests were answered")
    server.terminate()
    assert server.wait(30) == 0, server.end_of_log()
    stop.set()
    for thread in threads:
        thread.join(30)
    events = place.events
    assert set(answered) <= {event.request_id for event in events}
    assert list(place.spool.iterdir()) == []
    instances = Counter(event.producer.instance for event in events)
    assert len(instances) == 3
    for instance, count in instances.items():
        numbers = sorted(event.producer.seq for event in events if event.producer.instance == instance)
        assert numbers == list(range(count))
    (first,) = [event for event in events if event.event_type == "file.viewed"]
    assert first.actor.type == "system"
