"""What the tests of the page share: a service for a whole module, signed-in browsers, and what went wrong in them."""

from __future__ import annotations

import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.support.query_service import QueryService
from tests.support.rows import Tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize

    from tests.support.servers import ClickHouseServer

WIDE: ViewportSize = {"width": 1280, "height": 800}


@contextmanager
def served(
    clickhouse: ClickHouseServer, folder: Path, stage: Callable[[QueryService], object], **overrides: Any
) -> Iterator[QueryService]:
    """A query service over tables of its own that `stage` fills: one for all tests of a module."""
    name = f"t{uuid.uuid4().hex[:12]}"
    tables = Tables(clickhouse.url, "default")
    tables.client.command(f"CREATE DATABASE {name}")
    Tables(clickhouse.url, name).migrate()
    service = QueryService(clickhouse.url, name, folder, overrides)
    try:
        stage(service)
        yield service
    finally:
        service.close()
        tables.client.command(f"DROP DATABASE IF EXISTS {name} SYNC")
        tables.close()


@contextmanager
def signed_in(
    browser: Browser, query: QueryService, workspace: str = "w1", *, first_visit: bool = False, **options: Any
) -> Iterator[Page]:
    """A page of a browser of its own, in Berlin unless said otherwise, that shows nothing yet.

    But on a first visit the service knows the browser's time zone already, which saves reading the page twice.
    """
    chosen = {"timezone_id": "Europe/Berlin", "locale": "en-US", "viewport": WIDE, **options}
    context = browser.new_context(**chosen)
    try:
        enter(context, query, workspace)
        if not first_visit:
            context.add_cookies([{"name": "tz", "value": chosen["timezone_id"], "url": query.url}])
        yield context.new_page()
    finally:
        context.close()


def enter(context: BrowserContext, query: QueryService, workspace: str = "w1") -> None:
    """Signs in without showing a page."""
    assert context.request.get(query.sign_in_url(workspace), max_redirects=0).status == 303


def watched(page: Page) -> list[str]:
    """Whatever the browser complains about from now on: blocked files, failed scripts, dialogs of injected code."""
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: complaints.append(f"error: {error}"))

    def opened(dialog: Any) -> None:
        complaints.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    page.on("dialog", opened)
    return complaints


__all__ = ["WIDE", "enter", "served", "signed_in", "watched"]
