"""From a request's parameters to one filter: what is taken, what is refused and how it is said."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_infra.access import Signer
from audit_infra.http.problems import ProblemError
from audit_query import cursor, sql
from audit_query.cursor import Cursor
from audit_query.filters import PARAMETERS, Filter, Params, parse
from audit_query.plans import visibility
from audit_query.times import instant_of, midnight
from audit_schemas.event import micros
from tests.builders import NOON

SIGNER = Signer(["a signing key"], "cursor")


@pytest.mark.parametrize(
    ("params", "condition", "values"),
    [
        ([], "", {}),
        (
            [("user", "client:c1")],
            "(actor_id = {user0:String} AND actor_type = {kind0:String})",
            {"user0": "c1", "kind0": "client"},
        ),
        ([("user", "c1")], "actor_id = {user0:String}", {"user0": "c1"}),
        ([("user", "robot:c1")], "actor_id = {user0:String}", {"user0": "robot:c1"}),
        (
            [("user", "client:a:b")],
            "(actor_id = {user0:String} AND actor_type = {kind0:String})",
            {"user0": "a:b", "kind0": "client"},
        ),
        (
            [("user", "anonymous:")],
            "(actor_id = {user0:String} AND actor_type = {kind0:String})",
            {"user0": "", "kind0": "anonymous"},
        ),
        (
            [("user", "b"), ("user", "a")],
            "(actor_id = {user0:String} OR actor_id = {user1:String})",
            {"user0": "a", "user1": "b"},
        ),
        ([("event", "a,b")], "event_type = {event:String}", {"event": "a,b"}),
        ([("event", "b"), ("event", "a")], "event_type IN {event:Array(String)}", {"event": ["a", "b"]}),
        ([("category", "crm")], "category = {category:String}", {"category": "crm"}),
        (
            [("since", "2026-03-14T11:00:00+01:00")],
            "occurred_at >= fromUnixTimestamp64Micro({since:Int64}, 'UTC')",
            {"since": micros(NOON - timedelta(hours=2))},
        ),
        (
            [("since", "90m"), ("event", "x")],
            "occurred_at >= fromUnixTimestamp64Micro({since:Int64}, 'UTC') AND event_type = {event:String}",
            {"since": micros(NOON - timedelta(minutes=90)), "event": "x"},
        ),
    ],
)
def test_parameters_become_conditions(params: Params, condition: str, values: dict[str, object]) -> None:
    """Every condition has bound parameters, and the workspace always comes first."""
    filter_, _, _ = parse(params, NOON)
    found = sql.where("w1", filter_)
    assert found.sql == "workspace_id = {workspace:String}" + (f" AND {condition}" if condition else "")
    assert found.values == {"workspace": "w1"} | values


@pytest.mark.parametrize(
    ("params", "faults"),
    [
        ([("usr", "x")], [("usr", "unknown_parameter")]),
        ([("user", "")], [("user", "length")]),
        ([("user", "x" * 161)], [("user", "length")]),
        ([("event", "x" * 97)], [("event", "length")]),
        ([("category", "files,crm")], [("category", "unknown_value")]),
        ([("limit", "0")], [("limit", "out_of_range")]),
        ([("limit", "201")], [("limit", "out_of_range")]),
        ([("limit", "５")], [("limit", "out_of_range")]),
        ([("limit", "-1"), ("since", "tomorrow")], [("since", "not_a_time"), ("limit", "out_of_range")]),
        ([("since", "2026-03-14")], [("since", "not_a_time")]),
        ([("since", "2026-03-14T09:00:00")], [("since", "not_a_time")]),
        ([("since", "2026-02-30"), ("tz", "UTC")], [("since", "not_a_time")]),
        ([("until", "24h")], [("until", "not_a_time")]),
        ([("since", "9999d")], []),
        ([("since", "1h"), ("until", "2026-03-14T10:00:00Z")], [("until", "empty_range")]),
        ([("tz", "../etc/passwd")], [("tz", "unknown_zone")]),
        ([("tz", "Mars/Base"), ("since", "2026-03-14")], [("tz", "unknown_zone")]),
        ([("cursor", "a"), ("cursor", "b")], [("cursor", "repeated")]),
        ([("event", f"e{n}") for n in range(201)], [("event", "too_many")]),
        ([("event", "x" * 90)] * 190, [("", "too_long")]),
    ],
)
def test_what_is_wrong_is_named(params: Params, faults: list[tuple[str, str]]) -> None:
    """All faults of a request at once, each with the parameter's name and a stable code."""
    if not faults:
        parse(params, NOON)
        return
    with pytest.raises(ProblemError) as raised:
        parse(params, NOON)
    assert [(fault.name, fault.code) for fault in raised.value.faults] == faults
    assert raised.value.status == 400


def test_no_query_is_made_without_a_workspace() -> None:
    """An empty workspace is a fault of ours, never everybody's events."""
    makers: tuple[Callable[[], object], ...] = (
        lambda: sql.where("", Filter()),
        lambda: sql.page("", Filter(), None, 1),
        lambda: sql.one("", Filter(), "x"),
        lambda: sql.users("", "", None, pii=True),
        lambda: sql.event_types("", None),
    )
    for make in makers:
        with pytest.raises(ValueError, match="needs a workspace"):
            make()


@given(st.text(max_size=60), st.text(max_size=60))
def test_no_value_reaches_the_text_of_a_query(user: str, event: str) -> None:
    """Whatever is asked for, the statement stays the same: values travel as parameters."""
    plain = sql.page("w1", Filter(values=(("user", ("u",)), ("event", ("e",)))), None, 9).sql
    asked = Filter(values=(("user", (f"!{user}",)), ("event", (f"!{event}",))))
    assert sql.page("w1", asked, None, 9).sql == plain


def test_parameters_have_names_of_their_own() -> None:
    """Two parameters never share a name, in the URL or in the statement."""
    assert len({one.name for one in PARAMETERS}) == len(PARAMETERS)


@given(
    st.sampled_from(["older", "newer"]),
    st.integers(0, 2**52),
    st.uuids().map(str),
    st.none() | st.integers(0, 2**52),
)
def test_a_cursor_comes_back_as_it_was(direction: str, at: int, event_id: str, since: int | None) -> None:
    """Round trip, also after the signing key was rotated; nothing in it names a plan."""
    made = Cursor("older" if direction == "older" else "newer", at, event_id, since, None)
    text = made.text(SIGNER, "w1", "f1")
    rotated = Signer(["a newer key", "a signing key"], "cursor")
    assert cursor.read(text, rotated, "w1", "f1") == made
    for signer, workspace, filter_ in (
        (Signer(["another key"], "cursor"), "w1", "f1"),
        (Signer(["a signing key"], "session"), "w1", "f1"),
        (SIGNER, "w2", "f1"),
        (SIGNER, "w1", "f2"),
    ):
        with pytest.raises(ProblemError):
            cursor.read(text, signer, workspace, filter_)


@given(st.text(max_size=80))
def test_what_is_no_cursor_is_refused(text: str) -> None:
    """Any other text is a 400, never an error of ours."""
    with pytest.raises(ProblemError):
        cursor.read(text, SIGNER, "w1", "f1")


def test_a_filter_is_the_same_in_any_order() -> None:
    """Order and repetition of values don't change what a cursor is bound to; another value does."""
    one, _, _ = parse([("user", "a"), ("user", "b"), ("since", "24h")], NOON)
    two, _, _ = parse([("since", "24h"), ("user", "b"), ("user", "a"), ("user", "a")], NOON + timedelta(hours=1))
    three, _, _ = parse([("user", "a"), ("since", "24h")], NOON)
    assert one.fingerprint() == two.fingerprint() != three.fingerprint()


@pytest.mark.parametrize(
    ("day", "zone", "later", "expected"),
    [
        ("2026-03-14", "UTC", False, "2026-03-14T00:00:00"),
        ("2026-03-14", "Asia/Kolkata", False, "2026-03-13T18:30:00"),
        ("2026-03-29", "Europe/Berlin", False, "2026-03-28T23:00:00"),
        # Midnight is skipped: the day begins at 01:00.
        ("2026-04-24", "Africa/Cairo", False, "2026-04-23T22:00:00"),
        ("2026-04-24", "Africa/Cairo", True, "2026-04-23T22:00:00"),
        ("2018-11-04", "America/Sao_Paulo", False, "2018-11-04T03:00:00"),
        # Midnight comes twice.
        ("2025-11-02", "America/Havana", False, "2025-11-02T04:00:00"),
        ("2025-11-02", "America/Havana", True, "2025-11-02T05:00:00"),
        # A whole day is missing.
        ("2011-12-30", "Pacific/Apia", False, "2011-12-30T10:00:00"),
    ],
)
def test_a_local_day_begins_where_clocks_say(day: str, zone: str, later: bool, expected: str) -> None:
    """Skipped midnights begin after the gap; repeated ones are the earlier or the later as asked."""
    found = midnight(date.fromisoformat(day), ZoneInfo(zone), later=later)
    assert found == datetime.fromisoformat(expected).replace(tzinfo=UTC)


@given(
    st.dates(date(1990, 1, 1), date(2036, 1, 1)),
    st.sampled_from(["Europe/Berlin", "Africa/Cairo", "America/Havana", "Asia/Beirut", "Australia/Lord_Howe"]),
)
def test_since_a_date_until_the_same_date_is_that_day(day: date, zone_name: str) -> None:
    """The two bounds hold exactly the instants whose local date it is."""
    zone = ZoneInfo(zone_name)
    since = instant_of(day.isoformat(), zone, NOON, end=False)
    until = instant_of(day.isoformat(), zone, NOON, end=True)
    step = timedelta(minutes=10)
    moment = since - timedelta(hours=3)
    while moment < until + timedelta(hours=3):
        if moment.astimezone(zone).date() == day:
            assert since <= moment < until
        moment += step
    assert until - since <= timedelta(hours=26)


@pytest.mark.parametrize("plan", ["starter", "professional", "free", "trial-of-tomorrow", ""])
def test_plans_are_previews_unless_known_to_be_full(plan: str) -> None:
    """What nobody knows shows the last 24 hours, never more."""
    seen = visibility(plan, "w1", "https://x.example/up?w={workspace}", NOON)
    assert seen.since == micros(NOON - timedelta(hours=24))
    assert seen.upgrade_url == "https://x.example/up?w=w1"
    with pytest.raises(ProblemError) as raised:
        seen.require_export()
    assert raised.value.status == 403


def test_clamping_says_when_it_takes_something_away() -> None:
    """Only a range that was asked for and reaches beyond the window counts as clamped."""
    seen = visibility("starter", "w1", "", NOON)
    floor = micros(NOON - timedelta(hours=24))
    assert seen.clamp(Filter()) == (Filter(since=floor), False)
    assert seen.clamp(Filter(since=floor)) == (Filter(since=floor), False)
    assert seen.clamp(Filter(since=floor - 1)) == (Filter(since=floor), True)
    inside = Filter(since=floor + 1, until=floor + 2)
    assert seen.clamp(inside) == (inside, False)
    full = visibility("enterprise", "w1", "", NOON)
    assert full.clamp(Filter(since=1)) == (Filter(since=1), False)
