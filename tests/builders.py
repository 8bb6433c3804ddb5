"""Events for tests: plain ones by hand, arbitrary valid ones by hypothesis."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from audit_schemas.event import ACTOR_TYPES, OUTCOMES, SOURCES, Event, parse_event
from audit_schemas.topics import CATEGORIES

NOON = datetime(2026, 3, 14, 12, 0, tzinfo=UTC)


def event(**changes: Any) -> Event:
    """One ordinary valid event; keyword arguments replace fields."""
    return parse_event(event_values(**changes))


def event_values(**changes: Any) -> dict[str, Any]:
    """The values of `event`, before validation."""
    return {
        "event_id": str(uuid.uuid4()),
        "workspace_id": "w1",
        "category": "files",
        "event_type": "file.downloaded",
        "occurred_at": NOON,
        "actor": {"type": "internal_user", "id": "u1", "name": "Ada Lovelace", "email": "ada@example.com"},
        "source": "web",
        "ip": "203.0.113.7",
        "user_agent": "Mozilla/5.0",
        "targets": [{"type": "file", "id": "f1", "name": "plan.pdf"}],
        "metadata": {"size": 5},
    } | changes


def text(most: int, least: int = 0) -> st.SearchStrategy[str]:
    """Any Unicode text that UTF-8 can carry and an event may hold."""
    return st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=least, max_size=most)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text(20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text(10), inner, max_size=3),
    max_leaves=8,
)
addresses = st.just("") | st.ip_addresses(v=4).map(str) | st.ip_addresses(v=6).map(str).filter(lambda ip: ip != "::")


@st.composite
def event_data(draw: st.DrawFn, *, around: datetime = NOON, category: str | None = None) -> dict[str, Any]:
    """Values of an arbitrary valid event whose instants lie within a year before `around`."""
    instants = st.integers(0, 365 * 86_400_000_000).map(lambda back: around - timedelta(microseconds=back))
    target = st.fixed_dictionaries(
        {"type": st.from_regex(r"[a-z][a-z0-9_]{0,63}", fullmatch=True), "id": text(128), "name": text(256)}
    )
    change = st.fixed_dictionaries({"path": text(256, 1), "old": json_values, "new": json_values})
    return {
        "event_id": str(draw(st.uuids(allow_nil=False))),
        "workspace_id": draw(st.from_regex(r"[A-Za-z0-9_.:-]{1,64}", fullmatch=True)),
        "category": category or draw(st.sampled_from(CATEGORIES)),
        "event_type": draw(text(96, 1)),
        "label": draw(text(80)),
        "occurred_at": draw(instants),
        "received_at": draw(st.just(datetime(1970, 1, 1, tzinfo=UTC)) | instants),
        "actor": {
            "type": draw(st.sampled_from(ACTOR_TYPES)),
            "id": draw(text(128)),
            "name": draw(text(256)),
            "email": draw(text(320)),
        },
        "on_behalf_of": {
            "type": draw(st.sampled_from(("", *ACTOR_TYPES))),
            "id": draw(text(128)),
            "name": draw(text(256)),
        },
        "source": draw(st.sampled_from(SOURCES)),
        "ip": draw(addresses),
        "user_agent": draw(text(1024)),
        "targets": draw(st.lists(target, max_size=16)),
        "outcome": draw(st.sampled_from(OUTCOMES)),
        "outcome_reason": draw(text(64)),
        "changes": draw(st.lists(change, max_size=4)),
        "metadata": draw(st.dictionaries(text(40), json_values, max_size=5)),
        "request_id": draw(text(128)),
        "session_id": draw(text(128)),
        "app_id": draw(text(64)),
        "producer": {
            "service": draw(text(128)),
            "instance": draw(text(64)),
            "version": draw(text(64)),
            "seq": draw(st.integers(0, 2**63 - 1)),
        },
    }


def events(**options: Any) -> st.SearchStrategy[Event]:
    """Arbitrary valid events."""
    return event_data(**options).map(parse_event)
