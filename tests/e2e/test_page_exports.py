"""Export jobs on the page: prepared from the dialog, followed, fetched with their proof, cancelled, tried again."""

from __future__ import annotations

import gzip
import hashlib
import json
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.support.exports import Turns, make_key, settings_of
from tests.support.page import Visitor

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

    from tests.support.query_service import QueryService

FILTERED = "/audit-log?event=file.deleted&event=file.moved"


def prepare(page: Page) -> None:
    """Asks for a job of what is shown."""
    page.get_by_role("button", name="Export options").click()
    page.get_by_role("button", name="Prepare in the background").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Exports")


def test_a_job_is_prepared_followed_and_fetched_with_its_proof(viewer: BrowserContext, query: QueryService) -> None:
    """Queued it says so; done, without loading the page anew, it has files whose hashes are those shown, and a manifest."""
    make_key(query)
    page = Visitor(viewer, query).open(FILTERED, "w1")
    prepare(page)
    job = page.get_by_role("article")
    expect(job.get_by_role("heading")).to_have_text("Event is File Deleted or File Moved")
    expect(job).to_contain_text("Queued")
    expect(job).to_contain_text("Asked for by Ada Lovelace")
    with Turns(query, settings_of(query)) as worker:
        worker.all()
    expect(job).to_contain_text("Done")
    expect(job).to_contain_text("64 of 64 rows")
    expect(job).to_contain_text("Files are kept until")
    job.get_by_text("Files (1)").click()
    with page.expect_download() as part:
        job.get_by_role("link", name="part-00001.csv.gz").click()
    content = Path(part.value.path()).read_bytes()
    expect(job.get_by_role("cell").last).to_have_text(hashlib.sha256(content).hexdigest())
    lines = gzip.decompress(content).decode().splitlines()
    assert len(lines) == 65
    assert lines[0].startswith("Timestamp,")
    with page.expect_download() as manifest:
        job.get_by_role("link", name="manifest.json", exact=True).click()
    said = json.loads(Path(manifest.value.path()).read_bytes())
    assert said["filter"]["sent"] == {"event": ["file.deleted", "file.moved"]}
    assert said["output"]["time_zone"] == "Europe/Berlin"
    with page.expect_download() as signature:
        job.get_by_role("link", name="manifest.json.sig").click()
    assert len(Path(signature.value.path()).read_bytes()) == 64


def test_options_of_the_dialog_are_those_of_the_job(viewer: BrowserContext, query: QueryService) -> None:
    """Format, zone, columns and raw cells; what is said of CSV does not hold for other formats."""
    page = Visitor(viewer, query).open("/audit-log", "w1")
    page.get_by_role("button", name="Export options").click()
    dialog = page.get_by_role("dialog", name="Export options")
    dialog.get_by_label("Raw").check()
    dialog.get_by_label("Time zone").fill("Asia/Tokyo")
    dialog.get_by_label("Actor email").uncheck()
    dialog.get_by_role("button", name="Prepare in the background").click()
    expect(page.get_by_role("article")).to_contain_text("CSV · Asia/Tokyo")
    query.clock.now += timedelta(seconds=1)
    page.goto(f"{query.url}/audit-log")
    page.get_by_role("button", name="Export options").click()
    page.get_by_label("Parquet").check()
    page.get_by_role("button", name="Prepare in the background").click()
    expect(page.get_by_role("article").first).to_contain_text("Parquet")
    jobs = query.client("w1").get("/v1/exports").json()["data"]
    assert (jobs[0]["format"], jobs[0]["raw"]) == ("parquet", False)
    assert (jobs[1]["tz"], jobs[1]["raw"]) == ("Asia/Tokyo", True)
    assert len(jobs[1]["columns"]) == 16
    assert "actor_email" not in jobs[1]["columns"]


def test_a_job_is_cancelled_and_tried_again(viewer: BrowserContext, query: QueryService) -> None:
    """Each by its button; a queued one shows its progress, a cancelled one says so."""
    page = Visitor(viewer, query).open(FILTERED, "w1")
    prepare(page)
    job = page.get_by_role("article")
    expect(job.get_by_role("progressbar")).to_be_visible()
    job.get_by_role("button", name="Cancel").click()
    expect(job).to_contain_text("Cancelled")
    expect(job.get_by_role("progressbar")).to_have_count(0)
    job.get_by_role("button", name="Try again").click()
    expect(job).to_contain_text("Queued")


def test_what_has_expired_keeps_its_manifest(viewer: BrowserContext, query: QueryService) -> None:
    """Its files are named, and can no longer be fetched."""
    make_key(query)
    page = Visitor(viewer, query).open(FILTERED, "w1")
    prepare(page)
    with Turns(query, settings_of(query)) as worker:
        worker.all()
        query.clock.now += timedelta(days=8)
        worker.tidy()
    page = Visitor(viewer, query).open("/audit-log/exports", "w1")
    job = page.get_by_role("article")
    expect(job).to_contain_text("Expired")
    job.get_by_text("Files (1)").click()
    expect(job.get_by_role("cell", name="part-00001.csv.gz")).to_be_visible()
    expect(job.get_by_role("link", name="part-00001")).to_have_count(0)
    expect(job.get_by_role("link", name="manifest.json", exact=True)).to_be_visible()


def test_who_may_not_export_is_told_why(viewer: BrowserContext, query: QueryService) -> None:
    """A preview's list has the way to upgrade; another workspace's export is a 404 in every form."""
    page = Visitor(viewer, query).open(FILTERED, "w1")
    prepare(page)
    export_id = query.client("w1").get("/v1/exports").json()["data"][0]["id"]
    query.workspace("w2")
    foreign = query.browser("w2")
    for name in ("parts/1", "manifest.json", "manifest.json.sig", "README.txt"):
        assert foreign.get(f"/audit-log/exports/{export_id}/{name}").status_code == 404
    assert foreign.post(f"/audit-log/exports/{export_id}/cancel").status_code == 403
    query.access.set_plan("w1", "starter")
    page.reload()
    expect(page.get_by_text("Exports are part of the Advanced and Enterprise plans.")).to_be_visible()
    expect(page.get_by_role("link", name="Upgrade")).to_be_visible()


def test_jobs_need_no_javascript(browser: Browser, query: QueryService) -> None:
    """Prepared, looked at again by a button, and cancelled."""
    context = browser.new_context(java_script_enabled=False)
    page = Visitor(context, query).open(FILTERED, "w1")
    prepare(page)
    page.get_by_role("link", name="Refresh").click()
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("article")).to_contain_text("Cancelled")
    context.close()
