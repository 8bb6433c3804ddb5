"""`audit-log search` and `tail`: the log in a terminal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import typer
from typer.testing import CliRunner, Result

from audit_cli import reading
from audit_cli.query_client import QueryClient
from audit_cli.service import Service
from audit_cli.showing import line, safe
from audit_local.data_folder import DataFolder, StackState, WorkspaceAccess
from tests.builders import NOON, event
from tests.support.proxy import Relay
from tests.support.streams import land
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.query_service import QueryService


def key(service: QueryService) -> str:
    return service.access.create_key("w1", ["audit:read", "audit:pii"]).secret


def run(service: QueryService, *arguments: str, **settings: str) -> Result:
    """The command in this process, asking the service with a new key."""
    app = typer.Typer()
    reading.register(app)
    env = {"AUDIT_QUERY_URL": service.url, "AUDIT_API_KEY": key(service), **settings}
    return CliRunner().invoke(app, arguments, env=env)


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    """Commands that run beside the test; ended with it."""
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


def command(started: list[subprocess.Popen[str]], url: str, secret: str, *arguments: str) -> subprocess.Popen[str]:
    """The command as a process of its own."""
    env = os.environ | {"AUDIT_QUERY_URL": url, "AUDIT_API_KEY": secret}
    pipe = subprocess.PIPE
    started.append(
        subprocess.Popen([sys.executable, "-m", "audit_cli", *arguments], stdout=pipe, stderr=pipe, text=True, env=env)
    )
    return started[-1]


def test_search_shows_a_table_in_a_zone_it_names(live: QueryService) -> None:
    """Newest first, as many as were asked for, walked over pages; the zone is the one asked for."""
    sent = [event(occurred_at=NOON - timedelta(minutes=number)) for number in range(3)]
    live.tables.put(*sent)
    shown = run(live, "search", "--tz", "Europe/Berlin", "--limit", "2")
    assert shown.exit_code == 0, shown.stderr
    head, *lines = shown.stdout.splitlines()
    assert head.split() == ["Time", "(Europe/Berlin)", "Actor", "Event", "Outcome", "Target"]
    assert lines[0].split("  ")[0] == "2026-03-14 13:00:00+01:00"
    assert len(lines) == 2
    for part in ("Ada Lovelace", "File Downloaded", "plan.pdf"):
        assert part in lines[0]


def test_search_walks_all_pages_as_lines_of_json(live: QueryService, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--all --json` gives every matching event with every field, exactly as the API does."""
    monkeypatch.setattr("audit_cli.query_client.PAGE", 2)
    sent = [event(occurred_at=NOON - timedelta(minutes=number)) for number in range(5)]
    live.tables.put(*sent)
    shown = run(live, "search", "--all", "--json")
    found = [json.loads(text) for text in shown.stdout.splitlines()]
    assert found == live.client().get("/v1/events").json()["data"]
    assert len(found) == 5
    assert run(live, "search", "--json", "--limit", "3").stdout.count("\n") == 3


def test_every_filter_reaches_the_service(live: QueryService) -> None:
    """Options become parameters; several values are ORed, `--filter` and `--meta` take the rest."""
    ada = event(metadata={"folder": "a=b"})
    bob = event(actor={"type": "client", "id": "bob"}, outcome="failure")
    live.tables.put(ada, bob)

    def found(*arguments: str) -> set[str]:
        answer = run(live, "search", "--json", *arguments)
        assert answer.exit_code == 0, answer.stderr
        return {json.loads(text)["event_id"] for text in answer.stdout.splitlines()}

    assert found("--user", "u1", "--user", "bob", "--category", "files") == {ada.event_id, bob.event_id}
    assert found("--meta", "folder=a=b") == {ada.event_id}
    assert found("--filter", "not_user=u1") == {bob.event_id}
    assert found("--outcome", "failure", "--actor-type", "client", "--target", "file:f1") == {bob.event_id}
    assert found("--ip", "203.0.113.0/24", "--q", "ada lovelace", "--source", "web") == {ada.event_id}
    assert found("--event", "file.downloaded", "--since", "1h", "--until", "2026-03-14T12:00:00Z") == set()
    assert found("--app", "nobody") == set()


def test_problems_are_told_with_every_fault(live: QueryService) -> None:
    """Status 1 for what the service refuses, 2 for a command that is wrong; never a stack trace."""
    refused = run(live, "search", "--category", "file", "--since", "yesterday", "--filter", "colour=red")
    assert (refused.exit_code, refused.stdout) == (1, "")
    told = refused.stderr.splitlines()
    assert told[0] == "audit-log: The request is not valid"
    assert {text.split(":")[1].strip() for text in told[1:]} == {"category", "since", "colour"}
    assert run(live, "search", AUDIT_API_KEY="wrong").stderr == "audit-log: the API key is not valid\n"
    away = run(live, "search", AUDIT_QUERY_URL="http://127.0.0.1:9")
    assert (away.exit_code, away.stderr.count("\n")) == (1, 1)
    assert "can't be reached" in away.stderr
    for arguments in (("--meta", "x"), ("--tz", "Mars/Base"), ("--limit", "0"), ("--colour", "red")):
        assert run(live, "search", *arguments).exit_code == 2, arguments
    nothing = run(live, "search", "--user", "nobody")
    assert (nothing.exit_code, nothing.stdout, nothing.stderr) == (0, "", "audit-log: no event matches\n")


def test_a_local_stack_is_found_by_itself(live: QueryService, tmp_path: Path) -> None:
    """Its address and a workspace's key stand in its folder; they go nowhere else."""
    live.tables.put(event())
    folder = DataFolder(tmp_path / "stack")
    places = [WorkspaceAccess("other", "free", "no key", "", ""), WorkspaceAccess("w1", "free", key(live), "", "")]
    with folder.held():
        folder.write(StackState(ready=True, addresses={"query_api": live.url}, workspaces=tuple(places)))
    alone = {"AUDIT_QUERY_URL": "", "AUDIT_API_KEY": ""}
    at = ("--data-dir", str(folder.path))
    assert run(live, "search", *at, "--workspace", "w1", **alone).exit_code == 0
    assert run(live, "search", *at, **alone).stderr == "audit-log: the API key is not valid\n"
    assert run(live, "search", *at, "--workspace", "w3", **alone).exit_code == 2
    assert run(live, "search", *at, **alone | {"AUDIT_QUERY_URL": live.url}).exit_code == 2
    assert run(live, "search", "--data-dir", str(tmp_path / "none"), **alone).exit_code == 2


def test_nothing_in_an_event_takes_the_terminal_over(live: QueryService) -> None:
    """Escapes, line ends and marks that turn the direction of text are shown, not obeyed; JSON is plain ASCII."""
    evil = "\x1b]0;gone\x07\x9b31m\r\nfake\u202egpj.exe\u2066\u200b"
    live.tables.put(event(targets=[{"type": "file", "id": "f", "name": evil}]))
    shown = run(live, "search").stdout
    assert "\\x1b]0;gone\\x07\\x9b31m\\x0d\\x0afake\\u202egpj.exe\\u2066\\u200b" in shown
    assert shown.count("\n") == 2
    as_json = run(live, "search", "--json").stdout
    assert as_json.isascii()
    assert json.loads(as_json)["targets"][0]["name"] == evil
    assert safe("Zoë 東京 👍 \ud800\U000e0001") == "Zoë 東京 👍 \\ud800\\U000e0001"


def test_a_line_is_cut_in_its_columns_but_not_in_its_targets() -> None:
    """Long names keep the columns straight; an actor without a name is told by what there is."""
    given = {
        "occurred_at": "2026-03-14T12:00:00.000000Z",
        "actor": {"type": "api_key", "id": "k" * 60, "name": None, "email": None},
        "label": "L" * 60,
        "outcome": None,
        "targets": [{"type": "file", "id": "f1", "name": None}, {"type": "file", "id": "f2", "name": "n" * 80}],
    }
    assert line(given, NOON.tzinfo) == (
        f"2026-03-14 12:00:00+00:00  {'k' * 25}…  {'L' * 29}…             file:f1, {'n' * 80}"
    )


def test_tail_goes_on_after_a_cut_without_loss(live: QueryService, started: list[subprocess.Popen[str]]) -> None:
    """It says on stderr that it was cut, resumes behind the last event, and ends quietly with Ctrl-C."""
    address = urlsplit(live.url)
    relay = Relay((address.hostname or "", address.port or 0))
    process = command(started, f"http://127.0.0.1:{relay.port}", key(live), "tail", "--json", "--user", "u1")
    assert process.stdout is not None
    eventually(lambda: live.following(), 20, "the stream is open")
    sent = land(live, event())
    assert json.loads(process.stdout.readline())["event_id"] == sent[0]
    relay.cut()
    missed = land(live, event(), event())
    assert [json.loads(process.stdout.readline())["event_id"] for _ in missed] == missed
    process.send_signal(signal.SIGINT)
    out, told = process.communicate(timeout=20)
    assert (process.returncode, out) == (130, "")
    assert all(text.startswith("audit-log: ") for text in told.splitlines())
    assert "going on in 1 s" in told
    relay.close()


def test_tail_ends_with_the_problem_that_ended_the_stream(
    live: QueryService, started: list[subprocess.Popen[str]]
) -> None:
    """A revoked key is no cut: it is told, and the status is 1."""
    made = live.access.create_key("w1", ["audit:read"])
    process = command(started, live.url, made.secret, "tail")
    eventually(lambda: live.following(), 20, "the stream is open")
    live.access.revoke_key(made.key.id)
    assert process.communicate(timeout=20) == ("", "audit-log: the API key is not valid\n")
    assert process.returncode == 1


def test_a_reader_that_has_enough_ends_the_command_quietly(
    live: QueryService, started: list[subprocess.Popen[str]]
) -> None:
    """As in `audit-log search --all | head`."""
    live.tables.put(*(event(occurred_at=NOON - timedelta(seconds=number)) for number in range(600)))
    process = command(started, live.url, key(live), "search", "--all", "--json")
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline()
    process.stdout.close()
    assert process.wait(20) == 0
    assert process.stderr.read() == ""


def test_tail_waits_longer_and_longer_for_a_service_that_is_away() -> None:
    """One second first, half a minute at most, told each time."""
    notes: list[str] = []
    waits: list[float] = []

    class EnoughError(Exception):
        pass

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 7:
            raise EnoughError

    with pytest.raises(EnoughError):
        next(QueryClient(Service("http://127.0.0.1:9", "key"), notes.append, wait).follow([]))
    assert waits == [1, 2, 4, 8, 16, 30, 30]
    assert "can't be reached" in notes[0]
