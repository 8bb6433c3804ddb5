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
            "(actor_id = {f0_0:String} AND actor_type = {f0_1:String})",
            {"f0_0": "c1", "f0_1": "client"},
        ),
        ([("user", "c1")], "actor_id = {f0_0:String}", {"f0_0": "c1"}),
        ([("user", "robot:c1")], "actor_id = {f0_0:String}", {"f0_0": "robot:c1"}),
        (
            [("user", "client:a:b")],
            "(actor_id = {f0_0:String} AND actor_type = {f0_1:String})",
            {"f0_0": "a:b", "f0_1": "client"},
        ),
        (
            [("user", "anonymous:")],
            "(actor_id = {f0_0:String} AND actor_type = {f0_1:String})",
            {"f0_0": "", "f0_1": "anonymous"},
        ),
        (
            [("user", "b"), ("user", "a")],
            "(actor_id = {f0_0:String} OR actor_id = {f0_1:String})",
            {"f0_0": "a", "f0_1": "b"},
        ),
        (
            [("user", f"u{number:02}") for number in range(17)],
            "actor_id IN {f0_0:Array(String)}",
            {"f0_0": [f"u{number:02}" for number in range(17)]},
        ),
        ([("event", "a,b")], "event_type = {f0_0:String}", {"f0_0": "a,b"}),
        ([("event", "b"), ("event", "a")], "event_type IN {f0_0:Array(String)}", {"f0_0": ["a", "b"]}),
        ([("not_category", "crm")], "NOT (category = {f0_0:String})", {"f0_0": "crm"}),
        (
            [("app", "a"), ("source", "web")],
            "app_id = {f0_0:String} AND source = {f1_0:String}",
            {"f0_0": "a", "f1_0": "web"},
        ),
        ([("target", "file:")], "has(`targets.type`, {f0_0:String})", {"f0_0": "file"}),
        (
            [("target", "file:a:b")],
            "(has(`targets.id`, {f0_1:String}) AND arrayExists((t, i) -> t = {f0_0:String} AND i = {f0_1:String},"
            " `targets.type`, `targets.id`))",
            {"f0_0": "file", "f0_1": "a:b"},
        ),
        ([("ip", "203.0.113.7")], "(ip = toIPv6({f0_0:String}) AND ip != toIPv6('::'))", {"f0_0": "203.0.113.7"}),
        (
            [("ip", "::ffff:10.0.0.0/104")],
            "((ip BETWEEN toIPv6({f0_0:String}) AND toIPv6({f0_1:String})) AND ip != toIPv6('::'))",
            {"f0_0": "10.0.0.0", "f0_1": "10.255.255.255"},
        ),
        (
            [("q", "Ada ada-5")],
            "(has(words, {f0_0:String}) AND has(words, {f0_1:String}))",
            {"f0_0": "ada", "f0_1": "5"},
        ),
        (
            [("since", "2026-03-14T11:00:00+01:00")],
            "occurred_at >= fromUnixTimestamp64Micro({since:Int64}, 'UTC')",
            {"since": micros(NOON - timedelta(hours=2))},
        ),
        (
            [("since", "90m"), ("event", "x")],
            "occurred_at >= fromUnixTimestamp64Micro({since:Int64}, 'UTC') AND event_type = {f0_0:String}",
            {"since": micros(NOON - timedelta(minutes=90)), "f0_0": "x"},
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
        ([("not_since", "24h")], [("not_since", "unknown_parameter")]),
        ([("not_not_user", "x")], [("not_not_user", "unknown_parameter")]),
        ([("meta", "x")], [("meta", "unknown_parameter")]),
        ([("user", "")], [("user", "length")]),
        ([("user", "x" * 161)], [("user", "length")]),
        ([("event", "x" * 97)], [("event", "length")]),
        ([("not_app", "x" * 65)], [("not_app", "length")]),
        ([("category", "files,crm")], [("category", "unknown_value")]),
        ([("source", "Web"), ("outcome", "ok")], [("source", "unknown_value"), ("outcome", "unknown_value")]),
        ([("target", "f1")], [("target", "not_a_target")]),
        ([("target", "File:f1"), ("target", ":f1")], [("target", "not_a_target")] * 2),
        ([("ip", "10.0.0.256")], [("ip", "not_an_address")]),
        ([("ip", "10.0.0.1/8")], [("ip", "not_an_address")]),
        ([("ip", "fe80::1%eth0")], [("ip", "not_an_address")]),
        ([("ip", "10.0.0.0/33"), ("not_ip", "")], [("ip", "not_an_address"), ("not_ip", "not_an_address")]),
        ([("meta.", "x")], [("meta.", "length")]),
        ([("meta.k" + "x" * 40, "x")], [("meta.k" + "x" * 40, "length")]),
        ([("not_meta._truncated", "x")], [("not_meta._truncated", "reserved_key")]),
        ([("meta.k", "x" * 501)], [("meta.k", "length")]),
        ([("q", "!?")], [("q", "no_words")]),
        ([("q", "a " * 31)], []),
        ([("q", " ".join(f"w{n}" for n in range(31)))], [("q", "too_many")]),
        ([("user", "a"), ("user", "b"), ("not_user", "b")], [("not_user", "conflict")]),
        ([("meta.k", "1"), ("not_meta.k", "1")], [("not_meta.k", "conflict")]),
        ([("meta.k", "1"), ("not_meta.j", "1")], []),
        ([("limit", "0")], [("limit", "out_of_range")]),
        ([("limit", "501")], [("limit", "out_of_range")]),
        ([("limit", "9" * 5000)], [("limit", "out_of_range")]),
        ([("limit", "５")], [("limit", "out_of_range")]),
        ([("count", "yes")], [("count", "unknown_value")]),
        ([("fields", "label,secret")], [("fields", "unknown_value")]),
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
        parse(params, NOON, fields=("label",))
        return
    with pytest.raises(ProblemError) as raised:
        parse(params, NOON, fields=("label",))
    assert [(fault.name, fault.code) for fault in raised.value.faults] == faults
    assert raised.value.status == 400


def test_a_near_miss_is_pointed_out() -> None:
    """A misspelt name or value is answered with the one that was probably meant."""
    with pytest.raises(ProblemError) as raised:
        parse([("not_categry", "crm"), ("actor_type", "clients"), ("ip", "10.1.2.3/16")], NOON)
    texts = [fault.message for fault in raised.value.faults]
    assert [text.rpartition("did you mean ")[2] for text in texts] == ["not_category?", "client?", "10.1.0.0/16?"]


def test_no_query_is_made_without_a_workspace() -> None:
    """An empty workspace is a fault of ours, never everybody's events."""
    makers: tuple[Callable[[], object], ...] = (
        lambda: sql.where("", Filter()),
        lambda: sql.page("", Filter(), None, 1),
        lambda: sql.one("", Filter(), "x"),
        lambda: sql.copies("", [(0, "x")]),
        lambda: sql.where_first("", Filter()),
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
