"""Reading the log: older and newer events, places that stay where they are, one event's details, and what is copied."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.builders import NOON, event
from tests.support.page import ROWS, Visitor, newest, settled, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Locator, Page

    from audit_schemas.event import Event
    from tests.e2e.conftest import Stage

VIEWED = "/audit-log?event=file.viewed"
CHANGES = [
    {"path": "role", "old": "staff", "new": "admin"},
    {"path": "title", "old": None, "new": "Account manager"},
]


@pytest.fixture
def plain(browser: Browser, stage: Stage) -> Iterator[Visitor]:
    """A browser without JavaScript."""
    context = browser.new_context(java_script_enabled=False)
    yield Visitor(context, stage.query)
    context.close()


def viewed(one: Event) -> bool:
    return one.event_type == "file.viewed"


def busy(stage: Stage, name: str, number: int = 60) -> str:
    """A workspace with so many events, ten minutes apart, the newest a minute old."""
    workspace = stage.query.workspace(name)
    first = NOON - timedelta(minutes=1)
    made = [event(workspace_id=workspace, occurred_at=first - timedelta(minutes=10 * step)) for step in range(number)]
    stage.query.tables.put(*made)
    return workspace


def top_row(page: Page) -> str:
    """The place of the first row below the table's header, as it is seen."""
    place: str = page.evaluate(
        """() => {
          const header = document.querySelector("#events th").getBoundingClientRect();
          const seen = document.elementFromPoint(header.left + 5, header.bottom + 5).closest("tr");
          return (seen.dataset.place ? seen : seen.nextElementSibling).dataset.place;
        }"""
    )
    return place


def drawn(page: Page) -> None:
    """Waits for the activity, the last part of the page that comes."""
    expect(page.get_by_role("img")).to_be_visible()


def test_older_and_newer_visit_every_event_once_without_script(plain: Visitor, stage: Stage) -> None:
    """They are buttons; at each end the one that leads no further is disabled."""
    everything = newest(stage.events, viewed, len(stage.events))
    page = plain.open(VIEWED)
    older, newer = (page.get_by_role("button", name=name, exact=True) for name in ("Older", "Newer"))
    expect(newer).to_be_disabled()
    seen, tops = shown(page), [shown(page)[0]]
    while older.is_enabled():
        older.click()
        assert "&at=" in page.url
        seen += shown(page)
        tops.append(shown(page)[0])
    assert seen == everything
    for top in reversed(tops[:-1]):
        newer.click()
        assert shown(page)[0] == top
    expect(newer).to_be_disabled()


def test_older_events_are_added_below(visitor: Visitor, stage: Stage) -> None:
    """Every event once, each day under one separator, told to those who listen; at the end Older is disabled."""
    everything = newest(stage.events, viewed, len(stage.events))
    page = visitor.open(VIEWED)
    older = page.get_by_role("button", name="Older", exact=True)
    for pages in range(2, len(everything) // ROWS + 2):
        older.click()
        expect(page.locator("tr.one")).to_have_count(min(pages * ROWS, len(everything)))
        expect(page.locator("#appended")).to_have_text(
            f"Older events added: {len(everything[: pages * ROWS]) - (pages - 1) * ROWS}"
        )
    expect(older).to_be_disabled()
    assert shown(page) == everything
    days = page.locator("tr.day").all_inner_texts()
    assert len(days) == len(set(days))
    local = page.locator("#events tbody").evaluate_all(
        "all => all.map((one) => [one.dataset.day, ...[...one.querySelectorAll('time')].map((time) => "
        "new Date(time.dateTime).toLocaleDateString('sv', { timeZone: 'Europe/Berlin' }))])"
    )
    assert all(set(days) == {day} for day, *days in local)


def test_the_address_follows_the_row_at_the_top(visitor: Visitor) -> None:
    """After older events were added; opened anew it begins with that row."""
    page = visitor.open(VIEWED)
    page.get_by_role("button", name="Older", exact=True).click()
    expect(page.locator("tr.one")).to_have_count(2 * ROWS)
    drawn(page)
    page.locator("tr.one").nth(70).evaluate("row => row.scrollIntoView({ block: 'center' })")
    place = top_row(page)
    expect(page).to_have_url(re.compile(f"&at=.*{place.partition(',')[2]}$"))
    again = visitor.go(page.url.removeprefix(visitor.query.url))
    assert again.locator("tr.one").first.get_attribute("data-place") == place
    page.evaluate("scrollTo(0, 0)")
    expect(page).to_have_url(visitor.query.url + VIEWED)


def test_a_shared_place_stays_where_it_is(visitor: Visitor, stage: Stage) -> None:
    """Events that come later do not move what a link shows; Newer leads to them."""
    workspace = busy(stage, "places")
    page = visitor.open(workspace=workspace)
    place = page.locator("tr.one").nth(5).get_attribute("data-place")
    page = visitor.go(f"/audit-log?at={place}")
    before = shown(page)
    stage.query.tables.put(event(workspace_id=workspace, occurred_at=NOON))
    page.reload()
    assert shown(page) == before
    page.get_by_role("button", name="Newer", exact=True).click()
    settled(page)
    expect(page.locator("tr.one").nth(6)).to_have_attribute("data-place", str(place))


def test_newer_events_are_told_and_move_nothing(visitor: Visitor, stage: Stage) -> None:
    """Whoever reads further down keeps every row where it is, and decides when to look."""
    workspace = busy(stage, "growing")
    visitor.sign_in(workspace)
    page = visitor.context.new_page()
    page.clock.install()
    page.goto(f"{stage.query.url}/audit-log")
    drawn(page)
    row = page.locator("tr.one").nth(30)
    row.evaluate("row => row.scrollIntoView({ block: 'center' })")
    before, scrolled = row.bounding_box(), page.evaluate("scrollY")
    assert scrolled > 0
    stage.query.tables.put(*(event(workspace_id=workspace, occurred_at=NOON) for _ in range(2)))
    page.clock.fast_forward(10_000)
    told = page.get_by_role("link", name="2 new events")
    expect(told).to_be_in_viewport()
    assert row.bounding_box() == before
    assert page.evaluate("scrollY") == scrolled
    assert len(shown(page)) == ROWS
    told.click()
    expect(told).to_have_count(0)
    settled(page)
    times = page.locator("tr.one time")
    expect(times.nth(1)).to_have_attribute("datetime", "2026-03-14T12:00:00.000000Z")
    expect(times.nth(2)).to_have_attribute("datetime", "2026-03-14T11:59:00.000000Z")


def test_how_long_ago_stays_true(visitor: Visitor, stage: Stage) -> None:
    """The words under a time change as time goes by."""
    workspace = busy(stage, "aging", 1)
    visitor.sign_in(workspace)
    page = visitor.context.new_page()
    page.clock.install()
    page.goto(f"{stage.query.url}/audit-log")
    ago = page.locator("td.time small")
    expect(ago).to_have_text("1 minute ago")
    page.clock.fast_forward(120_000)
    expect(ago).to_have_text("3 minutes ago")


def test_days_are_told_apart(visitor: Visitor, stage: Stage) -> None:
    """By the viewer's midnight, not by that of UTC."""
    workspace = stage.query.workspace("midnight")
    for minute in (58, 62):
        at = NOON.replace(hour=22) - timedelta(days=1) + timedelta(minutes=minute)
        stage.query.tables.put(event(workspace_id=workspace, occurred_at=at))
    page = visitor.open(workspace=workspace)
    expect(page.locator("#events tbody tr")).to_have_text(
        [
            "Saturday, March 14, 2026",
            re.compile("Mar 14, 2026 00:02:00"),
            "Friday, March 13, 2026",
            re.compile("Mar 13, 2026 23:58:00"),
        ]
    )


def test_a_row_says_what_was_done_to_what(visitor: Visitor, stage: Stage) -> None:
    """The first target and how many more, a word for failure, and on whose behalf it was done."""
    workspace = stage.query.workspace("lines")
    files = [{"type": "file", "id": f"f{number}", "name": f"plan {number}.pdf"} for number in range(3)]
    grace = {"type": "client", "id": "c1", "name": "Grace Hopper"}
    stage.query.tables.put(
        event(workspace_id=workspace, event_type="file.deleted", targets=files, on_behalf_of=grace),
        event(workspace_id=workspace, outcome="failure", targets=files[:1], occurred_at=NOON - timedelta(seconds=1)),
        event(workspace_id=workspace, targets=[], occurred_at=NOON - timedelta(seconds=2)),
    )
    page = visitor.open(workspace=workspace)
    assert page.locator("td.event").all_inner_texts() == [
        "File Deleted\nplan 0.pdf and 2 more",
        "File Downloaded Failed\nplan 0.pdf",
        "File Downloaded",
    ]
    assert page.locator("td.actor small").all_inner_texts() == [
        "Internal user for Grace Hopper",
        "Internal user",
        "Internal user",
    ]


def test_a_click_on_a_row_opens_everything_about_it(visitor: Visitor, stage: Stage) -> None:
    """Fields, what changed from what to what, and the event as the API gives it; the address names the event."""
    one = event(
        workspace_id=stage.query.workspace("drawer"),
        event_type="internal_user.role_changed",
        category="internal_users",
        changes=CHANGES,
        metadata={"reason": "promotion"},
        request_id="req_1",
        outcome="failure",
        outcome_reason="not_allowed",
    )
    stage.query.tables.put(one)
    page = visitor.open(workspace=one.workspace_id)
    page.locator("tr.one td.source").click()
    drawer = page.get_by_role("dialog", name="Event details")
    expect(drawer.get_by_role("heading", level=2)).to_have_text("Role Changed Failed")
    expect(page).to_have_url(f"{stage.query.url}/audit-log?show={one.event_id}")
    expect(drawer.locator(".when time")).to_have_text("2026-03-14 13:00:00.000000+01:00 Europe/Berlin")
    fields = dict(zip(drawer.locator("dt").all_inner_texts(), drawer.locator("dd").all_inner_texts(), strict=True))
    assert fields | {"Received": ""} == {
        "Actor": "Ada Lovelace · Internal user · ada@example.com · u1",
        "Source": "Web",
        "Category": "Internal Users",
        "Event type": "internal_user.role_changed",
        "Outcome": "Failure · not_allowed",
        "Target": "plan.pdf · file · f1",
        "IP address": "203.0.113.7",
        "User agent": "Mozilla/5.0",
        "Request": "req_1",
        "Received": "",
        "Event ID": one.event_id,
        "reason": "promotion",
    }
    diff = drawer.get_by_role("table").locator("tbody tr")
    expect(diff).to_have_text(["role staff admin", "title nothing Account manager"])
    expect(diff.locator("del")).to_have_text(["staff"])
    expect(diff.locator("ins")).to_have_text(["admin", "Account manager"])
    drawer.get_by_text("Raw JSON").click()
    raw = json.loads(drawer.locator("pre").inner_text())
    assert raw == stage.query.client(one.workspace_id).get(f"/v1/events/{one.event_id}").json()["data"]


def test_back_and_forward_close_and_open_the_details(visitor: Visitor, stage: Stage) -> None:
    """Closing gives the focus back to the row; the address opened anew shows the same."""
    page = visitor.open(VIEWED)
    link = page.locator("tr.one").nth(2).get_by_role("link")
    drawer = page.get_by_role("dialog", name="Event details")
    page.locator("tr.one").nth(2).locator("td.source").click()
    expect(drawer.get_by_role("heading", level=2)).to_have_text("File Viewed")
    opened = page.url
    page.keyboard.press("Escape")
    expect(drawer).to_have_count(0)
    expect(link).to_be_focused()
    expect(page).to_have_url(stage.query.url + VIEWED)
    link.click()
    expect(drawer).to_be_visible()
    page.go_back()
    expect(drawer).to_have_count(0)
    page.go_forward()
    expect(drawer).to_be_visible()
    assert page.url == opened
    page.reload()
    expect(drawer.locator("article")).to_have_attribute("data-event", shown(page)[2])
    expect(page.locator("dialog:modal")).to_have_count(1)


def test_details_lead_to_what_belongs_together(visitor: Visitor, stage: Stage) -> None:
    """To events of the same request, more by the same user and more on the same target."""
    workspace = stage.query.workspace("related")
    people = [{"type": "client", "id": f"c{number}", "name": f"Person {number}"} for number in range(2)]
    files = [{"type": "file", "id": f"f{number}", "name": f"plan {number}.pdf"} for number in range(2)]
    made = [
        event(
            workspace_id=workspace,
            actor=people[who],
            targets=[files[what]],
            request_id=request_id,
            occurred_at=NOON - timedelta(minutes=number),
        )
        for number, (who, what, request_id) in enumerate([(0, 0, "r0"), (1, 1, "r0"), (0, 1, "r1"), (1, 0, "r1")])
    ]
    stage.query.tables.put(*made)
    page = visitor.open(workspace=workspace)
    for name, wanted in (
        ("Events of the same request", (0, 1)),
        ("More by Person 0", (0, 2)),
        ("More on plan 0.pdf", (0, 3)),
    ):
        page.locator("tr.one").first.get_by_role("link").click()
        page.get_by_role("dialog", name="Event details").get_by_role("link", name=name).click()
        settled(page)
        assert shown(page) == [made[number].event_id for number in wanted]


def test_what_is_copied_is_exact(visitor: Visitor, stage: Stage) -> None:
    """The page's address, an event's own link, its time in UTC and its JSON; the button says that it was done."""
    visitor.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=stage.query.url)
    page = visitor.open(VIEWED)
    row = page.locator("tr.one").first

    def copied(button: Locator) -> str:
        button.click()
        expect(button).to_have_text("Copied")
        text: str = page.evaluate("navigator.clipboard.readText()")
        return text

    assert copied(page.locator("[data-copy-link]")) == stage.query.url + VIEWED
    time, event_id = row.locator("time").get_attribute("datetime"), shown(page)[0]
    row.get_by_role("link").click()
    drawer = page.get_by_role("dialog", name="Event details")
    drawer.get_by_text("Raw JSON").click()
    assert copied(drawer.locator("[data-copy]")) == time
    assert copied(drawer.locator("[data-copy-href]")) == f"{stage.query.url}/audit-log/events/{event_id}"
    assert json.loads(copied(drawer.locator("[data-copy-of]")))["event_id"] == event_id
