"""What is said to a caller whose event is not accepted, and that nothing gets past the rules."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_schemas.acceptance import Acceptance
from audit_schemas.canonical import canonical_json
from audit_schemas.catalogue import load
from audit_schemas.errors import InvalidEvent, Problem
from audit_schemas.event import Event
from tests.builders import NOON, json_values, text

ACCEPTANCE = Acceptance(load())


def accept(event_type: Any = "file.downloaded", **fields: Any) -> Event:
    values = {"workspace_id": "w1", "actor": {"type": "internal_user", "id": "u1"}, "source": "web"} | fields
    return ACCEPTANCE.accept(event_type, values, NOON)


def problems(event_type: Any = "file.downloaded", **fields: Any) -> dict[str, Problem]:
    with pytest.raises(InvalidEvent) as raised:
        accept(event_type, **fields)
    by_pointer = {problem.pointer: problem for problem in raised.value.problems}
    assert len(by_pointer) == len(raised.value.problems)
    return by_pointer


def test_an_unknown_type_names_the_nearest_and_what_else_it_may_be() -> None:
    """A slip is mended from the message alone; a custom app learns what it forgot."""
    problem = problems("file.download")["/event_type"]
    assert problem.allowed == ("file.downloaded",)
    assert "did you mean file.downloaded?" in problem.message
    assert "needs its app_id" in problem.message
    assert "did you mean" not in problems("deal.won")["/event_type"].message


def test_a_type_that_is_no_text_is_a_problem_not_a_crash() -> None:
    """Whatever JSON may hold in its place."""
    wrongs: list[Any] = [5, None, [], {"a": 1}, True]
    for wrong in wrongs:
        assert "/event_type" in problems(wrong)
    assert "/event_type" in problems("")
    assert "/event_type" in problems("x" * 97, app_id="a1")


def test_an_update_without_changes_is_told_what_to_do() -> None:
    """By the shape of the list, and by the function that makes it."""
    ways: list[dict[str, Any]] = [{}, {"changes": []}, {"changes": ()}, {"changes": "[]"}]
    for missing in ways:
        problem = problems("client.updated", **missing)["/changes"]
        assert problem.code == "required"
        assert "[{path, old, new}]" in problem.message
        assert "changes_between(old, new)" in problem.message


def test_changes_too_deep_to_be_searched_for_secrets_are_refused() -> None:
    """A secret can't hide behind a hundred levels; up to there it is found."""

    def nested(levels: int) -> Any:
        value: Any = {"password": "hunter2"}
        for _ in range(levels):
            value = {"a": value}
        return [{"path": "x", "old": None, "new": value}]

    assert problems("client.updated", changes=nested(101))["/changes"].code == "too_deep"
    assert "hunter2" not in accept("client.updated", changes=nested(99)).changes


@pytest.mark.parametrize(
    "path", ["password", "a.Token", "a/secret", "a[0].cvv", 'a["password"]', "credentials[0]", "a[password]"]
)
def test_secret_paths_are_known_in_every_spelling(path: str) -> None:
    """Dots, slashes and brackets part a path."""
    event = accept("client.updated", changes=[{"path": path, "old": None, "new": "hunter2"}])
    assert json.loads(event.changes) == [{"path": path, "old": None, "new": {"redacted": True}}]


def test_the_logs_own_keys_are_refused_however_metadata_is_given() -> None:
    """As a mapping or as JSON text."""
    for metadata in ({"_truncated": 1, "a": 1}, '{"_truncated": 1, "a": 1}'):
        assert set(problems(metadata=metadata)) == {"/metadata/_truncated"}


def test_a_cut_user_agent_is_noted_however_metadata_is_given() -> None:
    """The one field that is cut is never cut in silence."""
    for metadata in (None, {}, {"a": 1}, '{"a": 1}', "{}"):
        event = accept(user_agent="x" * 2000, metadata=metadata)
        assert len(event.user_agent) == 1024
        assert json.loads(event.metadata)["_truncated"] == ["user_agent"]
    assert set(problems(user_agent="x" * 2000, metadata="no json")) == {"/metadata"}


@pytest.mark.parametrize("wrong", [5, "text", {"type": "file"}, [5], [None], [["type"]]])
def test_targets_of_any_wrong_shape_are_a_problem_not_a_crash(wrong: Any) -> None:
    """Each with its place."""
    assert all(pointer.startswith("/targets") for pointer in problems(targets=wrong))


def test_how_far_ahead_an_event_may_lie_is_a_rule() -> None:
    """A day for the SDK, less for others; the message says how much."""
    assert accept(occurred_at=NOON + timedelta(days=1)).occurred_at == NOON + timedelta(days=1)
    assert "one day ahead" in problems(occurred_at=NOON + timedelta(days=1, seconds=1))["/occurred_at"].message
    strict = Acceptance(load(), newest=timedelta(minutes=5))
    fields = {
        "workspace_id": "w1",
        "actor": {"type": "system"},
        "source": "api",
        "occurred_at": NOON + timedelta(hours=1),
    }
    with pytest.raises(InvalidEvent, match="5 minutes ahead"):
        strict.accept("file.downloaded", fields, NOON)


@given(st.dictionaries(text(45), text(510) | st.integers() | json_values, max_size=10))
def test_small_and_other_metadata_are_written_alike(metadata: dict[str, Any]) -> None:
    """The short way for small flat objects gives what the general one gives, and refuses what it refuses."""
    general = json.dumps(metadata, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    assert canonical_json(metadata) == general
    limits = [len(key) <= 40 and not key.startswith("_") for key in metadata]
    limits += [len(value) <= 500 for value in metadata.values() if isinstance(value, str)]
    if all(limits):
        assert accept(metadata=metadata).metadata == general
    else:
        assert all(pointer.startswith("/metadata") for pointer in problems(metadata=metadata))
