"""How tests look at the audit-log page: who looks, which events are shown, and what the address says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from playwright.sync_api import expect

from tests.support.browsing import enter
from tests.support.stage import WORKSPACE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from playwright.sync_api import BrowserContext, Locator, Page

    from audit_schemas.event import Event
    from tests.support.query_service import QueryService

ROWS = 50
"""The events of one page."""


@dataclass
class Visitor:
    """A person with a browser; `complaints` is what the browser did not like, which is nothing."""

    context: BrowserContext
    query: QueryService
    zone: str = "Europe/Berlin"
    complaints: list[str] = field(default_factory=list)

    def open(self, address: str = "/audit-log", workspace: str = WORKSPACE) -> Page:
        """The page signed in, in a browser that has told its zone before."""
        self.sign_in(workspace)
        return self.go(address)

    def sign_in(self, workspace: str = WORKSPACE) -> None:
        """Gives the browser a session of the workspace."""
        enter(self.context, self.query, workspace)
        self.context.add_cookies([{"name": "tz", "value": self.zone, "url": self.query.url}])

    def go(self, address: str = "/audit-log") -> Page:
        """A new tab there."""
        page = self.context.new_page()
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda message: self._heard(message.type, message.text))
        page.goto(self.query.url + address)
        return page

    def _heard(self, kind: str, text: str) -> None:
        # Answers that are errors, and requests nobody waits for any more, are told by the browser and by HTMX, too; the
        # tests that make some look at the page itself.
        if kind == "error" and not text.startswith(("Failed to load resource", "htmx:sendAbort", "htmx:afterRequest")):
            self.complaints.append(text)


def shown(page: Page) -> list[str]:
    """The ids of the events in the table, from its top on."""
    places = page.locator("tr.one").evaluate_all("rows => rows.map((row) => row.dataset.place)")
    return [place.partition(",")[2] for place in places]


def newest(events: Sequence[Event], wanted: Callable[[Event], bool], most: int = ROWS) -> list[str]:
    """The ids of the newest of these events that are wanted, as the table has them."""
    found = sorted((one for one in events if wanted(one)), key=lambda one: one.occurred_at, reverse=True)
    return [one.event_id for one in found[:most]]


def filters(page: Page) -> list[tuple[str, str]]:
    """What stands in the page's address."""
    return parse_qsl(urlsplit(page.url).query, keep_blank_values=True)


def settled(page: Page) -> None:
    """Waits until what was clicked is shown."""
    expect(page.locator("#log")).to_have_attribute("aria-busy", "false")


def choose(page: Page, name: str) -> Locator:
    """Opens a filter's panel, which is ready to be filled in then."""
    if name in ("User", "Event"):
        page.get_by_role("group", name="Filters").get_by_role("button", name=name).click()
    else:
        page.get_by_role("button", name="Add filter").click()
        page.get_by_role("dialog").get_by_role("link", name=name, exact=True).click()
    panel = page.get_by_role("dialog")
    expect(panel.get_by_role("heading", name=name, exact=True)).to_be_visible()
    return panel


def apply(page: Page) -> None:
    """Applies the open panel and waits for what it shows."""
    page.get_by_role("dialog").get_by_role("button", name="Apply").click()
    settled(page)


__all__ = ["ROWS", "Visitor", "apply", "choose", "filters", "newest", "settled", "shown"]
