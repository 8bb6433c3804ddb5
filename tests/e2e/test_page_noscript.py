"""Without JavaScript everything that matters is there: links and forms, each with an address of its own."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.builders import NOON, event
from tests.support.browsing import signed_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

    from tests.support.query_service import QueryService

PEOPLE = ("Ada Lovelace", "Grace Hopper", "Alan Turing")
EVENTS = 120


def stage(query: QueryService) -> None:
    """Three people in turn, a second apart; every fourth event deletes a file."""
    query.workspace()
    query.tables.put(
        *(
            event(
                actor={"type": "internal_user", "id": f"u{number % 3}", "name": PEOPLE[number % 3]},
                event_type="file.deleted" if number % 4 == 0 else "file.uploaded",
                occurred_at=NOON.replace(hour=11, minute=59 - number // 60, second=59 - number % 60),
                source="api" if number % 2 else "web",
                metadata={"size": number % 5},
                changes=[{"path": "folder", "old": "Drafts", "new": "Plans"}],
            )
            for number in range(EVENTS)
        )
    )
    query.tables.progress(NOON)


@pytest.fixture
def page(browser: Browser, log: QueryService) -> Iterator[Page]:
    """The log in a browser that runs no scripts."""
    with signed_in(browser, log, java_script_enabled=False, accept_downloads=True) as page:
        page.goto(log.url + "/audit-log")
        yield page


def choose(page: Page, name: str) -> None:
    """Follows the link that Add filter has for it."""
    page.goto(page.url.split("/audit-log")[0] + "/audit-log")
    page.get_by_role("button", name="Add filter").click()
    page.get_by_role("link", name=name, exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Filter by {name}")


def test_users_and_events_are_searched_ticked_and_applied(page: Page, log: QueryService) -> None:
    """A page each in place of the panel; what is ticked stays ticked while one searches; Apply leads back."""
    page.get_by_role("button", name="User", exact=True).click()
    page.get_by_role("link", name="Choose users").click()
    page.get_by_role("checkbox", name="Ada Lovelace").check()
    page.get_by_role("searchbox", name="Search users").fill("grace")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("checkbox")).to_have_count(2)
    expect(page.get_by_role("checkbox", name="Ada Lovelace")).to_be_checked()
    page.get_by_role("checkbox", name="Grace Hopper").check()
    page.get_by_role("checkbox", name="Ada Lovelace").uncheck()
    page.get_by_role("button", name="Apply").click()
    expect(page).to_have_url(f"{log.url}/audit-log?user=internal_user%3Au1")
    page.get_by_role("button", name="Event", exact=True).click()
    page.get_by_role("link", name="Choose events").click()
    page.get_by_role("checkbox", name="File Deleted").check()
    page.get_by_role("button", name="Apply").click()
    expect(page).to_have_url(f"{log.url}/audit-log?user=internal_user%3Au1&event=file.deleted")
    expect(page.locator("tr.one")).to_have_count(10)
    assert set(page.locator("td.actor bdi").all_inner_texts()) == {"Grace Hopper"}
    page.get_by_role("link", name="Remove filter User: Grace Hopper").click()
    expect(page.locator("tr.one")).to_have_count(30)
    page.get_by_role("link", name="Clear all").click()
    expect(page).to_have_url(f"{log.url}/audit-log")


@pytest.mark.parametrize(
    ("name", "label", "query", "count"),
    [
        ("Category", "Files", "category=files", 50),
        ("Source", "API", "source=api", 50),
        ("Actor type", "Client", "actor_type=client", 0),
        ("Target", "plan.pdf", "target=file%3Af1", 50),
        ("Outcome", "Failure", "outcome=failure", 0),
    ],
)
def test_a_filter_that_is_ticked(page: Page, log: QueryService, name: str, label: str, query: str, count: int) -> None:
    """Each list is a page; Apply leads to the address that the panel leads to."""
    choose(page, name)
    page.get_by_role("checkbox", name=label).check()
    page.get_by_role("button", name="Apply").click()
    expect(page).to_have_url(f"{log.url}/audit-log?{query}")
    expect(page.locator("tr.one")).to_have_count(count)


def test_filters_that_are_typed(page: Page, log: QueryService) -> None:
    """Address, words, metadata and range; what is wrong is told on the same page, with what was typed."""
    choose(page, "IP address")
    page.get_by_label("Address or network").fill("203.0.113.999")
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_role("alert")).to_contain_text("203.0.113.999")
    expect(page.get_by_label("Address or network")).to_have_value("203.0.113.999")
    page.get_by_label("Address or network").fill("203.0.113.0/24")
    page.get_by_role("button", name="Apply").click()
    expect(page).to_have_url(f"{log.url}/audit-log?ip=203.0.113.0%2F24")
    choose(page, "Metadata")
    page.get_by_label("Key").fill("size")
    page.get_by_label("Value").fill("3")
    page.get_by_role("radio", name="Leave these out").check()
    page.get_by_role("button", name="Apply").click()
    expect(page).to_have_url(f"{log.url}/audit-log?not_meta.size=3")
    choose(page, "Date range")
    page.get_by_role("button", name="Last 7 days").click()
    expect(page).to_have_url(f"{log.url}/audit-log?since=7d")
    page.get_by_role("searchbox", name="Search words").fill("grace")
    page.get_by_role("searchbox", name="Search words").press("Enter")
    expect(page).to_have_url(f"{log.url}/audit-log?since=7d&q=grace")
    assert set(page.locator("td.actor bdi").all_inner_texts()) == {"Grace Hopper"}


def test_pages_lead_to_every_event_once_and_back(page: Page) -> None:
    """Older until there are no more; Newer and Newest lead back."""
    seen = page.locator("tr.one").evaluate_all("all => all.map((one) => one.dataset.place)")
    while page.get_by_role("button", name="Older").is_enabled():
        page.get_by_role("button", name="Older").click()
        seen += page.locator("tr.one").evaluate_all("all => all.map((one) => one.dataset.place)")
    assert len(seen) == len(set(seen)) == EVENTS
    page.get_by_role("button", name="Newer").click()
    page.get_by_role("button", name="Newer").click()
    assert page.locator("tr.one").first.get_attribute("data-place") == seen[0]
    page.get_by_role("button", name="Older").click()
    page.get_by_role("link", name="Newest").click()
    expect(page.get_by_role("button", name="Newer")).to_be_disabled()
    assert page.locator("tr.one").first.get_attribute("data-place") == seen[0]


def test_details_are_a_page(page: Page, log: QueryService) -> None:
    """With fields and changes; an address with `show` shows them beside the table, with a way to close them."""
    page.locator("tr.one").first.get_by_role("link").click()
    expect(page).to_have_url(f"{log.url}/audit-log/events/{page.url.rsplit('/', 1)[1]}")
    expect(page.get_by_role("row", name="folder Drafts Plans")).to_be_visible()
    page.goto(f"{log.url}/audit-log?source=web&show={page.url.rsplit('/', 1)[1]}")
    drawer = page.get_by_role("dialog", name="Event details")
    expect(drawer.get_by_role("row", name="folder Drafts Plans")).to_be_visible()
    drawer.get_by_role("link", name="Close").click()
    expect(page).to_have_url(f"{log.url}/audit-log?source=web")
    expect(drawer).to_be_hidden()


def test_export_is_a_form(page: Page, log: QueryService) -> None:
    """The file has the filters and the zone; the dialog of its options opens and closes."""
    page.goto(f"{log.url}/audit-log?event=file.deleted&user=internal_user%3Au1")
    with page.expect_download() as download:
        page.get_by_role("button", name="Export", exact=True).click()
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text("utf-8-sig"))))
    assert len(rows) == 10
    assert {row["Actor"] for row in rows} == {"Grace Hopper"}
    assert rows[0]["Timestamp"].endswith("+01:00")
    page.get_by_role("button", name="Export options").click()
    options = page.get_by_role("dialog", name="Export options")
    expect(options.get_by_role("combobox", name="Time zone")).to_have_value("Europe/Berlin")
    expect(options.get_by_role("button", name="Download")).to_be_visible()
    page.keyboard.press("Escape")
    expect(options).to_be_hidden()


def test_the_figure_is_a_page_with_its_numbers(page: Page) -> None:
    """How many events and when, as text and as a table."""
    page.get_by_role("link", name="How many events, and when").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Events over time")
    expect(page.get_by_role("status")).to_have_text("120 events")
    expect(page.get_by_role("table")).to_contain_text("60")


def test_nothing_is_offered_that_needs_a_script(page: Page) -> None:
    """No button that would do nothing."""
    for name in ("Copy link", "Keyboard shortcuts", "As a table", "Change"):
        expect(page.get_by_role("button", name=name)).to_have_count(0)
    expect(page.get_by_role("button", name="Use this zone")).to_have_count(1)
