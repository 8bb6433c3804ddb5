"""What people come for, from their first look to the answer."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.builders import NOON, event
from tests.support.page import Visitor, apply, choose, newest, settled, shown

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.e2e.conftest import Stage


def test_an_owner_finds_who_deleted_a_file(visitor: Visitor, stage: Stage) -> None:
    """By the kind of event and the file's name; the table itself says who it was."""
    deleted = next(one for one in reversed(stage.events) if one.event_type == "file.deleted")
    page = visitor.open()
    panel = choose(page, "Event")
    panel.get_by_role("searchbox", name="Search events").fill("deleted")
    panel.get_by_role("checkbox", name="File Deleted").check()
    apply(page)
    page.get_by_role("searchbox", name="Search words").fill(deleted.targets[0].name)
    page.keyboard.press("Enter")
    settled(page)
    row = page.get_by_role("row").filter(has_text=deleted.targets[0].name).first
    expect(row.get_by_role("cell").first).to_contain_text(deleted.actor.name)
    row.click()
    details = page.get_by_role("dialog", name="Event details")
    expect(details).to_contain_text(deleted.event_id)
    expect(details).to_contain_text(f"{deleted.actor.name} · Internal user · {deleted.actor.email}")


def test_a_support_lead_exports_the_failed_logins_of_one_user_last_week(visitor: Visitor, stage: Stage) -> None:
    """Three filters, one click: the file holds exactly those events."""
    failed = [one for one in stage.events if one.event_type == "auth.login_failed"]
    somebody = next(one.actor for one in reversed(failed) if one.actor.name)
    page = visitor.open()
    choose(page, "Event").get_by_role("checkbox", name="Login Failed").check()
    apply(page)
    choose(page, "User").get_by_role("checkbox", name=somebody.name).check()
    apply(page)
    choose(page, "Date range").get_by_role("button", name="Last 7 days").click()
    settled(page)
    wanted = newest(failed, lambda one: one.actor.id == somebody.id and one.occurred_at >= NOON - timedelta(days=7))
    assert shown(page) == wanted
    with page.expect_download() as download:
        page.get_by_role("button", name="Export", exact=True).click()
    text = Path(download.value.path()).read_text("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [row["Event ID"] for row in rows] == wanted
    assert {(row["Actor"], row["Event"], row["Outcome"]) for row in rows} == {
        (somebody.name, "Login Failed", "failure")
    }


def test_a_starter_owner_meets_the_preview_and_upgrades(visitor: Visitor, stage: Stage) -> None:
    """From the banner to the plans and back: the whole history and the export are there at once."""
    workspace = stage.query.workspace("upgrading", "starter")
    stage.query.tables.put(
        event(workspace_id=workspace, event_type="file.moved"),
        event(workspace_id=workspace, event_type="file.deleted", occurred_at=NOON - timedelta(days=40)),
    )
    page = visitor.open(workspace=workspace)
    banner = page.get_by_role("complementary", name="Preview")
    expect(page.locator("td.event a")).to_have_text(["File Moved"])
    banner.get_by_role("link", name="Upgrade").click()
    page.get_by_role("button", name="Switch to Advanced").click()
    expect(page.locator("td.event a")).to_have_text(["File Moved", "File Deleted"])
    expect(banner).to_have_count(0)
    expect(page.get_by_role("button", name="Export", exact=True)).to_be_enabled()


def test_an_auditor_is_sent_one_event(visitor: Visitor, stage: Stage, browser: Browser) -> None:
    """The link leads there after signing in; in another workspace there is no such event."""
    page = visitor.open("/audit-log?event=file.deleted")
    page.locator("tr.one").first.click()
    link = page.get_by_role("dialog", name="Event details").get_by_role("link", name="Permalink")
    link.click()
    expect(page.get_by_role("heading", level=2)).to_have_text("File Deleted")
    sent, event_id = page.url, newest(stage.events, lambda one: one.event_type == "file.deleted")[0]
    assert sent == f"{stage.query.url}/audit-log/events/{event_id}"
    context = browser.new_context(timezone_id="Europe/Berlin")
    try:
        auditor = context.new_page()
        auditor.goto(sent)
        expect(auditor.get_by_role("heading", level=1)).to_have_text("Sign in to see the audit log")
        auditor.goto(stage.query.sign_in_url("atlas"))
        expect(auditor).to_have_url(sent)
        expect(auditor.get_by_role("heading", level=2)).to_have_text("File Deleted")
        auditor.goto(stage.query.sign_in_url(stage.query.workspace("foreign")))
        answer = auditor.goto(sent)
        assert answer is not None
        assert answer.status == 404
        expect(auditor.get_by_role("heading", level=1)).to_have_text("There is nothing here")
    finally:
        context.close()
