"""The page fits from a telephone to a wide screen, and nothing on it jumps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.builders import NOON, event
from tests.support.browsing import signed_in
from tests.support.stage import set_the_stage

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.support.query_service import QueryService

NARROW = (320, 360)
WIDTHS = (*NARROW, 768, 1440)
SHIFTS = """window.shifts = [];
new PerformanceObserver((list) => {
  for (const one of list.getEntries()) {
    if (!one.hadRecentInput) window.shifts.push([one.value, one.sources.map(({ node }) => node?.outerHTML?.slice(0, 80))]);
  }
}).observe({ type: "layout-shift", buffered: true });"""
MOST_SHIFT = 0.02
STICKING_OUT = """() => {
  const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  const out = [...document.querySelectorAll("body *")]
    .filter((one) => one.checkVisibility() && one.getBoundingClientRect().right > innerWidth + 1)
    .map((one) => one.outerHTML.slice(0, 80));
  return wide > 0 ? out.slice(0, 3) : [];
}"""
CARD = """
- table "Audit log events":
  - rowgroup:
    - row:
      - columnheader "Actor"
      - columnheader "Source"
      - columnheader "Event"
      - columnheader "IP address"
      - columnheader "User agent"
      - columnheader "Timestamp"
  - rowgroup:
    - row:
      - rowheader "Saturday, March 14, 2026"
    - row:
      - cell "Ada Lovelace Internal user"
      - cell "Web"
      - cell "File Moved plan.pdf":
        - link "File Moved"
      - cell "203.0.113.7"
      - cell "Mozilla/5.0"
      - cell "Mar 14, 2026 13:00:00 1 second ago"
"""
TOPS = "all => all.map((one) => one.getBoundingClientRect().y)"
BELOW_HEAD = """document.activeElement.getBoundingClientRect().y
  - document.querySelector('thead th').getBoundingClientRect().bottom"""
CHANGES = [{"path": "folder", "old": "A" * 200, "new": "B" * 200}]


def stage(query: QueryService) -> None:
    """A plausible month, and one event of the newest moment."""
    set_the_stage(query, 80)
    query.tables.put(event(workspace_id="atlas", event_type="file.moved", occurred_at=NOON, changes=CHANGES))


def fits(page: Page) -> bool:
    """Whether what opened lies within the window."""
    box, size = page.get_by_role("dialog").bounding_box(), page.viewport_size
    assert box is not None
    assert size is not None
    sides = (box["x"] >= 0, box["x"] + box["width"] <= size["width"])
    return all((*sides, box["y"] >= 0, box["y"] + box["height"] <= size["height"]))


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_window(browser: Browser, log: QueryService, width: int) -> None:
    """No page scrolls sideways; panels and the drawer lie within the window."""
    with signed_in(browser, log, "atlas", viewport={"width": width, "height": 640}) as page:
        page.goto(log.url + "/audit-log?not_event=auth.logout&since=30d")
        expect(page.locator("figure")).to_be_visible()
        assert page.evaluate(STICKING_OUT) == []
        for name in ("User", "Event", "Add filter", "Export options", "Change", "As a table"):
            page.get_by_role("button", name=name, exact=name != "Event").first.click()
            expect(page.get_by_role("dialog").locator("a, button, input, td").last).to_be_attached()
            expect(page.locator("[popover][aria-busy]")).to_have_count(0)
            assert fits(page), name
            page.keyboard.press("Escape")
        page.locator("tr.one").first.get_by_role("link").click()
        expect(
            page.get_by_role("dialog", name="Event details").get_by_role("heading", name="File Moved")
        ).to_be_visible()
        assert fits(page)
        assert page.evaluate(STICKING_OUT) == []
        for address in (
            "/audit-log/choose/range",
            "/audit-log/activity",
            "/audit-log?colour=red",
            "/settings",
            "/upgrade",
        ):
            page.goto(log.url + address)
            assert page.evaluate(STICKING_OUT) == [], address


@pytest.mark.parametrize("width", [360, 1440])
def test_a_card_is_a_row_of_the_table_for_whoever_listens(browser: Browser, log: QueryService, width: int) -> None:
    """However it is drawn: the same table, with the same headers, rows and cells, in the same order."""
    with signed_in(browser, log, "atlas", viewport={"width": width, "height": 640}) as page:
        page.goto(log.url + "/audit-log?event=file.moved&since=15m")
        expect(page.get_by_role("table", name="Audit log events")).to_match_aria_snapshot(CARD)
        heights = len(set(page.locator("tr.one td").evaluate_all(TOPS)))
        assert (heights > 1) == (width == 360)


@pytest.mark.parametrize("width", [360, 1440])
def test_nothing_jumps_while_the_page_loads_and_when_a_filter_is_applied(
    browser: Browser, log: QueryService, width: int
) -> None:
    """The figure comes later, into a place that waits for it; what is read stays where it is when rows change."""
    with signed_in(browser, log, "atlas", viewport={"width": width, "height": 800}) as page:
        page.add_init_script(SHIFTS)
        page.goto(log.url + "/audit-log")
        expect(page.locator("figure")).to_be_visible()
        assert sum(value for value, _ in page.evaluate("shifts")) <= MOST_SHIFT, page.evaluate("shifts")
        top = page.evaluate("document.getElementById('open-user').getBoundingClientRect().y")
        # By script, so that no recent input excuses a shift.
        page.evaluate(
            "htmx.ajax('GET', '/audit-log?source=web', { target: '#page', select: '#page', swap: 'outerHTML' })"
        )
        expect(page.get_by_role("list", name="Active filters")).to_be_visible()
        expect(page.locator("figure")).to_be_visible()
        assert page.evaluate("document.getElementById('open-user').getBoundingClientRect().y") == top


def test_apply_keeps_the_place_on_the_page(browser: Browser, log: QueryService) -> None:
    """The filters stay where they are; nothing scrolls to the top, nor below it."""
    with signed_in(browser, log, "atlas", viewport={"width": 1280, "height": 500}) as page:
        page.goto(log.url + "/audit-log?source=web")
        expect(page.locator("figure")).to_be_visible()
        page.get_by_role("button", name="User", exact=True).click()
        page.get_by_role("dialog").get_by_role("checkbox").first.check()
        page.get_by_role("radio", name="Leave these out").check()
        page.mouse.move(600, 400)
        page.mouse.wheel(0, 60)
        page.wait_for_function("scrollY === 60")
        page.get_by_role("button", name="Apply").press("Enter")
        expect(page.get_by_role("list", name="Active filters").get_by_role("listitem")).to_have_count(2)
        assert page.evaluate("scrollY") == 60


def test_the_head_of_the_table_stays_in_sight(browser: Browser, log: QueryService) -> None:
    """On a wide screen, however far one scrolls; the focused row is never under it."""
    with signed_in(browser, log, "atlas", viewport={"width": 1440, "height": 500}) as page:
        page.goto(log.url + "/audit-log")
        for _ in range(20):
            page.keyboard.press("j")
        head = page.get_by_role("columnheader", name="Actor")
        expect(head).to_be_in_viewport()
        for _ in range(12):
            page.keyboard.press("k")
        under = page.evaluate(BELOW_HEAD)
        assert under >= 0
