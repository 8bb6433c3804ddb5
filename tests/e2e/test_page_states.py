"""What the page says when it is empty, slow, offline, signed out or limited, and how far what it shows is complete."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from audit_schemas.topics import CATEGORIES
from tests.builders import NOON, event
from tests.support.page import ROWS, Visitor, apply, choose, filters, newest, settled, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import BrowserContext, Page, Route

    from tests.e2e.conftest import Stage
    from tests.support.query_service import QueryService

APPLY = "**/audit-log/apply?**"


def heading(page: Page, zone: str) -> None:
    expect(page.get_by_role("heading", level=2, name=f"Times in {zone}")).to_be_visible()


def filtering(page: Page, route: Callable[[Route], None]) -> None:
    """Filters by the source API; the first request for it is answered by `route`."""
    panel = choose(page, "Source")
    panel.get_by_role("checkbox", name="API").check()
    page.route(APPLY, route, times=1)
    panel.get_by_role("button", name="Apply").click()


def only_api(page: Page, stage: Stage) -> None:
    expect(page.get_by_role("list", name="Active filters")).to_contain_text("Source: API")
    settled(page)
    assert filters(page) == [("source", "api")]
    assert shown(page) == newest(stage.events, lambda one: one.source == "api")


@pytest.mark.parametrize(
    ("plan", "query", "why", "link"),
    [
        ("enterprise", "", "Nothing has happened yet.", None),
        ("enterprise", "?user=nobody", "No event matches these filters.", "Clear all filters"),
        ("starter", "", "Nothing has happened in the last 24 hours.", "Upgrade"),
        ("starter", "?user=nobody", "No event matches these filters in the last 24 hours.", "Upgrade"),
        ("enterprise", "?at=2020-01-01T00:00:00Z,{id}", "There are no events from here on.", "Newest"),
    ],
)
def test_an_empty_log_says_why_and_what_next(
    visitor: Visitor, stage: Stage, plan: str, query: str, why: str, link: str | None
) -> None:
    """Nothing yet, nothing that matches, nothing within the preview, or nothing so far back."""
    page = visitor.open(
        "/audit-log" + query.format(id=event().event_id), stage.query.workspace(f"empty-{uuid.uuid4().hex[:8]}", plan)
    )
    empty = page.locator(".empty")
    expect(empty.locator("strong")).to_have_text(why)
    if link is None:
        expect(empty).to_contain_text("Events appear here within seconds of the action.")
    else:
        expect(empty.get_by_role("link", name=link)).to_be_visible()
    expect(page.get_by_role("table", name="Audit log events")).to_have_count(0)


def test_the_first_event_is_told_on_an_empty_page(visitor: Visitor, stage: Stage) -> None:
    """Whoever waits for it need not ask again and again."""
    workspace = stage.query.workspace("first")
    visitor.sign_in(workspace)
    page = visitor.context.new_page()
    page.clock.install()
    page.goto(f"{stage.query.url}/audit-log")
    expect(page.get_by_text("Nothing has happened yet.")).to_be_visible()
    stage.query.tables.put(event(workspace_id=workspace))
    page.clock.fast_forward(10_000)
    page.get_by_role("link", name="1 new event").click()
    expect(page.locator("tr.one")).to_have_count(1)


def test_the_table_is_busy_until_the_answer_is_there(visitor: Visitor, stage: Stage) -> None:
    """What is shown stays until then, and is marked as busy."""
    page = visitor.open()
    before = shown(page)
    late: list[Route] = []
    filtering(page, lambda route: late.append(route))
    table = page.get_by_role("table", name="Audit log events")
    expect(table).to_have_attribute("aria-busy", "true")
    assert shown(page) == before
    late[0].continue_()
    expect(table).to_have_attribute("aria-busy", "false")
    only_api(page, stage)


def test_an_error_is_told_in_the_page_with_a_way_to_try_again(visitor: Visitor, stage: Stage) -> None:
    """The table stays, and trying again leads to what was asked for."""
    page = visitor.open()
    before = shown(page)
    problem = "<div><h1>One moment</h1><ul class=faults><li>The store is away</li></ul></div>"
    filtering(page, lambda route: route.fulfill(status=503, content_type="text/html", body=problem))
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("This could not be loaded. One moment. The store is away.")
    settled(page)
    assert shown(page) == before
    assert filters(page) == []
    alert.get_by_role("button", name="Try again").click()
    only_api(page, stage)
    expect(alert).to_be_empty()
    visitor.complaints.clear()  # HTMX tells the console what the page tells people


def test_details_that_cannot_be_read_are_tried_again(visitor: Visitor) -> None:
    """The drawer stays closed until there is something in it."""
    page = visitor.open("/audit-log?event=file.deleted")
    page.route("**/audit-log/events/*", lambda route: route.abort(), times=1)
    page.locator("tr.one").first.get_by_role("link").click()
    expect(page.get_by_role("alert")).to_contain_text("This could not be loaded.")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.get_by_role("alert").get_by_role("button", name="Try again").click()
    expect(page.get_by_role("dialog", name="Event details")).to_contain_text("File Deleted")


def test_offline_is_told_and_what_is_shown_stays(visitor: Visitor, stage: Stage) -> None:
    """Also when something is asked for meanwhile; back online everything works again."""
    page = visitor.open()
    panel = choose(page, "Source")
    panel.get_by_role("checkbox", name="API").check()
    visitor.context.set_offline(offline=True)
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("You are offline. What is shown stays as it is until the connection is back.")
    panel.get_by_role("button", name="Apply").click()
    expect(alert.get_by_role("button", name="Try again")).to_be_visible()
    settled(page)
    expect(page.locator("tr.one")).to_have_count(ROWS)
    visitor.context.set_offline(offline=False)
    expect(alert).to_be_empty()
    apply(page)
    only_api(page, stage)
    visitor.complaints.clear()  # HTMX tells the console what the page tells people


def test_a_session_that_has_ended_is_told_in_the_page(visitor: Visitor) -> None:
    """What is shown stays; it says that one must sign in."""
    page = visitor.open()
    visitor.context.clear_cookies()
    page.get_by_role("link", name="Hide audit-log reads").click()
    expect(page.get_by_role("alert")).to_contain_text("Sign in to see the audit log.")
    expect(page.locator("tr.one")).to_have_count(ROWS)
    visitor.complaints.clear()  # HTMX tells the console what the page tells people


def test_somebody_not_signed_in_is_told_so(visitor: Visitor) -> None:
    """Where to sign in, and that they come back."""
    page = visitor.context.new_page()
    answer = page.goto(f"{visitor.query.url}/audit-log")
    assert answer is not None
    assert answer.status == 401
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in to see the audit log")
    expect(page.get_by_role("main")).to_contain_text("you come back to this page")


def test_an_export_that_the_plan_lacks_leads_to_the_plans(visitor: Visitor, stage: Stage) -> None:
    """An address somebody was sent says why, and where to upgrade."""
    workspace = stage.query.workspace("limited", "professional")
    page = visitor.open("/audit-log/export", workspace)
    expect(page.get_by_role("main")).to_contain_text("Advanced and Enterprise")
    expect(page.get_by_role("link", name="Upgrade")).to_have_attribute("href", f"/upgrade?workspace={workspace}")


def test_a_preview_says_when_a_range_reaches_further_back(visitor: Visitor, stage: Stage) -> None:
    """The banner tells that older events are part of other plans."""
    workspace = stage.query.workspace("clamped", "starter")
    stage.query.tables.put(event(workspace_id=workspace))
    page = visitor.open("/audit-log?since=7d", workspace)
    expect(page.get_by_role("complementary", name="Preview")).to_contain_text("The range reaches further back")
    expect(page.locator("tr.one")).to_have_count(1)


def test_a_problem_tells_its_request(visitor: Visitor) -> None:
    """What is wrong in a sentence, the number to quote, and the way back."""
    visitor.sign_in()
    page = visitor.context.new_page()
    answer = page.goto(f"{visitor.query.url}/audit-log?colour=red")
    assert answer is not None
    assert answer.status == 400
    expect(page.get_by_role("listitem").filter(has_text="colour: is not a parameter of this request")).to_be_visible()
    expect(page.get_by_text(f"Request {answer.headers['x-request-id']}")).to_be_visible()
    page.get_by_role("link", name="Back to the audit log").click()
    expect(page.locator("tr.one")).to_have_count(ROWS)


def test_the_page_says_how_far_it_is_complete(viewer: BrowserContext, query: QueryService) -> None:
    """One sentence; a category that lags is named, with how far it has come."""
    visitor = Visitor(viewer, query)
    page = visitor.open(workspace="w1")
    fresh = page.locator(".fresh")
    expect(fresh).to_have_text("All events received before 12:59:57 are shown")
    late = NOON - timedelta(minutes=3)
    on_time = [one for one in CATEGORIES if one not in ("billing", "files")]
    query.tables.client.command("TRUNCATE TABLE audit_progress")
    query.tables.progress(NOON - timedelta(seconds=2), categories=on_time)
    query.tables.progress(late, categories=["files", "billing"])
    page.reload()
    expect(fresh).to_have_text(
        "All events received before 12:57:00 are shown Billing, Files are behind: complete only up to 12:57:00"
    )
    query.tables.client.command("TRUNCATE TABLE audit_progress")
    page.reload()
    expect(fresh).to_contain_text("It is not known yet up to when all received events are shown")
    expect(fresh).to_contain_text("All categories: nothing has been heard yet")


def test_another_workspace_is_switched_to(visitor: Visitor, stage: Stage) -> None:
    """The header shows the workspace and its plan; the demo's switcher leads to another."""
    other = stage.query.workspace("switched", "professional")
    stage.query.tables.put(event(workspace_id=other, event_type="file.moved"))
    page = visitor.open()
    expect(page.locator(".whose")).to_have_text("atlas Enterprise")
    page.get_by_role("combobox", name="Workspace").select_option(other)
    page.get_by_role("button", name="Switch").click()
    expect(page.locator(".whose")).to_have_text("switched Professional")
    expect(page.locator("td.event a")).to_have_text(["File Moved"])


def test_a_zone_that_was_picked_is_remembered(visitor: Visitor) -> None:
    """The same page is shown in it, and every page after; left empty the browser's own counts again."""
    page = visitor.open("/audit-log?event=file.deleted")
    before = shown(page)
    page.get_by_role("button", name="Change").click()
    page.get_by_role("dialog", name="Time zone").get_by_label("Time zone").fill("Asia/Tokyo")
    page.get_by_role("button", name="Use this zone").click()
    heading(page, "Asia/Tokyo")
    assert shown(page) == before
    page = visitor.go()
    heading(page, "Asia/Tokyo")
    page.get_by_role("button", name="Change").click()
    page.get_by_role("dialog", name="Time zone").get_by_label("Time zone").fill("")
    page.get_by_role("button", name="Use this zone").click()
    heading(page, "Europe/Berlin")


def test_utc_is_one_click_away_and_back(visitor: Visitor) -> None:
    """The button says whether it is on."""
    page = visitor.open()
    page.get_by_role("button", name="UTC", pressed=False).click()
    heading(page, "UTC")
    expect(page.locator("tr.one time").first).to_contain_text("11:59:31")
    page.get_by_role("button", name="UTC", pressed=True).click()
    heading(page, "Europe/Berlin")
    expect(page.locator("tr.one time").first).to_contain_text("12:59:31")
