"""Everything on the page can be done with the keyboard; single keys are quick, and can be switched off."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.builders import NOON, event
from tests.support.browsing import WIDE, enter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

    from tests.support.query_service import QueryService

EVENTS = 120


def stage(query: QueryService) -> None:
    """Two people in turn, a minute apart."""
    query.workspace()
    names = ("Ada Lovelace", "Grace Hopper")
    query.tables.put(
        *(
            event(
                actor={"type": "internal_user", "id": f"u{number % 2}", "name": names[number % 2]},
                event_type="file.deleted" if number % 4 == 1 else "file.uploaded",
                occurred_at=NOON.replace(hour=11 - number // 60, minute=59 - number % 60),
            )
            for number in range(EVENTS)
        )
    )
    query.tables.progress(NOON)


@pytest.fixture
def page(browser: Browser, log: QueryService) -> Iterator[Page]:
    """The log, in a browser of its own; nobody touches the mouse."""
    context = browser.new_context(timezone_id="UTC", locale="en-US", viewport=WIDE)
    enter(context, log)
    page = context.new_page()
    page.goto(log.url + "/audit-log")
    expect(page.locator("figure")).to_be_visible()
    yield page
    context.close()


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def nth(page: Page, number: int) -> str:
    """The place in the log of a row of the table."""
    return page.locator("tr.one").nth(number).get_attribute("data-place") or ""


def focused_row(page: Page) -> str:
    return str(page.evaluate("document.activeElement.closest('tr')?.dataset.place ?? ''"))


def test_j_and_k_go_through_the_rows_and_enter_opens_one(page: Page) -> None:
    """The focus moves; Enter opens the drawer, Escape closes it, and the focus is on the same row again."""
    press(page, "j")
    assert focused_row(page) == nth(page, 0)
    press(page, "j", "j", "k")
    assert focused_row(page) == nth(page, 1)
    press(page, "Enter")
    drawer = page.get_by_role("dialog", name="Event details")
    expect(drawer.get_by_role("heading", name="File Deleted")).to_be_visible()
    press(page, "j")
    press(page, "Escape")
    expect(drawer).to_be_hidden()
    assert focused_row(page) == nth(page, 1)
    press(page, "k", "k")
    assert focused_row(page) == nth(page, 0)


def test_the_keys_for_search_filters_and_help(page: Page) -> None:
    """`/` is in the search box at once, `f` opens the list of filters, `?` tells all keys; Escape leads back."""
    press(page, "/")
    expect(page.get_by_role("searchbox", name="Search words")).to_be_focused()
    page.keyboard.type("fjek?/")
    expect(page.get_by_role("searchbox", name="Search words")).to_have_value("fjek?/")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.get_by_role("button", name="Add filter").focus()
    press(page, "f")
    expect(page.get_by_role("dialog", name="Add filter").get_by_role("link").first).to_be_focused()
    press(page, "e", "j", "?")
    expect(page.get_by_role("dialog")).to_have_count(1)
    press(page, "Escape")
    expect(page.get_by_role("button", name="Add filter")).to_be_focused()
    press(page, "?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    press(page, "Escape")
    expect(page.get_by_role("button", name="Add filter")).to_be_focused()


def test_e_exports(page: Page) -> None:
    """The file comes at once, as with the button."""
    with page.expect_download() as download:
        press(page, "e")
    assert download.value.suggested_filename == "audit-log-w1-until-2026-03-14-UTC.csv"


def test_the_keys_can_be_switched_off(page: Page) -> None:
    """Off, they stay off after a reload, until they are switched on with the box that switched them off."""
    press(page, "?")
    box = page.get_by_role("checkbox", name="Keyboard shortcuts are on")
    box.focus()
    press(page, "Space", "Escape")
    page.reload()
    press(page, "f", "j", "?")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert focused_row(page) == ""
    page.get_by_role("button", name="Keyboard shortcuts").focus()
    press(page, "Enter")
    expect(box).not_to_be_checked()
    box.focus()
    press(page, "Space", "Escape", "j")
    assert focused_row(page) == nth(page, 0)


def test_no_key_of_the_browser_or_of_an_open_dialog_is_taken(page: Page) -> None:
    """With Ctrl, Alt or Meta a key is the browser's; in a dialog and in its fields it is theirs."""
    press(page, "Control+j", "Alt+f", "Meta+k")
    assert focused_row(page) == ""
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.get_by_role("button", name="User", exact=True).focus()
    press(page, "Enter")
    search = page.get_by_role("searchbox", name="Search users")
    expect(search).to_be_focused()
    page.keyboard.type("jkef?")
    expect(search).to_have_value("jkef?")
    press(page, "Tab", "j")
    assert focused_row(page) == ""
    search.focus()
    # Once is enough, although browsers clear a search box with it.
    press(page, "Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("button", name="User", exact=True)).to_be_focused()


def test_the_whole_way_without_a_mouse(page: Page, log: QueryService) -> None:
    """Filter, apply, open, close, older: the focus is never lost, and never far from where it was."""
    button = page.get_by_role("button", name="User", exact=False).and_(page.locator("#open-user"))
    button.focus()
    press(page, "Enter")
    search = page.get_by_role("searchbox", name="Search users")
    expect(search).to_be_focused()
    page.keyboard.type("grace")
    boxes = page.locator("#panel-user input[type=checkbox]")
    expect(boxes).to_have_count(1)
    press(page, "Tab", "Space")
    expect(boxes).to_be_checked()
    press(page, "Tab", "Tab")
    expect(page.locator("#panel-user").get_by_role("button", name="Apply")).to_be_focused()
    press(page, "Enter")
    expect(page).to_have_url(f"{log.url}/audit-log?user=internal_user%3Au1")
    expect(button).to_be_focused()
    expect(page.locator("td.actor bdi").first).to_have_text("Grace Hopper")
    press(page, "j", "Enter")
    drawer = page.get_by_role("dialog", name="Event details")
    expect(drawer.get_by_role("heading", name="File Deleted")).to_be_visible()
    press(page, "Escape")
    expect(drawer).to_be_hidden()
    assert focused_row(page) == nth(page, 0)
    page.get_by_role("button", name="Older").focus()
    press(page, "Enter")
    expect(page.locator("tr.one")).to_have_count(60)
    assert focused_row(page) == nth(page, 50)
    press(page, "k")
    assert focused_row(page) == nth(page, 49)


@pytest.mark.parametrize("name", ["User", "Event", "Add filter", "Export options", "Change"])
def test_escape_gives_the_focus_back_to_what_opened_a_panel(page: Page, name: str) -> None:
    """And nothing was applied: the address is as it was."""
    address = page.url
    button = page.get_by_role("button", name=name, exact=True)
    button.focus()
    press(page, "Enter")
    expect(page.get_by_role("dialog").locator(":focus")).to_have_count(1)
    press(page, "Escape")
    expect(button).to_be_focused()
    assert page.url == address


def test_the_first_stop_skips_to_the_content(page: Page) -> None:
    """From the head of the page past the sidebar."""
    page.reload()
    press(page, "Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    press(page, "Enter", "Tab")
    expect(page.get_by_role("link", name="Exports", exact=True)).to_be_focused()
