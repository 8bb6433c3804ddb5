"""What changed between two objects: complete, in one order, written down for anyone, and without secrets."""

from __future__ import annotations

import enum
import json
import uuid
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, RootModel, SecretStr

from audit_producers.changes import changes_between
from audit_schemas.acceptance import Acceptance
from audit_schemas.catalogue import load
from audit_schemas.redaction import is_secret_path
from tests.builders import NOON, json_values, text

REDACTED = {"redacted": True}
BERLIN = timezone(timedelta(hours=2))


class Plan(enum.Enum):
    BASIC = "basic"
    PRO = "pro"


class Level(enum.IntEnum):
    LOW = 1


class Tags(RootModel[list[str]]):
    pass


class Company(BaseModel):
    model_config = ConfigDict(extra="allow")
    name: str
    plan: Plan = Plan.BASIC
    pin: SecretStr | None = None
    tags: Tags = Tags([])


@dataclass
class Address:
    city: str
    lines: list[str] = field(default_factory=list)


def change(path: str, old: Any, new: Any) -> dict[str, Any]:
    return {"path": path, "old": old, "new": new}


def accepted(changes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The changes as an event carries them."""
    fields = {"workspace_id": "w1", "actor": {"type": "system"}, "source": "api", "changes": changes}
    found: list[dict[str, Any]] = json.loads(Acceptance(load()).accept("client.updated", fields, NOON).changes)
    return found


def test_mappings_models_and_dataclasses_are_compared_field_by_field() -> None:
    """Paths lead through objects by dots and through lists by places, in the order of names and places."""
    old = {"name": "a", "address": {"city": "Ulm", "zip": "1"}, "members": [{"role": "x"}, {"role": "y"}], "same": 1}
    new = {"members": [{"role": "z"}, {"role": "y"}], "address": {"zip": "1", "city": "Bonn"}, "same": 1, "name": "b"}
    assert changes_between(old, new) == [
        change("address.city", "Ulm", "Bonn"),
        change("members[0].role", "x", "z"),
        change("name", "a", "b"),
    ]
    assert changes_between(Address("Ulm", ["1"]), Address("Bonn", ["1", "2"])) == [
        change("city", "Ulm", "Bonn"),
        change("lines[1]", None, "2"),
    ]
    assert changes_between(
        Company(name="a"), Company.model_validate({"name": "a", "plan": "pro", "x": 1, "tags": ["t"]})
    ) == [
        change("plan", "basic", "pro"),
        change("tags[0]", None, "t"),
        change("x", None, 1),
    ]


def test_a_missing_side_is_none() -> None:
    """Also for a thing that was created or deleted; absent and None are the same."""
    assert changes_between(None, {"a": 1, "b": {"c": 2}}) == [change("a", None, 1), change("b", None, {"c": 2})]
    assert changes_between({"a": [1, 2]}, {}) == [change("a", [1, 2], None)]
    assert changes_between({"a": None}, {}) == []
    assert changes_between({"a": {"b": None}}, {"a": {}}) == []


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (datetime(2026, 3, 14, 12, tzinfo=BERLIN), "2026-03-14T10:00:00Z"),
        (datetime(2026, 3, 14, 12), "2026-03-14T12:00:00"),
        (datetime.min.replace(tzinfo=BERLIN), "0001-01-01T00:00:00+02:00"),
        (date(2026, 3, 14), "2026-03-14"),
        (time(12, 30), "12:30:00"),
        (timedelta(minutes=90), "1:30:00"),
        (Decimal("10.50"), "10.50"),
        (Decimal("1E+1000"), "1E+1000"),
        (Decimal("sNaN"), "NaN"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Plan.PRO, "pro"),
        (Level.LOW, 1),
        (b"\0\xff", "AP8="),
        pytest.param({"b", "a"}, ["a", "b"], id="a set"),
        pytest.param(frozenset([2, 10, True]), [10, 2, True], id="a frozen set"),
        (PurePosixPath("/a/b"), "/a/b"),
        (float("nan"), "NaN"),
        (float("-inf"), "-Infinity"),
        (Tags(["a"]), ["a"]),
        ({1: "a", None: "b"}, {"1": "a", "null": "b"}),
    ],
    ids=str,
)
def test_values_json_has_no_form_for_become_text(value: Any, written: Any) -> None:
    """In one documented way each, and an event takes them."""
    assert changes_between({}, {"v": value}) == [change("v", None, written)]
    assert changes_between({"v": value}, {"v": value}) == []
    assert accepted(changes_between({}, {"v": value})) == [change("v", None, written)]


def test_what_is_equal_is_no_change() -> None:
    """The same instant in two zones, the same number in two spellings, a set in another order; but true is not 1."""
    noon = datetime(2026, 3, 14, 12, tzinfo=UTC)
    old = {"at": noon, "price": Decimal("1.00"), "count": 1, "tags": {"a", "b"}, "on": True}
    new = {"at": noon.astimezone(BERLIN), "price": Decimal("1.0"), "count": 1.0, "tags": ["a", "b"], "on": 1}
    assert changes_between(old, new) == [change("on", True, 1)]
    assert changes_between({"tags": {"a", "b"}}, {"tags": {"b", "c"}}) == [change("tags", ["a", "b"], ["b", "c"])]


def test_secrets_are_replaced_here_already() -> None:
    """At secret paths, inside values, and what a type calls a secret, whatever the other side calls it."""
    old = {
        "password": "hunter1",
        "login": {"api_key": "hunter2", "user": "a"},
        "keys": [],
        "credentials": [{"a": "hunter3"}],
    }
    new = {
        "password": "hunter4",
        "login": {"API_KEY": "hunter5", "user": "b"},
        "keys": [{"deep": [{"token": "hunter6", "x.secret": "hunter7"}]}],
        "credentials": [{"a": "hunter8"}],
    }
    found = changes_between(old, new)
    assert found == [
        change("credentials[0].a", REDACTED, REDACTED),
        change("keys[0]", None, {"deep": [{"token": REDACTED, "x.secret": REDACTED}]}),
        change("login.API_KEY", None, REDACTED),
        change("login.api_key", REDACTED, None),
        change("login.user", "a", "b"),
        change("password", REDACTED, REDACTED),
    ]
    assert accepted(found) == found
    assert changes_between({"pin": "1"}, {"pin": "2"}, secret_fields=["PIN"]) == [change("pin", REDACTED, REDACTED)]


def test_what_a_type_calls_a_secret_is_one_on_both_sides() -> None:
    """A row of a table holds as plain text what the model hides; equal secrets are no change."""
    row, model = {"name": "a", "pin": "1234"}, Company(name="b", pin=SecretStr("5678"))
    shown = [change("name", "a", "b"), change("pin", REDACTED, REDACTED), change("plan", None, "basic")]
    assert [one for one in changes_between(row, model) if one["path"] != "tags"] == shown
    assert (
        changes_between(Company(name="a", pin=SecretStr("1")), {"name": "a", "pin": "1", "plan": "basic", "tags": []})
        == []
    )
    many: dict[str, Any] = {str(place): place for place in range(70)}
    folded = changes_between({"x": {"pin": "1234"}}, {"x": {"pin": SecretStr("5678"), **many}})
    assert [one["path"] for one in folded] == ["x"]
    assert "1234" not in repr(folded)
    assert "5678" not in repr(folded)
    listed = changes_between({"x": ["1234", 1]}, {"x": {SecretStr("5678")}})
    assert listed == [change("x", REDACTED, REDACTED)]


def test_fields_can_be_left_out() -> None:
    """With all that is below them, also where there is no form for what they hold; places in a list stay."""
    old = {"a": object(), "b": {"c": 1, "d": 1}, "e": [1, object(), 3]}
    new = {"a": object(), "b": {"c": 2, "d": 2}, "e": [1, object(), 4]}
    assert changes_between(old, new, ignore=["a", "b.c", "e[1]"]) == [change("b.d", 1, 2), change("e[2]", 3, 4)]
    with pytest.raises(TypeError, match="not one text"):
        changes_between({}, {}, ignore="a")


def test_more_than_fit_are_told_field_by_field() -> None:
    """The largest fields become one change each; none is left out, and an event takes the result."""
    old = {"small": {"a": 1}, "large": list(range(60)), "larger": {str(place): 0 for place in range(100)}}
    new = {"small": {"a": 2}, "large": list(range(1, 61)), "larger": {str(place): 1 for place in range(100)}}
    found = changes_between(old, new)
    assert len(found) == 62
    assert found[-2:] == [change("larger", old["larger"], new["larger"]), change("small.a", 1, 2)]
    assert accepted(found) == found
    both = changes_between(old | {"more": {str(place): 0 for place in range(10)}}, new | {"more": {}})
    assert [one["path"] for one in both] == ["large", "larger", *(f"more.{one}" for one in range(10)), "small.a"]
    assert [one["path"] for one in changes_between({"a": old["larger"], "b": old["larger"]}, {"a": {}, "b": {}})] == [
        "a",
        "b",
    ]
    fields = {f"f{number}": number for number in range(65)}
    with pytest.raises(ValueError, match="65 fields changed, an event tells at most 64"):
        changes_between({}, fields)
    assert len(changes_between({}, fields, ignore=["f0"])) == 64


def test_a_path_that_is_too_long_ends_at_its_object() -> None:
    """An event's paths have at most 256 characters; the change itself is not lost."""
    old, new = ({"a": {"b" * 150: {"c" * 150: {"d": value}, "e": 1}}} for value in (1, 2))
    inner = f"a.{'b' * 150}"
    assert changes_between(old, new) == [change(inner, old["a"]["b" * 150], new["a"]["b" * 150])]
    assert accepted(changes_between(old, new)) == changes_between(old, new)
    with pytest.raises(ValueError, match="more than 256 characters"):
        changes_between({}, {"x" * 257: 1})


def test_what_can_not_be_compared_is_refused_with_its_path() -> None:
    """Endless, deep, huge and formless values raise at once; the message holds no values."""
    endless: dict[str, Any] = {}
    endless["child"] = [endless]
    with pytest.raises(ValueError, match=r"child\[0\] refers to itself"):
        changes_between(endless, {})
    deep: Any = 1
    for _ in range(101):
        deep = {"a": deep}
    with pytest.raises(ValueError, match="deeper than 100 levels"):
        changes_between({}, deep)
    assert accepted(changes_between({}, deep["a"])) == [change("a", None, deep["a"]["a"])]
    shared: list[Any] = ["x"]
    for _ in range(60):
        shared = [shared, shared]
    with pytest.raises(ValueError, match="more than 100000 values"):
        changes_between({}, {"a": shared})
    with pytest.raises(TypeError, match=r"a\.b is of the type object, for which there is no form"):
        changes_between({}, {"a": {"b": object()}})
    with pytest.raises(TypeError, match="list can't be compared field by field; give a mapping"):
        changes_between([1], {})
    with pytest.raises(ValueError, match="1 is there twice"):
        changes_between({}, {1: "a", "1": "b"})


def put(tree: Any, path: str, value: Any) -> Any:
    """The tree with a value put where a path leads; the inverse of reading a change."""
    if not path:
        return value
    name, rest = path.replace("[", ".").replace("]", "").strip(".").partition(".")[::2]
    if isinstance(tree, list):
        place = int(name)
        tree = [*tree, *[None] * (place + 1 - len(tree))]
        return [*tree[:place], put(tree[place], rest, value), *tree[place + 1 :]]
    return {**tree, name: put(tree.get(name), rest, value)}


def without_none(value: Any) -> Any:
    """A value as far as absent and None are the same."""
    if isinstance(value, dict):
        return {name: without_none(inner) for name, inner in value.items() if inner is not None}
    if isinstance(value, list):
        found = [without_none(inner) for inner in value]
        while found and found[-1] is None:
            found.pop()
        return found
    return value


NAMES = st.text("abcdefgh", min_size=1, max_size=3)
TREES = st.dictionaries(
    NAMES,
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
        max_leaves=20,
    ),
    max_size=5,
)


@given(TREES, TREES)
def test_the_changes_lead_from_the_old_to_the_new(old: dict[str, Any], new: dict[str, Any]) -> None:
    """Nothing is missing: applied to the old they give the new, and backwards."""
    changes = changes_between(old, new)
    forward, back = old, new
    for one in changes:
        forward, back = put(forward, one["path"], one["new"]), put(back, one["path"], one["old"])
    assert without_none(forward) == without_none(new)
    assert without_none(back) == without_none(old)
    assert changes_between(new, old) == [change(one["path"], one["new"], one["old"]) for one in changes]


@given(st.dictionaries(text(20), json_values, max_size=8), st.dictionaries(text(20), json_values, max_size=8))
def test_any_changes_are_accepted_and_in_one_order(old: dict[str, Any], new: dict[str, Any]) -> None:
    """An event takes them as they are, and the order of the fields makes no difference."""
    changes = changes_between(old, new)
    assert len(changes) <= 64
    assert changes_between(dict(reversed(old.items())), dict(reversed(new.items()))) == changes
    if changes:
        assert accepted(changes) == changes
    assert changes_between(new, new) == []


@given(st.lists(st.sampled_from(["a", "password", "Token", "0"]), min_size=1, max_size=4))
def test_paths_are_understood_by_the_redaction(names: list[str]) -> None:
    """A secret is found at its path through objects and lists, and wherever it stands inside a value."""
    old: Any = "hunter2"
    for name in reversed(names):
        old = {name: old} if name != "0" else [old]
    old = {"root": old}
    for new in ({"root": None}, json.loads(json.dumps(old).replace("hunter2", "hunter3"))):
        changes = changes_between(old, new)
        secret = any(name in ("password", "Token") for name in names)
        assert ("hunter" in repr(changes)) is not secret
        assert secret is (is_secret_path(changes[0]["path"]) or "redacted" in repr(changes))
