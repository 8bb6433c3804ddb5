"""What the page makes of answers, before any template: people and devices in words, times, figures, details."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from babel import Locale
from hypothesis import given
from hypothesis import strategies as st

from audit_query.web.address import Address
from audit_query.web.details import details
from audit_query.web.figure import HEIGHT, STEP, figure
from audit_query.web.fresh import freshness
from audit_query.web.rows import crosses_clock_change, days, named, row_view, short_agent
from audit_query.web.viewer import Viewer, language_of
from audit_schemas.catalogue import load
from audit_schemas.topics import CATEGORIES
from tests.builders import NOON

BERLIN = Viewer(ZoneInfo("Europe/Berlin"), "en-US", NOON)
LABELS = load().category_labels
ID = "018e3f5c-0000-7000-8000-000000000001"
AGENTS = {
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36": (
        "Chrome on Windows"
    ),
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605.1.15": (
        "Safari on macOS"
    ),
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:133.0) Gecko/20100101 Firefox/133.0": "Firefox on macOS",
    "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0": "Firefox on Ubuntu",
    "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36": (
        "Chrome on Chrome OS"
    ),
    "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36 Edg/131.0.0.0": (
        "Edge on Windows"
    ),
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36 OPR/116.0.0.0": (
        "Opera on Linux"
    ),
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1 (KHTML, like Gecko) Version/18.1 "
    "Mobile/15E148 Safari/604.1": "Safari on iPhone",
    "Mozilla/5.0 (iPad; CPU OS 17_6 like Mac OS X) AppleWebKit/605.1 (KHTML, like Gecko) Version/17.6 Mobile/15E148 "
    "Safari/604.1": "Safari on iPad",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1 (KHTML, like Gecko) CriOS/131.0.6778.73 "
    "Mobile/15E148 Safari/604.1": "Chrome on iPhone",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1 (KHTML, like Gecko) FxiOS/133.0 "
    "Mobile/15E148 Safari/605.1": "Firefox on iPhone",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Mobile Safari/537.36": (
        "Chrome on Android"
    ),
    "Mozilla/5.0 (Android 14; Mobile; rv:133.0) Gecko/133.0 Firefox/133.0": "Firefox on Android",
    "Mozilla/5.0 (Linux; Android 14; SM-S921B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/26.0 "
    "Chrome/122.0.0.0 Mobile Safari/537.36": "Samsung Internet on Android",
    "Mozilla/5.0 (Windows NT 6.1; Trident/7.0; rv:11.0) like Gecko": "IE on Windows",
    "Dalvik/2.1.0 (Linux; U; Android 14; Pixel 8 Build/AP2A.240805.005)": "Android",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)": "Googlebot",
    "curl/8.5.0": "curl",
    "python-requests/2.32.3": "Python Requests",
    "PostmanRuntime/7.42.0": "PostmanRuntime",
    "okhttp/4.12.0": "okhttp",
    "Zapier": "Zapier",
    "our-import/2.1 (nightly)": "our-import/2.1",
    "Mozilla/5.0": "Mozilla/5.0",
    "x" * 100: "x" * 40,
    "  ": "",
}


def row(**changes: Any) -> dict[str, Any]:
    """An event as the service answers with it."""
    return {
        "event_id": ID,
        "event_type": "file.moved",
        "label": "File Moved",
        "category": "files",
        "occurred_at": "2026-03-14T11:59:00.000000Z",
        "accepted_at": "2026-03-14T11:59:01.000000Z",
        "late": False,
        "actor": {"type": "internal_user", "id": "u1", "name": "Ada Lovelace", "email": "ada@example.com"},
        "on_behalf_of": None,
        "source": "web",
        "ip": "203.0.113.7",
        "user_agent": "curl/8.5.0",
        "targets": [{"type": "file", "id": "f1", "name": "plan.pdf"}],
        "outcome": "success",
        "outcome_reason": None,
        "changes": [],
        "metadata": {},
        "request_id": None,
        "session_id": None,
        "app_id": None,
        "producer": {"service": "files", "instance": "i", "version": "1.2", "seq": 1},
    } | changes


@pytest.mark.parametrize("text", AGENTS, ids=range(len(AGENTS)))
def test_a_user_agent_in_words(text: str) -> None:
    """Browser and device as people call them; what is neither by its first word."""
    assert short_agent(text) == AGENTS[text]


@given(st.text(max_size=1024))
def test_any_user_agent_has_some_words(text: str) -> None:
    """Whatever a program calls itself, the table has a line of it, unless it is blank."""
    assert bool(short_agent(text)) == bool(text.split())
    assert "\n" not in short_agent(text)


def test_a_row_says_who_did_what_to_whom() -> None:
    """Everything in words; nothing is said twice."""
    one = row_view(row(), BERLIN)
    assert (one.actor, one.actor_kind, one.source) == ("Ada Lovelace", "Internal user", "Web")
    assert (one.target, one.more_targets, one.failed) == ("plan.pdf", 0, False)
    assert (one.date, one.clock, one.offset, one.ago) == ("Mar 14, 2026", "12:59:00", "+01:00", "1 minute ago")
    assert one.place == f"2026-03-14T11:59:00.000000Z,{ID}"
    assert Address((("source", "web"),)).showing(one.event_id).link() == f"/audit-log?source=web&show={ID}"
    targets = [{"type": "file", "id": f"f{number}", "name": None} for number in range(3)]
    behalf = {"type": "client", "id": "c1", "name": "Nikos"}
    one = row_view(row(targets=targets, on_behalf_of=behalf, outcome="failure", app_id="desk"), BERLIN)
    assert (one.target, one.more_targets, one.failed, one.via, one.behalf) == ("f0", 2, True, "desk", "Nikos")
    nobody = {"type": "system", "id": None, "name": None, "email": None}
    one = row_view(row(actor=nobody, targets=[], ip=None, user_agent=None), BERLIN)
    assert (one.actor, one.actor_kind, one.target, one.ip, one.agent) == ("System", "", "", "", "")
    itself = {"type": "internal_user", "id": "u1", "name": "Ada"}
    assert row_view(row(on_behalf_of=itself), BERLIN).behalf == ""


def test_somebody_without_a_name_is_called_what_is_known() -> None:
    """The name, else the e-mail, else the id, else the kind."""
    actor = {"type": "client", "id": "c1", "name": "Nikos", "email": "n@example.com"}
    called = [named(actor), named(actor | {"name": None}), named(actor | {"name": None, "email": None})]
    assert [*called, named({"type": "client", "id": None, "name": None})] == ["Nikos", "n@example.com", "c1", "Client"]


def test_rows_lie_in_the_days_of_the_viewer() -> None:
    """The day changes at their midnight; every row is in one day, in its order."""
    at = ["2026-03-13T23:00:00Z", "2026-03-13T22:59:59Z", "2026-03-12T12:00:00Z"]
    rows = [row(occurred_at=one, event_id=f"{number}") for number, one in enumerate(at)]
    found = days(rows, BERLIN)
    assert [(day.key, day.title) for day in found] == [
        ("2026-03-14", "Saturday, March 14, 2026"),
        ("2026-03-13", "Friday, March 13, 2026"),
        ("2026-03-12", "Thursday, March 12, 2026"),
    ]
    assert [one.event_id for day in found for one in day.rows] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("zone", "other", "crosses"),
    [
        ("Europe/Berlin", datetime(2026, 3, 29, 1, tzinfo=UTC), True),
        ("Europe/Berlin", datetime(2026, 3, 29, 0, 59, 59, tzinfo=UTC), False),
        ("Australia/Lord_Howe", datetime(2026, 4, 4, 15, tzinfo=UTC), True),
        ("UTC", datetime(2026, 10, 25, 1, tzinfo=UTC), False),
        ("Asia/Kolkata", datetime(2026, 10, 25, 1, tzinfo=UTC), False),
    ],
)
def test_offsets_are_needed_where_the_clocks_were_changed(zone: str, other: datetime, crosses: bool) -> None:
    """Between the moments shown, in the viewer's zone."""
    viewer = Viewer(ZoneInfo(zone), "en-US", NOON)
    assert crosses_clock_change([NOON, other], viewer) is crosses
    assert not crosses_clock_change([other], viewer)
    assert not crosses_clock_change([], viewer)


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("de-DE,de;q=0.9,en;q=0.8", "de-DE"),
        ("en;q=0.5, fr-CH;q=0.9", "fr-CH"),
        ("zh-Hans-CN,zh;q=0.9", "zh-Hans-CN"),
        ("xx-YY, pt-BR", "pt-BR"),
        ("tlh;q=1.0, ar;q=0.2", "ar"),
        ("de;q=0, en-GB;q=0.1", "en-GB"),
        ("*", "en-US"),
        ("", "en-US"),
        ("../../etc/passwd", "en-US"),
        ("de_DE", "en-US"),
        ("en;q=much, fr", "fr"),
        ("x" * 500, "en-US"),
        (",,;q=,", "en-US"),
    ],
)
def test_the_language_is_the_best_of_those_known(accepted: str, language: str) -> None:
    """By weight, then by place; never one that dates can't be written in."""
    assert language_of(accepted) == language


@given(st.text(max_size=200) | st.from_regex(r"[a-zA-Z]{2,3}(-[a-zA-Z0-9]{2,8}){0,3}(;q=[0-9.]{1,4})?", fullmatch=True))
def test_any_header_gives_a_language_that_dates_can_be_written_in(accepted: str) -> None:
    """A header is anybody's to write; the page is shown all the same."""
    language = language_of(accepted)
    Locale.parse(language, sep="-")
    assert Viewer(ZoneInfo("UTC"), language, NOON).date(NOON)


@pytest.mark.parametrize(
    ("language", "date", "number"),
    [
        ("en-GB", "14 Mar 2026", "1,234,567"),
        ("de-DE", "14.03.2026", "1.234.567"),
        ("zh-CN", "2026年3月14日", "1,234,567"),
        ("hi-IN", "14 मार्च 2026", "12,34,567"),
    ],
)
def test_dates_and_numbers_follow_the_locale(language: str, date: str, number: str) -> None:
    """The clock has 24 hours everywhere."""
    viewer = Viewer(ZoneInfo("Europe/Berlin"), language, NOON)
    assert (viewer.date(NOON), viewer.number(1_234_567), viewer.clock(NOON)) == (date, number, "13:00:00")


def test_how_long_ago_it_was() -> None:
    """At least a second, so that nothing is in the future that is not."""
    told = {
        timedelta(0): "1 second ago",
        timedelta(milliseconds=300): "1 second ago",
        timedelta(seconds=-59): "59 seconds ago",
        timedelta(hours=-26): "1 day ago",
        timedelta(minutes=5): "in 5 minutes",
    }
    assert {away: BERLIN.ago(NOON + away) for away in told} == told


def test_an_instant_can_be_read_back_from_what_is_exact() -> None:
    """To the microsecond, with the offset that holds then."""
    at = datetime(2026, 7, 1, 12, 0, 0, 1, tzinfo=UTC)
    assert BERLIN.exact(at) == "2026-07-01 14:00:00.000001+02:00"
    assert datetime.fromisoformat(BERLIN.exact(at)) == at
    assert Viewer(ZoneInfo("America/St_Johns"), "en-US", NOON).offset(NOON) == "-02:30"


@given(st.lists(st.integers(0, 10**9), max_size=60))
def test_the_figure_is_true_to_its_numbers(counts: list[int]) -> None:
    """A bar for each bucket, as high as its share, to be seen where there is anything; nothing where there is nothing."""
    rows = [{"start": (NOON + timedelta(hours=n)).isoformat(), "count": count} for n, count in enumerate(counts)]
    drawn = figure("hour", rows, BERLIN)
    if not any(counts):
        assert drawn is None
        return
    assert drawn is not None
    assert drawn.width == len(counts) * STEP
    for number, (bar, count) in enumerate(zip(drawn.bars, counts, strict=True)):
        assert number * STEP <= bar.x < bar.x + bar.width <= (number + 1) * STEP
        assert bar.y + bar.height == pytest.approx(HEIGHT, abs=0.02)
        assert (bar.height > 0) == (count > 0)
        assert bar.height == pytest.approx(count / max(counts) * HEIGHT, abs=1.51 if count else 0)
    assert f"{sum(counts):,} event" in drawn.text


def test_the_figure_says_the_same_in_words() -> None:
    """From when to when, how many, and when most."""
    rows = [{"start": f"2026-03-14T{hour}:00:00Z", "count": count} for hour, count in (("08", 1), ("09", 0), ("10", 3))]
    drawn = figure("hour", rows, BERLIN)
    assert drawn is not None
    assert drawn.text == (
        "4 events by hour, from Mar 14, 2026 09:00 to Mar 14, 2026 11:00; most of them at Mar 14, 2026 11:00: 3"
    )
    assert [bar.title for bar in drawn.bars] == [
        "Mar 14, 2026 09:00: 1 event",
        "Mar 14, 2026 10:00: 0 events",
        "Mar 14, 2026 11:00: 3 events",
    ]
    assert figure(None, rows, BERLIN) is None
    by_month = figure("month", [{"start": "2026-02-28T23:00:00Z", "count": 1}], BERLIN)
    assert by_month is not None
    assert by_month.bars[0].when == "2026-03"


@pytest.mark.parametrize(
    ("changes", "text", "lag"),
    [
        ({}, "All events received before 12:59:58 are shown", ""),
        ({"all": "2026-03-13T12:00:00Z", "files": "2026-03-13T12:00:00Z"}, "Mar 13, 2026 13:00:00", "Files is behind"),
        (
            {"all": "2026-03-14T11:00:00Z", "files": "2026-03-14T11:00:00Z", "crm": "2026-03-14T11:30:00Z"},
            "All events received before 12:00:00 are shown",
            "are behind: complete only up to 12:00:00",
        ),
        ({"all": None, "files": None}, "It is not known yet", "Files: nothing has been heard yet"),
        (dict.fromkeys(("all", *CATEGORIES)), "It is not known yet", "All categories: nothing has been heard yet"),
        (
            {"all": "2026-03-14T11:00:00Z"} | dict.fromkeys(CATEGORIES[:5], "2026-03-14T11:00:00Z"),
            "All events received before 12:00:00",
            "and 2 more are behind",
        ),
    ],
)
def test_what_lags_is_named(changes: dict[str, str | None], text: str, lag: str) -> None:
    """After a minute; with the date where that is another day."""
    fresh = freshness(dict.fromkeys(("all", *CATEGORIES), "2026-03-14T11:59:58Z") | changes, BERLIN, LABELS)
    assert text in fresh.text
    assert (lag in fresh.lag) if lag else fresh.lag == ""


def test_details_leave_out_what_is_not_there() -> None:
    """A field without a value is no line; every value is in words."""
    one = details(row(), BERLIN, LABELS)
    assert [field.name for field in one.fields] == [
        *("Actor", "Source", "Category", "Event type", "Outcome", "Target", "IP address", "User agent"),
        *("Recorded by", "Received", "Event ID"),
    ]
    assert one.fields[0].text == "Ada Lovelace · Internal user · ada@example.com · u1"
    assert one.moment == "2026-03-14 12:59:00.000000+01:00 Europe/Berlin"
    assert one.permalink == f"/audit-log/events/{ID}"
    assert [related.text for related in one.related] == ["More by Ada Lovelace", "More on plan.pdf"]
    assert [related.link for related in one.related] == [
        "/audit-log?user=internal_user%3Au1",
        "/audit-log?target=file%3Af1",
    ]


def test_details_show_changes_hidden_values_and_what_belongs_to_the_request() -> None:
    """None is nothing, a redacted value says that it is hidden, others are text or JSON."""
    changes = [
        {"path": "name", "old": None, "new": "Plans"},
        {"path": "password", "old": {"redacted": True}, "new": {"redacted": True}},
        {"path": "sizes", "old": [1], "new": 0},
        {"path": "empty", "old": "", "new": False},
    ]
    one = details(row(changes=changes, request_id="r 1", late=True, metadata={"k": None, "n": 5}), BERLIN, LABELS)
    assert [(each.before, each.after) for each in one.changes] == [
        (None, "Plans"),
        ("(hidden)", "(hidden)"),
        ("[\n  1\n]", "0"),
        ("", "false"),
    ]
    assert [(each.name, each.text) for each in one.metadata] == [("k", "nothing"), ("n", "5")]
    assert one.related[0].text == "Events of the same request"
    assert one.related[0].link == (
        "/audit-log?request_id=r+1&since=2026-03-13T11%3A59%3A00%2B00%3A00&until=2026-03-15T11%3A59%3A00%2B00%3A00"
    )
    assert next(field.text for field in one.fields if field.name == "Received").endswith("+01:00, late")


def test_today_is_the_viewers() -> None:
    """Just before midnight in UTC it is the next day in Berlin."""
    assert BERLIN.local(datetime(2026, 3, 14, 23, 30, tzinfo=UTC)).date() == date(2026, 3, 15)
