"""The page keeps WCAG 2.2 AA: what axe can tell, in every state, and what it can't."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import pytest
from playwright.sync_api import expect

from tests.builders import NOON, event
from tests.support.browsing import signed_in
from tests.support.stage import set_the_stage

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.support.query_service import QueryService

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
PANELS = ("Date range", "Category", "Metadata")
"""One of each kind behind "Add filter"."""
FULL = "018e3f5c-0000-7000-8000-000000000001"
FEW = "/audit-log?event=file.moved&event=file.deleted"
PAGES = (
    "/audit-log?user=nobody&not_event=file.moved&since=7d",
    "/audit-log?colour=red",
    "/audit-log/choose/event",
    f"/audit-log/events/{FULL}",
    "/audit-log/activity",
    "/settings",
    "/upgrade",
)
BOTH = (("light", 1280), ("dark", 320))
# A row is opened by a click anywhere on it, a box by one on its label; links in a sentence may be as small as it is.
SMALL = """() => [...document.querySelectorAll("a[href], button, input:not([type=hidden]), select, summary")]
  .filter((one) => one.checkVisibility({ checkVisibilityCSS: true }) && one.tabIndex >= 0 && !one.matches(".skip"))
  .filter((one) => !one.closest("p, small, dd, figcaption, section > ul, nav li, h2") || one.matches(".button"))
  .map((one) => [one, (one.closest("tr.one") ?? one.closest("label") ?? one).getBoundingClientRect()])
  .filter(([, box]) => box.width < 24 || box.height < 24)
  .map(([one, box]) => `${one.outerHTML.slice(0, 100)} is ${box.width} by ${box.height}`)"""
CONTROLS = {"button", "link", "textbox", "searchbox", "checkbox", "radio", "combobox", "dialog"}
OUTLINED = """() => {
  const one = document.activeElement, style = getComputedStyle(one), box = one.getBoundingClientRect();
  const top = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
  const seen = one.contains(top) || top?.contains(one);
  const drawn = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
  return { name: one.outerHTML.slice(0, 120), seen, drawn, body: one === document.body };
}"""


def stage(query: QueryService) -> None:
    """A month of a workspace, an event with everything an event can have, and a workspace with a preview."""
    set_the_stage(query, 60)
    query.tables.put(
        event(
            workspace_id="atlas",
            event_id=FULL,
            event_type="file.moved",
            occurred_at=NOON,
            outcome="failure",
            outcome_reason="denied",
            app_id="desk",
            on_behalf_of={"type": "client", "id": "c1", "name": "Nikos"},
            targets=[{"type": "file", "id": f"f{n}", "name": f"plan {n}"} for n in range(3)],
            changes=[{"path": "folder", "old": None, "new": "Plans"}],
            request_id="r1",
        )
    )
    query.workspace("small", "starter")


def faults(page: Page, *rules: str) -> list[str]:
    """What axe says, with further rules, controls without a name, and targets that are hard to hit."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is missing")
    options = {"runOnly": {"type": "tag", "values": TAGS}, "rules": {rule: {"enabled": True} for rule in rules}}
    found = axe.Axe().run(page, options={**options, "resultTypes": ["violations"]})
    told = [
        f"{one['id']}: {one['help']}: {[node['html'][:120] for node in one['nodes'][:3]]}"
        for one in found.response["violations"]
    ]
    nodes: list[dict[str, Any]] = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    for node in nodes:
        role = node.get("role", {}).get("value")
        if not node["ignored"] and role in CONTROLS and not node.get("name", {}).get("value", "").strip():
            told.append(f"a {role} without a name: {node.get('backendDOMNodeId')}")
    return [*told, *page.evaluate(SMALL)]


@pytest.mark.parametrize(("scheme", "width"), BOTH)
def test_the_log_and_what_opens_in_it_are_accessible(
    browser: Browser, log: QueryService, scheme: Literal["light", "dark"], width: int
) -> None:
    """Each kind of panel, the dialogs and the drawer, light and wide, dark and as narrow as four times enlarged."""
    told: dict[str, list[str]] = {}
    with signed_in(browser, log, "atlas", color_scheme=scheme, viewport={"width": width, "height": 800}) as page:

        def look(state: str) -> None:
            if found := faults(page):
                told[state] = found

        page.goto(log.url + FEW)
        expect(page.locator("figure")).to_be_visible()
        look("with chips and events")
        page.get_by_role("button", name="User", exact=True).click()
        expect(page.get_by_role("searchbox", name="Search users")).to_be_focused()
        look("User")
        page.keyboard.press("Escape")
        for name in PANELS:
            page.get_by_role("button", name="Add filter").click()
            if name == PANELS[0]:
                look("Add filter")
            page.get_by_role("link", name=name, exact=True).click()
            expect(page.get_by_role("dialog").get_by_role("button", name="Apply")).to_be_visible()
            look(name)
            page.keyboard.press("Escape")
        for name in ("Export options", "Change", "As a table"):
            page.get_by_role("button", name=name).click()
            expect(page.get_by_role("dialog")).to_be_visible()
            look(name)
            page.keyboard.press("Escape")
        page.get_by_role("button", name="Keyboard shortcuts").click()
        look("Keyboard shortcuts")
        page.keyboard.press("Escape")
        page.locator("tr.one").first.get_by_role("link").click()
        expect(page.get_by_role("heading", name="File Moved")).to_be_visible()
        page.locator("summary").click()
        look("drawer")
    assert told == {}


@pytest.mark.parametrize(("scheme", "width"), BOTH)
def test_every_other_page_is_accessible(
    browser: Browser, log: QueryService, scheme: Literal["light", "dark"], width: int
) -> None:
    """What has an address of its own, nothing found, problems, and who is signed out."""
    told = {}
    with signed_in(browser, log, "atlas", color_scheme=scheme, viewport={"width": width, "height": 800}) as page:
        for address in (*PAGES, "/docs" if scheme == "light" else "/docs/problems", "/audit-log/events/x"):
            page.goto(log.url + address)
            if found := faults(page):
                told[address] = found
        page.context.clear_cookies()
        page.goto(log.url + "/audit-log")
        expect(page.get_by_role("heading", name="Sign in to see the audit log")).to_be_visible()
        told |= {"signed out": found} if (found := faults(page)) else {}
    assert told == {}


def test_a_preview_is_accessible(browser: Browser, log: QueryService) -> None:
    """With its banner, the disabled export and nothing to show."""
    with signed_in(browser, log, "small") as page:
        page.goto(log.url + "/audit-log")
        expect(page.get_by_role("button", name="Export")).to_have_accessible_description(
            "On Advanced and Enterprise · Upgrade"
        )
        assert faults(page) == []


def test_the_page_without_script_is_accessible(browser: Browser, log: QueryService) -> None:
    """The zone form, the links to the panels, and an event that is shown in the page."""
    with signed_in(browser, log, "atlas", java_script_enabled=False) as page:
        page.goto(log.url + f"{FEW}&show={FULL}")
        expect(page.locator(".zone-form:visible")).to_have_count(1)
        content = page.content()
    # Axe is a script, so what was shown is shown again where scripts run, without those of the page.
    for old, new in (("<script", "<template"), ("</script>", "</template>"), ("noscript", "div")):
        content = content.replace(old, new)
    with signed_in(browser, log, "atlas") as page:
        page.route("**/audit-log?**", lambda route: route.fulfill(body=content, content_type="text/html"))
        page.goto(log.url + FEW)
        expect(page.get_by_role("button", name="Use this zone")).to_have_count(1)
        assert faults(page) == []


def test_more_contrast_and_forced_colours_lose_nothing(browser: Browser, log: QueryService) -> None:
    """More contrast reaches 7:1 everywhere; forced colours keep the badge, chips and bars apart from the ground."""
    with signed_in(browser, log, "atlas") as page:
        for scheme in ("light", "dark"):
            page.emulate_media(contrast="more", color_scheme=scheme)
            page.goto(log.url + FEW)
            expect(page.locator("figure")).to_be_visible()
            assert faults(page, "color-contrast-enhanced") == []
        page.emulate_media(contrast="no-preference", forced_colors="active")
        for kind in (".failed", ".chips li", ".plan"):
            assert page.locator(kind).first.evaluate("one => getComputedStyle(one).borderTopWidth") == "1px", kind
        fill = "one => getComputedStyle(one).fill !== getComputedStyle(document.body).backgroundColor"
        assert page.locator("#activity rect").first.evaluate(fill)
        assert faults(page) == []


def test_the_focus_can_be_seen_on_its_way_through_the_page(browser: Browser, log: QueryService) -> None:
    """Every stop of the Tab key is outlined and nothing lies over it."""
    with signed_in(browser, log, "atlas") as page:
        page.goto(log.url + FEW)
        expect(page.locator("figure")).to_be_visible()
        stops = []
        for _ in range(40):
            page.keyboard.press("Tab")
            stop = page.evaluate(OUTLINED)
            if stop.pop("body"):
                break
            stops.append(stop)
    assert len(stops) > 15
    assert [stop["name"] for stop in stops if not (stop["seen"] and stop["drawn"])] == []


def test_whoever_wants_less_motion_gets_none(browser: Browser, log: QueryService) -> None:
    """The bar of a busy table moves, but not for them."""
    moving = "document.getElementById('log').setAttribute('aria-busy', 'true'), document.getAnimations().length"
    with signed_in(browser, log, "atlas") as page:
        page.goto(log.url + FEW)
        assert page.evaluate(moving) == 1
        page.emulate_media(reduced_motion="reduce")
        assert page.evaluate(moving) == 0
