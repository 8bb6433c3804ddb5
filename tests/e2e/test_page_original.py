"""What the original page does, sentence by sentence, in a real browser."""

from __future__ import annotations

import csv
import io
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import expect

from audit_schemas.event import ACTOR_TYPES
from tests.builders import NOON, event
from tests.e2e.conftest import EVENTS_DOCS_URL
from tests.support.page import apply, choose, filters, newest, shown

if TYPE_CHECKING:
    from playwright.sync_api import Download, Page

    from audit_schemas.event import Event
    from tests.e2e.conftest import Stage
    from tests.support.page import Visitor

COLUMNS = ["Actor", "Source", "Event", "IP address", "User agent", "Timestamp"]
FIREFOX = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:143.0) Gecko/20100101 Firefox/143.0"


def cells(page: Page, column: str) -> list[str]:
    return page.locator(f"tr.one td.{column}").all_inner_texts()


def rows_of(download: Download) -> list[dict[str, str]]:
    text = Path(download.path()).read_bytes().decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_settings_in_the_sidebar_leads_to_the_audit_log(visitor: Visitor) -> None:
    """Its heading is "Audit log", and the line under it says what it is for."""
    page = visitor.open("/")
    page.get_by_role("navigation", name="Workspace").get_by_role("link", name="Settings").click()
    page.get_by_role("link", name="Audit log").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Audit log")
    expect(page.locator("h1 + p")).to_have_text("Review actions taken in your workspace.")


def test_the_table_has_six_columns_and_begins_with_the_newest_event(visitor: Visitor, stage: Stage) -> None:
    """Actor, Source, Event, IP address, User agent, Timestamp; in reverse chronological order."""
    page = visitor.open()
    table = page.get_by_role("table", name="Audit log events")
    expect(table.get_by_role("columnheader")).to_have_text(COLUMNS)
    assert shown(page) == newest(stage.events, lambda _: True)
    times = table.locator("tbody time").evaluate_all("all => all.map((one) => one.dateTime)")
    assert times == sorted(times, reverse=True)


def test_timestamps_are_exact_and_in_the_zone_of_the_viewer(visitor: Visitor, stage: Stage) -> None:
    """The header names the zone; how long ago it was comes second."""
    page = visitor.open()
    expect(page.get_by_role("heading", level=2, name="Times in Europe/Berlin")).to_be_visible()
    happened = max(one.occurred_at for one in stage.events)
    cell = page.locator("tr.one td.time").first
    exact = f"Mar 14, 2026 {happened.astimezone(ZoneInfo('Europe/Berlin')):%H:%M:%S}"
    expect(cell.locator("time")).to_have_text(exact, use_inner_text=True)
    expect(cell.locator("small")).to_have_text(f"{round((NOON - happened).total_seconds())} seconds ago")


def test_who_it_was_is_told_by_name_and_kind(visitor: Visitor, stage: Stage) -> None:
    """Each kind of actor and each source is told in words; who is nobody is Anonymous."""
    workspace = stage.query.workspace("kinds")
    names = dict.fromkeys(ACTOR_TYPES, "Somebody") | {"system": "", "anonymous": ""}
    sources = dict.fromkeys(ACTOR_TYPES, "web") | {"automation": "automation", "api_key": "api"}
    for number, kind in enumerate(ACTOR_TYPES):
        actor = {"type": kind, "id": f"{kind}-1" if names[kind] else "", "name": names[kind]}
        at = NOON - timedelta(minutes=number)
        stage.query.tables.put(event(workspace_id=workspace, actor=actor, source=sources[kind], occurred_at=at))
    page = visitor.open(workspace=workspace)
    assert cells(page, "actor") == [
        *(f"Somebody\n{kind}" for kind in ("Internal user", "Client", "Automation", "API key", "Custom app")),
        "System",
        "Anonymous",
    ]
    assert cells(page, "source") == ["Web", "Web", "Automation", "API", "Web", "Web", "Web"]


def test_events_of_a_custom_app_stand_beside_native_ones(visitor: Visitor, stage: Stage) -> None:
    """With their own label, and via which app, even where the app names the person as the actor."""
    workspace = stage.query.workspace("apps")
    grace = {"type": "client", "id": "c1", "name": "Grace Hopper"}
    won = {"event_type": "deal.won", "category": "developer", "label": "Deal Won", "app_id": "deal-desk"}
    stage.query.tables.put(
        event(workspace_id=workspace, actor=grace, occurred_at=NOON),
        event(workspace_id=workspace, actor=grace, occurred_at=NOON - timedelta(seconds=1), **won),
    )
    page = visitor.open(workspace=workspace)
    assert cells(page, "actor") == ["Grace Hopper\nClient", "Grace Hopper\nClient via deal-desk"]
    expect(page.locator("td.event a")).to_have_text(["File Downloaded", "Deal Won"])
    help_link = page.get_by_role("link", name="Record events of your own apps")
    expect(help_link).to_have_attribute("href", EVENTS_DOCS_URL)


def test_browser_and_device_are_told_in_words_and_in_full_on_demand(visitor: Visitor, stage: Stage) -> None:
    """The cell is short; the whole string is its tooltip, and stands in the details."""
    workspace = stage.query.workspace("agents")
    stage.query.tables.put(event(workspace_id=workspace, user_agent=FIREFOX, occurred_at=NOON))
    page = visitor.open(workspace=workspace)
    short = page.locator("td.agent bdi")
    expect(short).to_have_text("Firefox on Windows")
    expect(short).to_have_attribute("title", FIREFOX)
    short.click()
    expect(page.get_by_role("dialog", name="Event details").get_by_text(FIREFOX).first).to_be_visible()


def test_users_are_searched_by_name_ticked_and_applied(visitor: Visitor, stage: Stage) -> None:
    """Those already ticked stay listed while others are searched for; the table then shows just their events."""
    page = visitor.open()
    panel = choose(page, "User")
    panel.get_by_role("searchbox", name="Search users").fill("vidal")
    expect(panel.get_by_role("checkbox")).to_have_count(1)
    panel.get_by_role("checkbox", name="Marta Vidal").check()
    panel.get_by_role("searchbox", name="Search users").fill("becker")
    expect(panel.get_by_role("checkbox", name="Tom Becker")).to_be_visible()
    expect(panel.get_by_role("checkbox")).to_have_count(2)
    expect(panel.get_by_role("checkbox", name="Marta Vidal")).to_be_checked()
    panel.get_by_role("checkbox", name="Tom Becker").check()
    apply(page)
    assert shown(page) == newest(stage.events, lambda one: one.actor.name in ("Marta Vidal", "Tom Becker"))
    assert {name for name, _ in filters(page)} == {"user"}
    expect(page.get_by_role("button", name="User 2")).to_be_visible()


def test_event_types_are_searched_ticked_and_applied(visitor: Visitor, stage: Stage) -> None:
    """Login Succeeded and Magic Link Sent are found by what they are called."""
    page = visitor.open()
    panel = choose(page, "Event")
    for words, label in (("login s", "Login Succeeded"), ("magic", "Magic Link Sent")):
        panel.get_by_role("searchbox", name="Search events").fill(words)
        box = panel.get_by_role("checkbox", name=label)
        box.check()
        expect(box).to_be_checked()
    expect(panel.get_by_role("checkbox")).to_have_count(2)
    apply(page)
    expect(page).to_have_url(f"{stage.query.url}/audit-log?event=auth.login_succeeded&event=auth.magic_link_sent")
    wanted = ("auth.login_succeeded", "auth.magic_link_sent")
    assert shown(page) == newest(stage.events, lambda one: one.event_type in wanted)


def test_filters_combine(visitor: Visitor, stage: Stage) -> None:
    """All Login Failed events of one user: the second filter narrows what the first one left."""

    def failed(one: Event) -> bool:
        return one.event_type == "auth.login_failed"

    name = next(one.actor.name for one in stage.events if failed(one) and one.actor.name)
    page = visitor.open("/audit-log?event=auth.login_failed")
    assert shown(page) == newest(stage.events, failed)
    panel = choose(page, "User")
    panel.get_by_role("checkbox", name=name).check()
    apply(page)
    assert shown(page) == newest(stage.events, lambda one: failed(one) and one.actor.name == name)


@pytest.mark.parametrize(("name", "button"), [("User", "User"), ("Event", "Event"), ("Category", "Add filter")])
def test_escape_closes_a_filter_without_applying(visitor: Visitor, stage: Stage, name: str, button: str) -> None:
    """What was ticked is forgotten, and the button that opened the filter has the focus again."""
    page = visitor.open()
    panel = choose(page, name)
    panel.get_by_role("checkbox").first.check()
    page.keyboard.press("Escape")
    expect(panel).to_have_count(0)
    expect(page.locator(":focus")).to_have_text(button)
    expect(page).to_have_url(f"{stage.query.url}/audit-log")
    expect(choose(page, name).get_by_role("checkbox", checked=True)).to_have_count(0)


def test_export_downloads_the_csv_at_once_with_what_is_applied(visitor: Visitor, stage: Stage) -> None:
    """In the viewer's zone; what is ticked but not applied does not count."""
    page = visitor.open("/audit-log?event=file.deleted")
    choose(page, "User").get_by_role("checkbox").first.check()
    with page.expect_download() as download:
        page.get_by_role("button", name="Export", exact=True).click()
    assert download.value.suggested_filename == "audit-log-atlas-until-2026-03-14-Europe-Berlin.csv"
    assert Path(download.value.path()).read_bytes().startswith(b"\xef\xbb\xbfTimestamp,")
    rows = rows_of(download.value)
    assert [row["Event ID"] for row in rows] == newest(stage.events, lambda one: one.event_type == "file.deleted")
    happened = {one.event_id: one.occurred_at for one in stage.events}
    for row in rows:
        assert datetime.fromisoformat(row["Timestamp"]) == happened[row["Event ID"]]
        assert row["Timestamp"].endswith("+01:00")


def test_export_options_offer_format_cells_zone_and_columns(visitor: Visitor, stage: Stage) -> None:
    """The split part of the button opens a dialog; what is chosen there is what is asked for, with the filters."""
    page = visitor.open("/audit-log?event=file.deleted")
    page.get_by_role("button", name="Export options").click()
    options = page.get_by_role("dialog", name="Export options")
    expect(options.get_by_role("radio", name="CSV")).to_be_checked()
    expect(options.get_by_role("radio", name="Safe for spreadsheets")).to_be_checked()
    expect(options.get_by_label("Time zone")).to_have_value("Europe/Berlin")
    columns = options.get_by_role("group", name="Columns of the CSV")
    expect(columns.get_by_role("checkbox", checked=True)).to_have_count(columns.get_by_role("checkbox").count())
    options.get_by_role("radio", name="Raw").check()
    options.get_by_label("Time zone").fill("Asia/Tokyo")
    for box in columns.get_by_role("checkbox").all():
        box.set_checked(box.get_attribute("value") in ("timestamp", "event_id"))
    with page.expect_request(lambda request: "/export?" in request.url) as sent:
        options.get_by_role("button", name="Download").click()
    assert parse_qsl(urlsplit(sent.value.url).query) == [
        *(("event", "file.deleted"), ("format", "csv"), ("raw", "1"), ("tz", "Asia/Tokyo")),
        *(("columns", "timestamp"), ("columns", "event_id")),
    ]


@pytest.mark.parametrize(("raw", "name"), [("", "'=Budget.csv"), ("1", "=Budget.csv")])
def test_cells_are_safe_for_spreadsheets_or_raw(visitor: Visitor, stage: Stage, raw: str, name: str) -> None:
    """Safe puts an apostrophe before what a spreadsheet would run; raw leaves it as it is; both in the zone asked for."""
    workspace = stage.query.workspace(f"cells{raw}")
    stage.query.tables.put(event(workspace_id=workspace, actor={"type": "client", "id": "c1", "name": "=Budget.csv"}))
    visitor.sign_in(workspace)
    answer = visitor.context.request.get(f"{stage.query.url}/audit-log/export?format=csv&raw={raw}&tz=Asia/Tokyo")
    (row,) = csv.DictReader(io.StringIO(answer.body().decode("utf-8-sig"), newline=""))
    assert row["Actor"] == name
    assert row["Timestamp"] == "2026-03-14T21:00:00.000000+09:00"


@pytest.mark.parametrize("plan", ["starter", "professional"])
def test_smaller_plans_see_a_preview_of_the_last_24_hours(visitor: Visitor, stage: Stage, plan: str) -> None:
    """With a way to upgrade; Export is there, disabled, and says why."""
    workspace = stage.query.workspace(f"on-{plan}", plan)
    stage.query.tables.put(
        event(workspace_id=workspace, event_type="file.moved", occurred_at=NOON - timedelta(hours=23, minutes=59)),
        event(workspace_id=workspace, event_type="file.deleted", occurred_at=NOON - timedelta(hours=24, minutes=1)),
    )
    page = visitor.open(workspace=workspace)
    expect(page.locator("td.event a")).to_have_text(["File Moved"])
    banner = page.get_by_role("complementary", name="Preview")
    expect(banner).to_contain_text("You see the last 24 hours.")
    expect(banner.get_by_role("link", name="Upgrade")).to_have_attribute("href", f"/upgrade?workspace={workspace}")
    export = page.get_by_role("button", name="Export")
    expect(export).to_be_disabled()
    expect(export).to_have_accessible_description("On Advanced and Enterprise · Upgrade")
    expect(page.get_by_text("On Advanced and Enterprise")).to_be_visible()
