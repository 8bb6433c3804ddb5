"""`make run` as a newcomer meets it: start, links, events, stop without trace, quick second start."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

import pytest

from audit_local.launch import tethered
from audit_local.ports import LOOPBACK, is_free
from audit_local.processes import USUAL_PORTS
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECOND_SECONDS, STOP_SECONDS = 20, 10
"""What the second start and a stop may take."""

DOWNLOAD_SECONDS = 300


class Stack:
    """The `audit-log` command on a folder of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "data"
        self.output = folder / "output.txt"
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "audit_cli", *arguments, "--data-dir", str(self.folder)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    def up(self, *options: str) -> float:
        """Starts the stack; the seconds it took to be ready."""
        if self._process is not None:
            self._process.wait(30)
        started = time.monotonic()
        with self.output.open("wb") as output:
            self._process = subprocess.Popen(
                tethered([sys.executable, "-m", "audit_cli", "up", "--data-dir", str(self.folder), *options]),
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        eventually(self._is_ready, DOWNLOAD_SECONDS, "the stack is ready", interval_seconds=0.2)
        return time.monotonic() - started

    def status(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.run("status", "--json").stdout)
        return answer

    def end(self) -> None:
        """Whatever the test did: nothing is left running."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)

    def _is_ready(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"`up` ended with status {self._process.returncode}:\n{self.output.read_text()[-4000:]}")
        return bool(self.status()["ready"])


@pytest.fixture(autouse=True)
def usual_ports_are_busy() -> Iterator[None]:
    """Other programs listen on the usual ports, be it another stack of this machine."""
    with ExitStack() as listeners:
        for port in USUAL_PORTS.values():
            if is_free(port):
                listener = listeners.enter_context(socket.create_server((LOOPBACK, port)))
                listener.listen()
        yield


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    found = Stack(tmp_path)
    yield found
    found.end()


def send(address: str, app_key: str, event_type: str) -> str:
    """Posts an event of a custom app; its id."""
    request = urllib.request.Request(
        f"{address}/v1/events",
        data=json.dumps({"event_type": event_type}).encode(),
        headers={"X-API-Key": app_key, "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return str(json.load(answer)["results"][0]["event_id"])


def events(address: str, api_key: str, **filters: str) -> list[dict[str, Any]]:
    query = urlencode({"limit": "50", **filters})
    request = urllib.request.Request(f"{address}/v1/events?{query}", headers={"X-API-Key": api_key})
    with urllib.request.urlopen(request, timeout=10) as answer:
        found: list[dict[str, Any]] = json.load(answer)["data"]
        return found


def listens(address: str) -> bool:
    host, _, port = address.removeprefix("http://").rpartition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def exists(pid: int) -> bool:
    return subprocess.run(["kill", "-0", str(pid)], capture_output=True, check=False).returncode == 0


class KeepRedirect(urllib.request.HTTPRedirectHandler):
    """Shows a redirection instead of following it."""

    def redirect_request(self, *_: object) -> None:
        return None


@pytest.mark.timeout(600)
def test_the_local_stack_from_the_first_start_to_the_second(stack: Stack) -> None:
    """One command brings events to four workspaces, another ends it all, and a restart finds everything again."""
    stack.up()
    status = stack.status()
    address = status["addresses"]["query_api"]
    assert {process["state"] for process in status["processes"]} == {"ready"}
    assert f"Port {USUAL_PORTS['query']} is in use: query takes {urlsplit(address).port}." in stack.output.read_text()
    names = {process["name"] for process in status["processes"]}
    assert names >= {"kafka", "clickhouse", "worker", "query", "export-worker", "events-api", "demo"}
    assert {workspace["plan"] for workspace in status["workspaces"]} == {
        "starter",
        "professional",
        "advanced",
        "enterprise",
    }
    for workspace in status["workspaces"]:
        key = workspace["api_key"]
        found = eventually(lambda key=key: events(address, key), 60, f"events of {workspace['id']}")  # type: ignore[misc]
        assert {"event_id", "occurred_at", "event_type"} <= set(found[0])
        assert workspace["sign_in_url"] in stack.output.read_text()
    enterprise = status["workspaces"][-1]
    sent = send(status["addresses"]["events_api"], enterprise["app_key"], "deal.won")
    found = eventually(lambda: events(address, enterprise["api_key"], event="deal.won"), 30, "the custom app's event")
    assert [(one["event_id"], one["actor"]["name"]) for one in found] == [(sent, "Deal Desk")]
    with pytest.raises(urllib.error.HTTPError) as answer:
        urllib.request.build_opener(KeepRedirect).open(status["workspaces"][0]["sign_in_url"], timeout=10)
    assert answer.value.code == 303
    assert "code=" not in answer.value.headers["Location"]
    answer.value.close()

    second = stack.run("up")
    assert second.returncode == 1
    assert "runs already, as process" in second.stderr
    assert address in second.stderr
    assert "Traceback" not in second.stderr
    assert "runs already" in stack.run("reset", "--yes").stderr

    pids = [process["pid"] for process in status["processes"]]
    started = time.monotonic()
    assert stack.run("down").returncode == 0
    assert time.monotonic() - started < STOP_SECONDS
    assert not [pid for pid in pids if exists(pid)]
    assert not [one for one in status["addresses"].values() if one and listens(one)]
    assert {process["state"] for process in stack.status()["processes"]} == {"stopped"}

    assert stack.up("--no-demo") < SECOND_SECONDS
    again = stack.status()
    assert [(one["id"], one["api_key"], one["app_key"]) for one in again["workspaces"]] == [
        (one["id"], one["api_key"], one["app_key"]) for one in status["workspaces"]
    ]
    assert (
        urlsplit(again["workspaces"][0]["sign_in_url"]).query == urlsplit(status["workspaces"][0]["sign_in_url"]).query
    )
    assert events(again["addresses"]["query_api"], again["workspaces"][-1]["api_key"])
    assert stack.run("down").returncode == 0
    assert "is empty now" in stack.run("reset", "--yes").stdout
    assert [path.name for path in stack.folder.iterdir()] == ["stack.lock"]
