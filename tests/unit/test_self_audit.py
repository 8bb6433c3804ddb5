"""What the log says of its own use, and how often."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_infra.access import ApiKey, Principal
from audit_query.filters import MAX_URL_BYTES, Params
from audit_query.lately import Lately
from audit_query.self_audit_events import actor_of, asked, change_event, filter_metadata
from audit_schemas.acceptance import Acceptance
from audit_schemas.catalogue import load
from audit_schemas.codec import encode
from audit_schemas.event import MAX_EVENT_BYTES, refuse_too_large
from tests.builders import NOON, text

ACCEPTANCE = Acceptance(load())
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("params", "filter_"),
    [
        ([("limit", "10"), ("tz", "UTC"), ("count", "1"), ("fields", "ip")], {}),
        ([("user", "a"), ("cursor", "x"), ("user", "b")], {"user": ["a", "b"]}),
        ([("since", "7d")], {"since": ["7d"]}),
        ([("until", "2026-03-14"), ("tz", "UTC")], {"until": ["2026-03-14"], "tz": ["UTC"]}),
        ([("not_ip", "10.0.0.0/8"), ("q", "roof")], {"not_ip": ["10.0.0.0/8"], "q": ["roof"]}),
        ([("meta.size", "5"), ("meta.api_key", "k")], {"meta.size": ["5"], "meta.api_key": ["(redacted)"]}),
        ([("not_meta.Password", "hunter2")], {"not_meta.Password": ["(redacted)"]}),
    ],
)
def test_the_filter_is_told_as_it_was_asked_for(params: Params, filter_: dict[str, list[str]]) -> None:
    """Parameters and values in order; not how much of it, where in it, nor what was searched for under a secret's name."""
    assert asked(params) == filter_


def test_a_long_filter_is_cut_and_says_so() -> None:
    """Many values, long values and very many parameters; a short one is whole and says nothing."""
    assert filter_metadata({"user": ["a"]}) == {"filter": {"user": ["a"]}}
    assert filter_metadata({}) == {}
    many = filter_metadata({"user": [f"u{number}" for number in range(200)]})
    assert many == {"filter": {"user": [f"u{number}" for number in range(20)]}, "filter_cut": True}
    long = filter_metadata({"q": ["x" * 500]})
    assert long == {"filter": {"q": ["x" * 200]}, "filter_cut": True}
    wide = filter_metadata({f"meta.k{number}": ["v" * 200] * 3 for number in range(60)})
    assert wide["filter_cut"]
    assert sum(len(value) for values in wide["filter"].values() for value in values) <= 6_000


@given(
    st.lists(st.tuples(text(45, 1), text(MAX_URL_BYTES)), max_size=60),
    st.text(max_size=2000),
    st.text(max_size=2000),
    st.sampled_from(["user", "key"]),
)
def test_whoever_asks_whatever_the_event_is_accepted(params: Params, subject: str, agent: str, kind: str) -> None:
    """Tokens hold texts of any length, with NULs and lone surrogates; filters are as long as an address can be."""
    principal = Principal("w1", kind, subject, name=subject, email=subject)  # type: ignore[arg-type]  # of the two
    event = ACCEPTANCE.accept(
        "audit_log.searched",
        {
            "workspace_id": "w1",
            "actor": actor_of(principal),
            "source": "api",
            "metadata": filter_metadata(asked([*params, ("q", "\0\ud800")])),
        },
        NOON,
    )
    refuse_too_large(len(encode(event)), MAX_EVENT_BYTES - 5_000)


def test_a_key_acts_as_a_key_and_a_person_as_staff() -> None:
    """With the id and the name by which the workspace knows them."""
    ada = Principal("w1", "user", "u1", "Ada", "ada@example.com")
    assert actor_of(ada) == {"type": "internal_user", "id": "u1", "name": "Ada", "email": "ada@example.com"}
    assert actor_of(Principal("w1", "key", "k1", "CRM"))["type"] == "api_key"


def test_changes_become_events_the_catalogue_knows() -> None:
    """A plan with before and after, keys with what they open; a plan that stays is no change."""
    key = ApiKey("k1", "w1", "alk_12345678", "CRM", frozenset({"audit:write"}), "crm", NOON, NOON + HOUR, None)
    found = []
    for change in (
        change_event("workspace_created", "w1", None, "starter"),
        change_event("plan_changed", "w1", "starter", "advanced"),
        change_event("key_created", "w1", None, key),
        change_event("key_revoked", "w1", key, None),
    ):
        assert change is not None
        event_type, fields = change
        event = ACCEPTANCE.accept(
            event_type, {**fields, "actor": {"type": "system", "id": "operator:root"}, "source": "api"}, NOON
        )
        found.append((event.event_type, event.targets[0].id, json.loads(event.metadata), json.loads(event.changes)))
    about = {
        "prefix": "alk_12345678",
        "scopes": ["audit:write"],
        "app_id": "crm",
        "expires_at": "2026-03-14T13:00:00+00:00",
    }
    assert found == [
        ("workspace.created", "w1", {"plan": "starter"}, []),
        ("workspace.plan_changed", "w1", {}, [{"path": "plan", "old": "starter", "new": "advanced"}]),
        ("api_key.created", "k1", about, []),
        ("api_key.revoked", "k1", about, []),
    ]
    assert change_event("plan_changed", "w1", "starter", "starter") is None


def test_what_was_said_lately_is_no_news() -> None:
    """For the span, per key, until the value is another one; forgotten keys are news."""
    lately = Lately(10, HOUR)
    assert lately.is_news("ada", "x", NOON)
    assert not lately.is_news("ada", "x", NOON + HOUR - timedelta(microseconds=1))
    assert lately.is_news("ada", "x", NOON + HOUR)
    assert lately.is_news("ada", "y", NOON + HOUR)
    assert lately.is_news("ada", "x", NOON + HOUR)
    assert lately.is_news("bob", "x", NOON)
    lately.forget("bob")
    assert lately.is_news("bob", "x", NOON)


def test_the_memory_of_what_was_said_is_bounded() -> None:
    """The key that was asked for the longest ago goes first."""
    lately = Lately(2, HOUR)
    for key in ("a", "b", "a", "c"):
        lately.is_news(key, None, NOON)
    assert len(lately) == 2
    assert not lately.is_news("a", None, NOON)
    assert lately.is_news("b", None, NOON)
