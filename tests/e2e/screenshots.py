"""`make screenshots`: the states of the page as PNG in docs/images/, over the demo's stories at a fixed moment."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from playwright.sync_api import sync_playwright

from tests.e2e.conftest import chromium
from tests.support.clickhouse import ClickHouseProcess
from tests.support.exports import Turns, make_key, settings_of
from tests.support.query_service import QueryService
from tests.support.rows import Tables
from tests.support.stage import WORKSPACE, set_the_stage

if TYPE_CHECKING:
    from playwright.sync_api import Page

FOLDER: Final = Path("docs/images")
Do = Callable[["Page"], object]


def opened(panel: str) -> Do:
    """A filter's own button was pressed, and its panel has arrived."""

    def do(page: Page) -> None:
        page.get_by_role("button", name=panel, exact=True).click()
        page.get_by_role("button", name="Apply").wait_for()

    return do


def added(panel: str) -> Do:
    """A filter was picked behind "Add filter"."""

    def do(page: Page) -> None:
        page.get_by_role("button", name="Add filter").click()
        page.get_by_role("link", name=panel).click()
        page.get_by_role("button", name="Apply").wait_for()

    return do


def searched(page: Page) -> None:
    opened("Event")(page)
    page.get_by_role("searchbox", name="Search events").fill("delet")
    page.get_by_label("Login Failed").wait_for(state="hidden")
    page.get_by_label("File Deleted").check()


def detailed(page: Page) -> None:
    page.locator("td.event a").first.click()
    page.get_by_role("heading", name="Changes").wait_for()


def refused(page: Page) -> None:
    added("IP address")(page)
    page.get_by_label("Address or network").fill("203.0.113")
    page.get_by_role("button", name="Apply").click()
    page.get_by_role("alert").get_by_role("listitem").wait_for()


def options(page: Page) -> None:
    page.get_by_role("button", name="Export options").click()
    page.get_by_role("button", name="Download").wait_for()


def keys(page: Page) -> None:
    page.keyboard.press("?")
    page.get_by_role("dialog", name="Keyboard shortcuts").wait_for()


WIDE: Final = {"width": 1280, "height": 800}
NARROW: Final = {"width": 390, "height": 844}
FILTERED: Final = "/audit-log?category=authentication&outcome=failure&since=7d"
# Name → address, what is done there, and how the browser is set up.
STATES: Final[dict[str, tuple[str, Do | None, dict[str, Any]]]] = {
    "page": ("/audit-log", None, {"viewport": WIDE}),
    "page-dark": ("/audit-log", None, {"viewport": WIDE, "color_scheme": "dark"}),
    "page-narrow": ("/audit-log", None, {"viewport": NARROW}),
    "page-contrast": ("/audit-log", None, {"viewport": WIDE, "contrast": "more"}),
    "users": ("/audit-log", opened("User"), {"viewport": WIDE}),
    "events": ("/audit-log", searched, {"viewport": WIDE}),
    "filtered": (FILTERED, None, {"viewport": WIDE}),
    "range": ("/audit-log", added("Date range"), {"viewport": WIDE}),
    "bad-input": ("/audit-log", refused, {"viewport": WIDE}),
    "details": ("/audit-log?event=internal_user.role_changed", detailed, {"viewport": WIDE}),
    "details-narrow": (
        "/audit-log?event=internal_user.role_changed",
        detailed,
        {"viewport": NARROW, "color_scheme": "dark"},
    ),
    "export-options": (FILTERED, options, {"viewport": WIDE}),
    "keys": ("/audit-log", keys, {"viewport": WIDE}),
    "empty": ("/audit-log?user=nobody", None, {"viewport": WIDE}),
    "problem": ("/audit-log?colour=red", None, {"viewport": WIDE}),
    "without-script": ("/audit-log", None, {"viewport": WIDE, "java_script_enabled": False}),
}


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        engine = ClickHouseProcess(folder / "clickhouse", log_path=folder / "clickhouse.log")
        engine.start()
        try:
            Tables(engine.url, "default").client.command("CREATE DATABASE page")
            tables = Tables(engine.url, "page")
            tables.migrate()
            tables.close()
            service = QueryService(engine.url, "page", folder, {"events_docs_url": "/docs"})
            try:
                set_the_stage(service)
                take(service)
            finally:
                service.close()
        finally:
            engine.stop()


def take(service: QueryService) -> None:
    """Every state, then those of a preview and of nobody."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])

        def shoot(name: str, address: str, do: Do | None, setup: dict[str, Any], *, signed_in: bool = True) -> None:
            context = browser.new_context(timezone_id="Europe/Berlin", locale="en-GB", **setup)
            page = context.new_page()
            if signed_in:
                page.goto(service.sign_in_url(WORKSPACE))
            page.goto(service.url + address)
            if setup.get("java_script_enabled", True) and page.locator("#activity").count():
                page.locator("#activity .total").wait_for()
            if do is not None:
                do(page)
            page.screenshot(path=FOLDER / f"{name}.png")
            context.close()

        for name, (address, do, setup) in STATES.items():
            shoot(name, address, do, setup)
        export(service)
        shoot("exports", "/audit-log/exports", None, {"viewport": WIDE})
        shoot("signed-out", "/audit-log", None, {"viewport": WIDE}, signed_in=False)
        service.access.set_plan(WORKSPACE, "starter")
        shoot("preview", "/audit-log", None, {"viewport": WIDE})
        browser.close()


def export(service: QueryService) -> None:
    """A job that is done, one that was cancelled, one at work, one that waits."""
    make_key(service)
    client = service.client(WORKSPACE)

    def ask(number: int, format_: str, filter_: dict[str, list[str]]) -> str:
        service.clock.now += timedelta(minutes=1)
        body = {"format": format_, "filter": filter_, "tz": "Europe/Berlin"}
        headers = {"Idempotency-Key": f"screenshot {number}"}
        return str(client.post("/v1/exports", json=body, headers=headers).raise_for_status().json()["id"])

    with Turns(service, settings_of(service, export_part_rows=400)) as worker:
        ask(1, "csv", {"category": ["authentication"], "since": ["30d"]})
        worker.all()
        client.post(f"/v1/exports/{ask(2, 'ndjson', {'outcome': ['failure']})}/cancel").raise_for_status()
        ask(3, "parquet", {})
        for _ in range(2):
            worker.once()
        ask(4, "csv", {"actor_type": ["client"]})


if __name__ == "__main__":
    main()
