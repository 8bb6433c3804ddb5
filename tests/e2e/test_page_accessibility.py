"""The page keeps WCAG 2.2 AA as far as axe can tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.support.query_service import QueryService

RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


@pytest.mark.parametrize(
    ("scheme", "plan", "width"),
    [("light", "enterprise", 1280), ("dark", "starter", 1280), ("light", "starter", 390), ("dark", "enterprise", 390)],
)
def test_axe_finds_nothing(
    browser: Browser, query: QueryService, scheme: Literal["light", "dark"], plan: str, width: int
) -> None:
    """Every view, with open filters and without events, in both colour schemes, wide and narrow."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is missing")
    query.access.set_plan("w1", plan)
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 800})
    page = context.new_page()
    page.goto(query.sign_in_url())
    found = []
    for address in (
        "/audit-log",
        "/audit-log?user=nobody&event=x",
        "/settings",
        "/upgrade",
        "/docs",
        "/docs/problems",
        "/audit-log?x=1",
    ):
        page.goto(query.url + address)
        if address == "/audit-log":
            page.locator("summary", has_text="User").click()
        results = axe.Axe().run(page, options=RULES)
        found += [
            f"{address}: {one['id']}: {one['help']}: {[node['html'][:120] for node in one['nodes'][:3]]}"
            for one in results.response["violations"]
        ]
    context.close()
    assert found == []
