"""The recorder and its fixture: what a service's own tests see of the events it emits."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest

from audit_producers.receipt import Receipt
from audit_producers.recording import Recorder, active, recording
from audit_schemas.errors import InvalidEvent
from tests.builders import event

DOWNLOAD: dict[str, Any] = {"event_type": "file.downloaded"}
UPDATE: dict[str, Any] = {
    "event_type": "client.updated",
    "category": "crm",
    "targets": [],
    "changes": [{"path": "name", "old": "a", "new": "b"}],
}


def take(recorder: Recorder, **fields: Any) -> Receipt:
    return recorder.take(event(**fields))


def test_events_are_kept_and_their_receipts_are_settled() -> None:
    """In order; a caller that waits goes on at once."""
    recorder = Recorder()
    receipts = [take(recorder, **DOWNLOAD), take(recorder, **UPDATE)]
    assert [one.event_type for one in recorder.events] == ["file.downloaded", "client.updated"]
    assert [one.event_id for one in receipts] == [one.event_id for one in recorder.events]
    assert [one.state for one in receipts] == ["acknowledged"] * 2
    assert receipts[1].wait(0)[:] == ("audit.crm", 0, 1)
    assert recorder.of_type("client.updated") == recorder.events[1:]
    assert recorder.of_type("note.created") == []
    recorder.clear()
    assert recorder.events == []


def test_an_event_too_large_to_be_sent_is_refused_as_in_production() -> None:
    """A service's tests find it before its users do."""
    recorder = Recorder()
    with pytest.raises(InvalidEvent, match="at most 65536 are taken"):
        take(recorder, metadata={"x": ["y" * 500] * 200})
    assert recorder.events == []


def test_the_only_event_or_a_list_of_what_there_was() -> None:
    """None and several are told apart at a glance."""
    recorder = Recorder()
    with pytest.raises(AssertionError, match="expected one audit event, there are 0"):
        recorder.only()
    take(recorder, **DOWNLOAD)
    assert recorder.only() is recorder.events[0]
    take(recorder, **UPDATE)
    with pytest.raises(AssertionError) as raised:
        recorder.only()
    assert str(raised.value).splitlines() == [
        "expected one audit event, there are 2",
        "  file.downloaded in w1 by internal_user:u1 on file:f1",
        "  client.updated in w1 by internal_user:u1",
    ]


def test_an_expected_event_is_found_by_any_of_its_fields() -> None:
    """Of objects only the keys that are given count; JSON fields are compared as values."""
    recorder = Recorder()
    take(recorder, **DOWNLOAD, metadata={"size": 5, "tags": ["x", "y"]})
    take(recorder, **UPDATE, workspace_id="w2")
    found = recorder.assert_emitted(
        "file.downloaded",
        workspace_id="w1",
        actor={"id": "u1"},
        targets=[{"type": "file", "id": ANY}],
        metadata={"tags": ["x", "y"]},
    )
    assert found is recorder.events[0]
    assert recorder.assert_emitted("client.updated", changes=[{"path": "name", "new": "b"}]) is recorder.events[1]
    assert recorder.assert_emitted("client.updated", metadata='{"size":5}') is recorder.events[1]


def test_a_failed_expectation_shows_how_the_likeliest_events_differ() -> None:
    """The same type and the fewest differences come first, the others follow in a line each."""
    recorder = Recorder()
    for number in range(4):
        take(recorder, **UPDATE, request_id=f"r{number}")
    take(recorder, **DOWNLOAD, actor={"type": "client", "id": "c1"}, metadata={"size": 6})
    with pytest.raises(AssertionError) as raised:
        recorder.assert_emitted("file.downloaded", actor={"id": "u1", "name": "Ada"}, metadata={"size": 5, "x": 1})
    lines = str(raised.value).splitlines()
    assert lines[:6] == [
        "no file.downloaded as expected was emitted; there are 5 audit events:",
        "  file.downloaded in w1 by client:c1 on file:f1",
        "      actor.id: expected 'u1', was 'c1'",
        "      actor.name: expected 'Ada', was ''",
        "      metadata.x: expected 1, is not there",
        "      metadata.size: expected 5, was 6",
    ]
    assert "      event_type: expected 'file.downloaded', was 'client.updated'" in lines
    assert len([line for line in lines if line.startswith("  client.updated")]) == 4
    with pytest.raises(AssertionError, match=r"there are 0 audit events$"):
        Recorder().assert_emitted("file.downloaded")


def test_a_field_that_events_do_not_have_is_a_mistake_of_the_test() -> None:
    """Not an event that is missing."""
    with pytest.raises(TypeError, match="no field 'workspace'; did you mean workspace_id"):
        Recorder().assert_emitted("file.downloaded", workspace="w1")


def test_one_recorder_is_active_in_all_threads_until_its_end() -> None:
    """An inner one takes over and gives back, also after a failure."""
    assert active() is None
    seen: list[Recorder | None] = []
    with recording() as outer:
        with pytest.raises(KeyError), recording() as inner:
            thread = threading.Thread(target=lambda: seen.append(active()))
            thread.start()
            thread.join()
            raise KeyError
        assert seen == [inner]
        assert active() is outer
    assert active() is None


SERVICE_TEST = """
import sys

from audit_producers.context import set_actor
from audit_producers.recording import active
from tests.builders import event


def test_first(audit_log_recorder):
    set_actor({"type": "client", "id": "c1"})
    active().take(event())
    audit_log_recorder.assert_emitted("file.downloaded")
    assert "confluent_kafka" not in sys.modules


def test_each_test_begins_with_nothing(audit_log_recorder):
    assert audit_log_recorder.events == []
    audit_log_recorder.only()
"""


def test_a_service_gets_the_fixture_from_the_plugin(tmp_path: Path) -> None:
    """Each test has a recorder of its own; failures read as sentences; Kafka's client is not imported."""
    (tmp_path / "test_service.py").write_text(SERVICE_TEST)
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "audit_producers.pytest_plugin", "-p", "no:cacheprovider", "."],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 failed, 1 passed" in done.stdout, done.stdout + done.stderr
    assert "expected one audit event, there are 0" in done.stdout
