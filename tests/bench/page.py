"""How long the audit-log page takes in a real browser: until its rows are drawn, and from Apply to the new rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from playwright.sync_api import sync_playwright

from tests.bench.measure import percentile
from tests.e2e.conftest import chromium

if TYPE_CHECKING:
    from playwright.sync_api import Page

LOADS, APPLIES = 20, 50
_PAINTED = """() => new Promise((done) => {
  new PerformanceObserver((list) => done(list.getEntriesByName("first-contentful-paint")[0].startTime))
    .observe({ type: "paint", buffered: true });
})"""
_SHIFTED = """() => new Promise((done) => {
  let sum = 0;
  new PerformanceObserver((list) => { for (const one of list.getEntries()) if (!one.hadRecentInput) sum += one.value; })
    .observe({ type: "layout-shift", buffered: true });
  setTimeout(() => done(sum), 1500);
})"""
# From the press of the button until the page says that it is no longer busy, and until the next frame after that.
_APPLIED = """(button) => new Promise((done) => {
  const begun = performance.now();
  const busy = () => document.querySelector("#log")?.getAttribute("aria-busy") === "true";
  let was = false;
  const watch = new MutationObserver(() => {
    was ||= busy();
    if (!was || busy()) return;
    watch.disconnect();
    const ready = performance.now() - begun;
    requestAnimationFrame(() => requestAnimationFrame(() => done([ready, performance.now() - begun])));
  });
  watch.observe(document.body, { subtree: true, childList: true, attributeFilter: ["aria-busy"] });
  button.click();
})"""


@dataclass(frozen=True)
class PageWaits:
    """Milliseconds. Asked are 300 until the rows are painted (p95) and 200 until a filter is applied (p95).

    `shift` is the largest cumulative layout shift of a load; `drawn` lasts until the new rows are on the screen.
    """

    painted_p50: float
    painted_p95: float
    shift: float
    applied_p50: float
    applied_p95: float
    drawn_p95: float


def measure(sign_in_url: str, types: list[str]) -> PageWaits:
    """Loads the newest page, then applies one event filter after the other; each `types` is an event's label."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        page = browser.new_context(viewport={"width": 1440, "height": 900}, timezone_id="Europe/Berlin").new_page()
        page.goto(sign_in_url)
        address = page.url
        html = page.content()
        assert html.count('class="one"') == 50, "the rows are in the first answer"
        painted: list[float] = []
        shift = 0.0
        for number in range(LOADS + 2):
            page.goto(address)
            at: float = page.evaluate(_PAINTED)
            if number >= 2:
                painted.append(at)
                shift = max(shift, float(page.evaluate(_SHIFTED)))
        applies = [_apply(page, types[number % len(types)]) for number in range(APPLIES)]
        browser.close()
    painted.sort()
    applied, drawn = (sorted(each) for each in zip(*applies, strict=True))
    return PageWaits(
        painted_p50=percentile(painted, 0.5),
        painted_p95=percentile(painted, 0.95),
        shift=shift,
        applied_p50=percentile(applied, 0.5),
        applied_p95=percentile(applied, 0.95),
        drawn_p95=percentile(drawn, 0.95),
    )


def _apply(page: Page, label: str) -> tuple[float, float]:
    """Opens the event panel, ticks one type alone, applies."""
    page.get_by_role("button", name="Event").click()
    panel = page.get_by_role("dialog", name="Choose events")
    panel.get_by_role("searchbox").fill(label)
    box = panel.get_by_label(label, exact=False).first
    box.wait_for()
    for ticked in panel.get_by_role("checkbox", checked=True).all():
        ticked.uncheck()
    box.check()
    button: Any = panel.get_by_role("button", name="Apply").element_handle()
    ready, drawn = page.evaluate(_APPLIED, button)
    return ready, drawn


__all__ = ["PageWaits", "measure"]
