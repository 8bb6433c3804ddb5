"""Times are the viewer's: their zone from the first moment on, both clock changes, and their own way to write dates."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.builders import event
from tests.support.browsing import signed_in

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.support.query_service import QueryService

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)
CHANGES = {
    # When the clocks of a zone change, in UTC, and what they show before and after.
    "Europe/Berlin spring": ("Europe/Berlin", datetime(2026, 3, 29, 1, tzinfo=UTC), "+01:00", "+02:00"),
    "Europe/Berlin autumn": ("Europe/Berlin", datetime(2026, 10, 25, 1, tzinfo=UTC), "+02:00", "+01:00"),
    "America/New_York autumn": ("America/New_York", datetime(2026, 11, 1, 6, tzinfo=UTC), "-04:00", "-05:00"),
    "Australia/Lord_Howe autumn": ("Australia/Lord_Howe", datetime(2026, 4, 4, 15, tzinfo=UTC), "+11:00", "+10:30"),
}
REPEATED = [name for name in CHANGES if "autumn" in name]
AROUND = tuple(timedelta(minutes=minutes) for minutes in (-90, -60, -30, -1, 0, 1, 30, 90))
PAINTED = """new PerformanceObserver(() => {
  sessionStorage.painted = `${sessionStorage.painted ?? ""}${document.documentElement.dataset.tz} `;
}).observe({ type: "paint", buffered: true });"""
CLOCK_X = """(one) => {
  const range = document.createRange();
  range.selectNode(one.childNodes[1]);
  return range.getBoundingClientRect().x;
}"""


def stage(query: QueryService) -> None:
    """Events around each clock change, and one at each end of a day in Tokyo."""
    query.workspace()
    query.clock.now = NOW
    moments = {at + around for _, at, _, _ in CHANGES.values() for around in AROUND}
    moments |= {datetime(2026, 5, 9, 14, 59, 59, tzinfo=UTC), datetime(2026, 5, 9, 15, tzinfo=UTC)}
    query.tables.put(*(event(occurred_at=at) for at in moments))
    # A page of the table on one side of a change, and one event on the other.
    change = datetime(2025, 10, 26, 1, tzinfo=UTC)
    older = [change - timedelta(minutes=2), *(change + timedelta(minutes=2, seconds=second) for second in range(50))]
    query.tables.put(*(event(occurred_at=at, event_type="file.moved") for at in older))
    many = [NOW - timedelta(days=1, seconds=second) for second in range(1000)]
    query.tables.put(*(event(occurred_at=at, event_type="file.viewed") for at in many))
    query.tables.progress(NOW)


def around(at: datetime, hours: int = 2) -> str:
    """The address of the events around a moment, in UTC."""
    since, until = at - timedelta(hours=hours), at + timedelta(hours=hours)
    return f"/audit-log?since={since:%Y-%m-%dT%H:%M:%SZ}&until={until:%Y-%m-%dT%H:%M:%SZ}"


def shown(page: Page) -> list[str]:
    """Date, time and, where it is shown, the offset of each row."""
    return [" ".join(text.split()) for text in page.locator("tr.one time").all_inner_texts()]


def instants(page: Page) -> list[str]:
    found: list[str] = page.locator("tr.one time").evaluate_all("all => all.map((one) => one.dateTime)")
    return found


def test_two_zones_side_by_side_show_the_same_events(browser: Browser, log: QueryService) -> None:
    """Each viewer has their own clock and days; the events, their order and the address are the same."""
    address = log.url + around(datetime(2026, 5, 9, 15, tzinfo=UTC))
    with (
        signed_in(browser, log, timezone_id="Asia/Tokyo") as tokyo,
        signed_in(browser, log, timezone_id="America/New_York") as york,
    ):
        tokyo.goto(address)
        york.goto(address)
        expect(tokyo.get_by_text("Times in Asia/Tokyo")).to_be_visible()
        expect(york.get_by_text("Times in America/New_York")).to_be_visible()
        assert shown(tokyo) == ["May 10, 2026 00:00:00", "May 9, 2026 23:59:59"]
        assert shown(york) == ["May 9, 2026 11:00:00", "May 9, 2026 10:59:59"]
        assert tokyo.get_by_role("rowheader").all_inner_texts() == ["Sunday, May 10, 2026", "Saturday, May 9, 2026"]
        assert york.get_by_role("rowheader").all_inner_texts() == ["Saturday, May 9, 2026"]
        assert instants(tokyo) == instants(york)
        assert tokyo.url == york.url


def test_a_first_visit_is_in_the_viewers_zone_before_anything_is_drawn(browser: Browser, log: QueryService) -> None:
    """The script corrects the zone while the head is read: one answer in UTC that nobody sees, one in their zone."""
    with signed_in(browser, log, first_visit=True, timezone_id="Asia/Tokyo") as page:
        page.add_init_script(PAINTED)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url) if request.is_navigation_request() else None)
        page.goto(log.url + "/audit-log")
        expect(page.get_by_text("Times in Asia/Tokyo")).to_be_visible()
        expect(page.locator("figure")).to_be_visible()
        assert asked == [log.url + "/audit-log"] * 2
        page.wait_for_function("sessionStorage.painted")
        assert set(page.evaluate("sessionStorage.painted").split()) == {"Asia/Tokyo"}


def test_the_page_does_not_load_for_ever_where_cookies_are_refused(browser: Browser, log: QueryService) -> None:
    """The zone is corrected once; then times stay in UTC and the page says so."""
    with signed_in(browser, log, first_visit=True, timezone_id="Asia/Tokyo") as page:
        page.add_init_script("Object.defineProperty(Document.prototype, 'cookie', { get: () => '', set: () => {} })")
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url) if request.is_navigation_request() else None)
        page.goto(log.url + "/audit-log")
        expect(page.locator("figure")).to_be_visible()
        expect(page.get_by_text("Times in UTC")).to_be_visible()
        assert len(asked) == 2


def test_the_picked_zone_stays_whatever_the_browser_says(browser: Browser, log: QueryService) -> None:
    """It is remembered; the UTC switch replaces it; an empty one leaves it to the browser again."""
    with signed_in(browser, log, timezone_id="Asia/Tokyo") as page:
        page.goto(log.url + "/audit-log")
        page.get_by_role("button", name="Change").click()
        page.get_by_role("combobox", name="Time zone").fill("America/New_York")
        page.get_by_role("button", name="Use this zone").click()
        expect(page.get_by_text("Times in America/New_York")).to_be_visible()
        page.goto(log.url + "/audit-log")
        expect(page.get_by_text("Times in America/New_York")).to_be_visible()
        page.get_by_role("button", name="UTC").click()
        expect(page.get_by_text("Times in UTC")).to_be_visible()
        page.get_by_role("button", name="UTC", pressed=True).click()
        expect(page.get_by_text("Times in Asia/Tokyo")).to_be_visible()


def test_without_script_a_small_form_sets_the_zone(browser: Browser, log: QueryService) -> None:
    """UTC until then; an unknown zone is told by its name, with the way back."""
    with signed_in(browser, log, first_visit=True, java_script_enabled=False) as page:
        page.goto(log.url + "/audit-log?event=file.downloaded")
        expect(page.get_by_text("Times in UTC")).to_be_visible()
        page.get_by_role("combobox", name="Time zone").fill("Mars/Olympus")
        page.get_by_role("button", name="Use this zone").click()
        expect(page.get_by_role("main")).to_contain_text("'Mars/Olympus' is not a time zone such as Europe/Berlin")
        page.go_back()
        page.get_by_role("combobox", name="Time zone").fill("Australia/Lord_Howe")
        page.get_by_role("button", name="Use this zone").click()
        expect(page.get_by_text("Times in Australia/Lord_Howe")).to_be_visible()
        expect(page).to_have_url(f"{log.url}/audit-log?event=file.downloaded")


def test_a_zone_in_the_address_is_for_whoever_opens_it(browser: Browser, log: QueryService) -> None:
    """`tz` decides, over the browser's and the picked one; a name that none is is told."""
    with signed_in(browser, log, timezone_id="Asia/Tokyo") as page:
        page.goto(log.url + "/audit-log?tz=America%2FNew_York&since=2026-05-09&until=2026-05-09")
        expect(page.get_by_text("Times in America/New_York")).to_be_visible()
        assert shown(page) == ["May 9, 2026 11:00:00", "May 9, 2026 10:59:59"]
        page.goto(log.url + "/audit-log?tz=Mars%2FOlympus&since=2026-05-09")
        expect(page.get_by_role("main")).to_contain_text("'Mars/Olympus' is not a time zone")


@pytest.mark.parametrize(("zone", "times"), [("Asia/Tokyo", ["00:00:00"]), ("UTC", [])])
def test_a_date_in_an_address_is_the_viewers_day(
    browser: Browser, log: QueryService, zone: str, times: list[str]
) -> None:
    """The tenth of May begins at midnight where the viewer is."""
    with signed_in(browser, log, timezone_id=zone) as page:
        page.goto(log.url + "/audit-log?since=2026-05-10&until=2026-05-10")
        expect(page.get_by_role("list", name="Active filters")).to_contain_text("From 2026-05-10")
        assert [text.split()[-1] for text in shown(page)] == times


@pytest.mark.parametrize("change", CHANGES)
def test_where_the_clocks_change_each_row_has_its_offset(browser: Browser, log: QueryService, change: str) -> None:
    """Before and after can be told apart, in the table and for whoever listens; no time is shown twice the same."""
    zone, at, before, after = CHANGES[change]
    with signed_in(browser, log, timezone_id=zone) as page:
        page.goto(log.url + around(at))
        expect(page.locator("tr.one")).to_have_count(len(AROUND))
        times = shown(page)
        assert [text.split()[-1] for text in times] == [after] * 4 + [before] * 4
        assert len(set(times)) == len(AROUND)
        clocks = [" ".join(text.split()[:-1]) for text in times]
        # Without the offset some times of a repeated hour are the same.
        assert (len(set(clocks)) < len(AROUND)) == (change in REPEATED)


@pytest.mark.parametrize("change", CHANGES)
def test_no_offset_where_the_clocks_do_not_change(browser: Browser, log: QueryService, change: str) -> None:
    """Half of the events around a change lie on one side of it."""
    zone, at, _, _ = CHANGES[change]
    with signed_in(browser, log, timezone_id=zone) as page:
        page.goto(log.url + around(at + timedelta(hours=2, minutes=-1), 1))
        expect(page.locator("tr.one")).to_have_count(1)
        expect(page.locator(".offset:visible")).to_have_count(0)


def test_older_events_from_before_a_change_bring_the_offsets_of_all(browser: Browser, log: QueryService) -> None:
    """Two pages, one on each side: appended, both have their offset."""
    with signed_in(browser, log) as page:
        page.goto(log.url + "/audit-log?event=file.moved")
        expect(page.locator(".offset:visible")).to_have_count(0)
        page.get_by_role("button", name="Older").click()
        expect(page.locator(".offset:visible")).to_have_count(51)
        assert shown(page)[-2:] == ["Oct 26, 2025 02:02:00 +01:00", "Oct 26, 2025 02:58:00 +02:00"]
        assert page.get_by_role("rowheader").all_inner_texts() == ["Sunday, October 26, 2025"]


def test_a_custom_range_across_a_clock_change_means_the_clock_on_the_wall(browser: Browser, log: QueryService) -> None:
    """From 02:00 takes the earlier of the two, to 03:00 what is left: the repeated hour belongs to the range twice."""
    with signed_in(browser, log) as page:
        page.goto(log.url + "/audit-log")
        page.get_by_role("button", name="Add filter").click()
        page.get_by_role("link", name="Date range").click()
        page.get_by_label("From").fill("2026-10-25T02:00:00")
        page.get_by_label("To, not included").fill("2026-10-25T03:00:00")
        page.get_by_role("button", name="Apply").click()
        expect(page).to_have_url(
            re.compile("since=2026-10-25T02%3A00%3A00%2B02%3A00&until=2026-10-25T03%3A00%3A00%2B01%3A00")
        )
        expect(page.get_by_role("list", name="Active filters")).to_contain_text("From Oct 25, 2026 02:00:00")
        moved = {"Oct 25, 2026 02:00:00 +02:00", "Oct 25, 2026 02:30:00 +02:00", "Oct 25, 2026 02:59:00 +02:00"}
        moved |= {"Oct 25, 2026 02:00:00 +01:00", "Oct 25, 2026 02:01:00 +01:00", "Oct 25, 2026 02:30:00 +01:00"}
        expect(page.locator("tr.one")).to_have_count(len(moved))
        assert set(shown(page)) == moved


@pytest.mark.parametrize(
    ("locale", "date", "day"),
    [
        ("en-GB", "9 May 2026", "Saturday, 9 May 2026"),
        ("de-DE", "09.05.2026", "Samstag, 9. Mai 2026"),
        ("zh-CN", "2026年5月9日", "2026年5月9日星期六"),
    ],
)
def test_dates_are_written_as_the_viewer_writes_them(
    browser: Browser, log: QueryService, locale: str, date: str, day: str
) -> None:
    """In the language of the browser, which the markup names, so that it is read aloud right."""
    with signed_in(browser, log, timezone_id="UTC", locale=locale) as page:
        page.goto(log.url + "/audit-log?since=2026-05-09&until=2026-05-10")
        assert shown(page) == [f"{date} 15:00:00", f"{date} 14:59:59"]
        header = page.get_by_role("rowheader")
        expect(header).to_have_text(day)
        expect(header).to_have_attribute("lang", locale)
        expect(page.locator("tr.one time").first).to_have_attribute("lang", locale)


def test_arabic_dates_stand_in_the_row_without_turning_it_round(browser: Browser, log: QueryService) -> None:
    """Digits and words of the locale; the clock stays to the right of the date, as for everybody."""
    with signed_in(browser, log, timezone_id="UTC", locale="ar-EG") as page:
        page.goto(log.url + "/audit-log?since=2026-05-09&until=2026-05-10")
        row = page.locator("tr.one time").first
        expect(row).to_have_attribute("lang", "ar-EG")
        expect(row).to_contain_text("15:00:00")
        date = row.locator("span").first.bounding_box()
        clock = row.evaluate(CLOCK_X)
        assert date is not None
        assert clock > date["x"]


def test_numbers_have_the_groups_of_the_locale(browser: Browser, log: QueryService) -> None:
    """1,000 events are 1.000 in German and 1 000 in French."""
    for locale, text in (("en-GB", "1,000 events"), ("de-DE", "1.000 events"), ("fr-FR", "1\u202f000 events")):
        with signed_in(browser, log, locale=locale) as page:
            page.goto(log.url + "/audit-log/activity?event=file.viewed")
            expect(page.locator(".total")).to_have_text(text)
