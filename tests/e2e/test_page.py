"""The audit-log page as people use it, in a real browser."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.builders import NOON, event
from tests.e2e.conftest import EVENTS, EVENTS_DOCS_URL

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

    from tests.support.query_service import QueryService

COLUMNS = ["Actor", "Source", "Event", "IP address", "User agent", "Timestamp (Europe/Berlin)"]


def opened(viewer: BrowserContext, query: QueryService, address: str = "/audit-log") -> Page:
    """The page, signed in; the test fails when the browser complains about anything."""
    page = viewer.new_page()
    page.goto(query.sign_in_url())
    page.goto(query.url + address)
    return page


def actors(page: Page) -> list[str]:
    return page.locator("td.actor span").all_inner_texts()


def test_from_the_workspace_to_the_log(viewer: BrowserContext, query: QueryService) -> None:
    """Settings leads to Audit log, with its heading, subtitle, six columns and local times."""
    page = opened(viewer, query, "/")
    page.get_by_role("link", name="Settings").click()
    page.get_by_role("link", name="Audit log").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Audit log")
    expect(page.get_by_text("Review actions taken in your workspace.")).to_be_visible()
    expect(page.get_by_role("columnheader")).to_have_text(COLUMNS)
    first = page.get_by_role("row").nth(1)
    expect(first).to_contain_text("Ada Lovelace")
    expect(first).to_contain_text("Internal user")
    expect(first).to_contain_text("File Downloaded")
    expect(first).to_contain_text("203.0.113.7")
    expect(first.locator("time")).to_have_text("Mar 14, 2026 13:00:00")
    expect(page.get_by_role("status")).to_have_text("All events received before 12:59:57 are shown")


def test_a_custom_app_acting_for_a_person_is_named_beside_the_person(
    viewer: BrowserContext, query: QueryService
) -> None:
    """The page says "via" whom; its help leads to the reference of the Events API."""
    grace = {"type": "client", "id": "c1", "name": "Grace Hopper"}
    query.tables.put(
        event(
            event_type="deal.won",
            category="developer",
            label="Deal Won",
            app_id="deal-desk",
            actor=grace,
            on_behalf_of=grace,
            occurred_at=NOON,
        )
    )
    page = opened(viewer, query, "/audit-log?event=deal.won")
    expect(page.locator("td.actor")).to_have_text("Grace HopperClient via deal-desk")
    link = page.get_by_role("link", name="Record events of your own apps")
    expect(link).to_have_attribute("href", EVENTS_DOCS_URL)


def test_filters_are_searched_ticked_applied_and_removed(viewer: BrowserContext, query: QueryService) -> None:
    """Users and events combine, stand in the address, and come off one by one."""
    page = opened(viewer, query)
    page.locator("summary", has_text="User").click()
    page.get_by_label("Search users").fill("grace")
    expect(page.locator('[data-options="user"] label')).to_have_count(1)
    page.get_by_label("Grace Hopper").check()
    page.get_by_label("Search users").fill("turing")
    expect(page.locator('[data-options="user"] label')).to_have_count(2)
    page.get_by_label("Alan Turing").check()
    page.get_by_role("button", name="Apply").click()
    expect(page).to_have_url(f"{query.url}/audit-log?user=internal_user%3Au1&user=internal_user%3Au2")
    assert set(actors(page)) == {"Grace Hopper", "Alan Turing"}
    page.locator("summary", has_text="Event").click()
    page.get_by_label("Search events").fill("upl")
    page.get_by_label("File Uploaded").check()
    expect(page.get_by_label("File Moved")).to_be_hidden()
    page.get_by_role("button", name="Apply").click()
    expect(page.locator("td.event a").first).to_have_text("File Uploaded")
    assert set(page.locator("td.event a").all_inner_texts()) == {"File Uploaded"}
    assert set(actors(page)) == {"Grace Hopper", "Alan Turing"}
    chips = page.get_by_role("list", name="Active filters")
    expect(chips).to_contain_text("User: Grace Hopper")
    expect(chips).to_contain_text("Event: File Uploaded")
    page.get_by_role("link", name="Remove filter User: Grace Hopper").click()
    expect(chips).not_to_contain_text("Grace")
    assert set(actors(page)) == {"Alan Turing"}
    page.get_by_role("link", name="Clear all").click()
    expect(page).to_have_url(f"{query.url}/audit-log")


def test_pages_lead_to_older_events_and_back(viewer: BrowserContext, query: QueryService) -> None:
    """Older and Newer visit every event once; the ends have nowhere further to go."""
    page = opened(viewer, query)
    seen, firsts = 0, []
    expect(page.get_by_role("link", name="Newer")).to_have_count(0)
    while True:
        seen += page.locator("tbody tr").count()
        firsts.append(page.locator("time").first.get_attribute("datetime"))
        if not page.get_by_role("link", name="Older").count():
            break
        page.get_by_role("link", name="Older").click()
    assert seen == EVENTS + 1
    for first in reversed(firsts[:-1]):
        page.get_by_role("link", name="Newer").click()
        expect(page.locator("time").first).to_have_attribute("datetime", str(first))


def test_export_downloads_what_the_filters_show(viewer: BrowserContext, query: QueryService) -> None:
    """One click gives a CSV in local time with a byte-order mark, of exactly the filtered events."""
    page = opened(viewer, query, "/audit-log?user=internal_user%3Au1")
    with page.expect_download() as download:
        page.get_by_role("link", name="Export").click()
    assert download.value.suggested_filename == "audit-log-w1-2026-03-14.csv"
    content = Path(download.value.path()).read_bytes()
    assert content.startswith(b"\xef\xbb\xbfTimestamp,")
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    assert len(rows) == len(range(1, EVENTS, 3))
    assert {row["Actor"] for row in rows} == {"Grace Hopper"}
    assert rows[0]["Timestamp"] == "2026-03-14T12:59:00.000000+01:00"


def test_a_preview_says_so_and_leads_to_the_full_log(viewer: BrowserContext, query: QueryService) -> None:
    """Starter shows a banner and no export; after the switch of plans everything is there."""
    query.access.set_plan("w1", "starter")
    page = opened(viewer, query)
    banner = page.get_by_role("complementary", name="Preview")
    expect(banner).to_contain_text("You see the last 24 hours.")
    expect(page.get_by_role("button", name="Export")).to_be_disabled()
    page.locator("summary", has_text="User").click()
    expect(page.get_by_label("Mallory")).to_have_count(0)
    page.keyboard.press("Escape")
    banner.get_by_role("link", name="Upgrade").click()
    page.get_by_role("button", name="Switch to Advanced").click()
    expect(page).to_have_url(f"{query.url}/audit-log")
    expect(banner).to_have_count(0)
    expect(page.get_by_role("link", name="Export")).to_be_visible()


def test_what_people_wrote_is_text(viewer: BrowserContext, query: QueryService) -> None:
    """Markup in names is shown as it is; nothing of it runs."""
    page = opened(viewer, query, "/audit-log?user=client%3Ac9")
    expect(page.locator("td.actor")).to_contain_text("<b>Mallory</b>")
    page.locator("td.event a").click()
    expect(page.locator("dl")).to_contain_text("<script>alert(1)</script>")


def test_without_javascript_everything_is_there(browser: Browser, query: QueryService) -> None:
    """Reading, searching, filtering, paging and the way to export need no script; times are then in UTC."""
    context = browser.new_context(java_script_enabled=False)
    page = opened(context, query)
    expect(page.get_by_role("columnheader").last).to_have_text("Timestamp (UTC)")
    page.locator("summary", has_text="User").click()
    page.get_by_label("Search users").fill("hopper")
    page.locator("details[open]").get_by_role("button", name="Apply").click()
    page.get_by_label("Grace Hopper").check()
    page.locator("details[open]").get_by_role("button", name="Apply").click()
    assert set(actors(page)) == {"Grace Hopper"}
    page.get_by_role("link", name="Clear all").click()
    page.get_by_role("link", name="Older").click()
    expect(page.locator("tbody tr")).to_have_count(50)
    context.close()


def test_the_keyboard_is_enough(viewer: BrowserContext, query: QueryService) -> None:
    """A filter opens with Enter, takes the focus, is ticked with the space bar, and Escape gives the focus back."""
    page = opened(viewer, query)
    page.locator("summary", has_text="User").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Search users")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("summary", has_text="User")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Search users")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    expect(page.locator('[data-options="user"] input').first).to_be_checked()


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("/audit-log?user=nobody", "No event matches these filters."),
        ("/audit-log?colour=red", "colour: is not a parameter of this request"),
        ("/audit-log?cursor=abc", "cursor: is not a cursor of this service"),
        ("/audit-log/events/none", "There is no such event"),
    ],
)
def test_the_page_says_why_there_is_nothing(
    viewer: BrowserContext, query: QueryService, address: str, text: str
) -> None:
    """Empty lists and faults are told in a sentence."""
    expect(opened(viewer, query, address).get_by_role("main")).to_contain_text(text)


def test_somebody_not_signed_in_is_told_so(viewer: BrowserContext, query: QueryService) -> None:
    """The page is 401 and says where to go."""
    page = viewer.new_page()
    answer = page.goto(f"{query.url}/audit-log")
    assert answer is not None
    assert answer.status == 401
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in to see the audit log")


def test_nothing_comes_from_elsewhere_and_nothing_is_blocked(viewer: BrowserContext, query: QueryService) -> None:
    """Every request goes to the service itself, and the strict content policy forbids nothing the page needs."""
    complaints: list[str] = []
    requests: list[str] = []
    page = viewer.new_page()
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(query.sign_in_url())
    for address in ("/", "/settings", "/upgrade", "/audit-log", "/docs"):
        page.goto(query.url + address)
    page.goto(query.url + "/audit-log")
    page.locator("summary", has_text="User").click()
    page.get_by_label("Search users").fill("a")
    expect(page.locator('[data-options="user"] label').first).to_be_visible()
    assert complaints == []
    assert all(request.startswith(query.url) for request in requests)
