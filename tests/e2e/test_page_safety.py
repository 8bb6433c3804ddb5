"""Whatever people or programs write into an event is text, and the page does only what its own viewer asks for."""

from __future__ import annotations

import gzip
from datetime import timedelta
from importlib.resources import files
from typing import TYPE_CHECKING
from urllib.parse import quote

import jwt
import pytest
from playwright.sync_api import expect

from tests.builders import NOON, event
from tests.support.browsing import signed_in, watched
from tests.support.query_service import JWT_SECRET

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

    from tests.support.query_service import QueryService

EVIL = "\"><img src=x onerror=alert(1)>'{{7*7}}"
"""Short enough for a metadata key, with a letter before it."""
TYPE = "<svg/onload=alert(3)>"
ODD = "018e3f5c-0000-7000-8000-0000000000aa"
LONG = "018e3f5c-0000-7000-8000-0000000000bb"
TURNED = "\u202eevil\u202d"
HEBREW = "\u05e2\u05de\u05d9\u05ea"
NAMES = (f"Ada{TURNED}", f"{HEBREW} 1", "zero\u200bwidth\u2060", "two\nlines\r\nand\ttab", "\u2066\u2067isolates")
LIMIT = 60 * 1024


def stage(query: QueryService) -> None:
    """One event with markup in each of its fields, one with values as long as can be, and people with odd names."""
    query.workspace()
    query.workspace("other")
    person = {"id": EVIL, "name": f"name{EVIL}"}
    query.tables.put(
        event(
            event_id=ODD,
            event_type=TYPE,
            category="developer",
            label=f"label{EVIL}",
            actor={"type": "client", "email": f"mail{EVIL}", **person},
            on_behalf_of={"type": "internal_user", "id": f"behalf{EVIL}", "name": f"behalf{EVIL}"},
            app_id=f"app{EVIL}",
            user_agent=f"agent{EVIL}",
            outcome="failure",
            outcome_reason=f"why{EVIL}",
            targets=[{"type": "file", "id": f"t{n}{EVIL}", "name": f"target{n}{EVIL}"} for n in range(2)],
            changes=[{"path": f"path{EVIL}", "old": f"old{EVIL}", "new": {EVIL: EVIL}}],
            metadata={f"k{EVIL}": f"value{EVIL}", "nested": {EVIL: [EVIL]}},
            request_id=f"request{EVIL}",
            session_id=f"session{EVIL}",
            producer={"service": f"service{EVIL}", "instance": "i", "version": "1", "seq": 1},
        ),
        event(
            event_id=LONG,
            event_type="file.moved",
            actor={"type": "client", "id": "long", "name": "N" * 256, "email": "e" * 320},
            user_agent="U" * 1024,
            targets=[{"type": "file", "id": "i" * 128, "name": "W" * 256}],
            changes=[{"path": "p" * 256, "old": "o" * 2000, "new": "n" * 2000}],
            metadata={"k" * 40: "v" * 500},
            request_id="r" * 128,
        ),
        *(
            event(
                event_type="file.viewed",
                actor={"type": "client", "id": f"odd{number}", "name": name},
                targets=[{"type": "file", "id": "f", "name": name}],
            )
            for number, name in enumerate(NAMES)
        ),
    )
    query.tables.progress(NOON)


@pytest.fixture
def page(browser: Browser, log: QueryService) -> Iterator[Page]:
    with signed_in(browser, log) as page:
        yield page


def test_markup_in_every_field_is_shown_as_text(page: Page, log: QueryService) -> None:
    """In the table, the chips, each panel, the drawer, the event's own page; nothing runs, nothing is loaded."""
    complaints = watched(page)
    wanted = [("user", f"client:{EVIL}"), ("event", TYPE), ("not_target", f"file:{EVIL}")]
    wanted += [
        ("app", f"app{EVIL}"),
        (f"meta.k{EVIL}", f"value{EVIL}"),
        ("request_id", f"request{EVIL}"),
    ]
    query = "&".join(f"{quote(name)}={quote(value)}" for name, value in wanted)
    page.goto(f"{log.url}/audit-log?{query}")
    row = page.locator("tr.one")
    expect(row).to_have_count(1)
    for text in (f"name{EVIL}", f"via app{EVIL}"[:50], f"behalf{EVIL}", f"label{EVIL}", f"target0{EVIL}"):
        expect(row).to_contain_text(text)
    expect(row.locator("td.agent bdi")).to_have_attribute("title", f"agent{EVIL}")
    chips = page.get_by_role("list", name="Active filters")
    for text in (f"User: name{EVIL}", f"Target: not {EVIL}", f"App: app{EVIL}"[:60], f"value{EVIL}"):
        expect(chips).to_contain_text(text)
    for name, text in (("User", f"name{EVIL}"), ("Event", f"label{EVIL}")):
        page.get_by_role("button", name=name).first.click()
        expect(page.get_by_role("dialog").get_by_text(text).first).to_be_visible()
        page.keyboard.press("Escape")
    for name, text in (("Target", f"target0{EVIL}"), ("App", f"app{EVIL}"), ("Metadata", f"value{EVIL}")):
        page.get_by_role("button", name="Add filter").click()
        page.get_by_role("link", name=name, exact=True).click()
        expect(page.get_by_role("dialog").get_by_text(text).first).to_be_visible()
        page.keyboard.press("Escape")
    page.get_by_role("button", name="Export options").click()
    expect(page.locator("#export-options input[name=user]")).to_have_value(f"client:{EVIL}")
    page.keyboard.press("Escape")
    row.get_by_role("link").click()
    drawer = page.get_by_role("dialog", name="Event details")
    parts = (
        "label",
        "name",
        "mail",
        "behalf",
        "app",
        "agent",
        "why",
        "target1",
        "path",
        "old",
        "k",
        "value",
        "request",
    )
    for part in (*parts, "session", "service"):
        expect(drawer).to_contain_text(f"{part}{EVIL}")
    expect(drawer.locator("ins")).to_contain_text(EVIL)
    page.goto(f"{log.url}/audit-log/events/{ODD}")
    expect(page.get_by_role("heading", level=1)).to_have_text(f"label{EVIL}")
    assert page.locator("main img, main script, main svg").count() == 0
    assert complaints == []


def test_what_a_search_or_an_address_says_is_text(page: Page, log: QueryService) -> None:
    """Reflected in a search box, in a problem, in a typed value that is refused."""
    complaints = watched(page)
    for address in (
        f"/audit-log?{quote(EVIL)}=1",
        f"/audit-log?since={quote(EVIL)}",
        f"/audit-log?at={quote(EVIL)}",
        f"/audit-log?show={quote(EVIL)}",
        f"/audit-log/events/{quote(EVIL, safe='')}",
        f"/audit-log/choose/user?search={quote(EVIL)}&from={quote('q=' + quote(EVIL))}",
        f"/audit-log/apply?panel=ip&add={quote(EVIL)}",
        f"/audit-log/apply?panel=meta&key={quote(EVIL)}&add=1",
    ):
        page.goto(log.url + address)
        expect(page.get_by_role("heading", level=1)).to_be_attached()
        assert page.locator("main img, main script, main [onload]").count() == 0, address
    unexpected = [one for one in complaints if "the server responded with a status of 4" not in one]
    assert unexpected == []


def test_odd_characters_do_not_reach_beyond_their_name(page: Page, log: QueryService) -> None:
    """Overrides, isolates, Hebrew, line ends and characters without width stay in their cell; neighbours read as ever."""
    page.goto(log.url + "/audit-log?event=file.viewed")
    rows = page.locator("tr.one")
    expect(rows).to_have_count(len(NAMES))
    assert set(rows.locator("td.actor > bdi").evaluate_all("all => all.map((one) => one.textContent)")) == {
        name.replace("\r\n", "\n") for name in NAMES
    }
    # Every name is followed by the kind, which would be turned round, too, if the name were not isolated.
    for kind in rows.locator("td.actor small").all():
        expect(kind).to_have_text("Client")
    heights = rows.evaluate_all("all => [...new Set(all.map((one) => Math.round(one.getBoundingClientRect().height)))]")
    assert len(heights) == 1
    page.goto(log.url + "/audit-log?user=client%3Aodd0")
    chip = page.get_by_role("list", name="Active filters").get_by_role("listitem")
    cross = chip.get_by_role("link").bounding_box()
    name = chip.locator("bdi").bounding_box()
    assert cross is not None
    assert name is not None
    assert name["x"] + name["width"] <= cross["x"]


def test_the_longest_values_break_nothing(page: Page, log: QueryService) -> None:
    """Two thousand characters without a blank: cut in the table, whole in the drawer, and nothing scrolls sideways."""
    page.goto(log.url + f"/audit-log?event=file.moved&show={LONG}")
    drawer = page.get_by_role("dialog", name="Event details")
    expect(drawer.locator("ins")).to_have_text("n" * 2000)
    assert drawer.locator(".body").evaluate("one => one.scrollWidth <= one.clientWidth")
    page.keyboard.press("Escape")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator("tr.one").evaluate("one => one.getBoundingClientRect().height") < 60


def test_the_strict_policy_blocks_nothing_and_nothing_comes_from_elsewhere(page: Page, log: QueryService) -> None:
    """No inline script or style is allowed, nor needed; every request goes to the service."""
    complaints = watched(page)
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    pages = ("/", "/settings", "/upgrade", f"/audit-log/events/{ODD}", "/docs", "/docs/problems", "/audit-log")
    answers = [page.goto(log.url + address) for address in pages]
    for answer in answers:
        assert answer is not None
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
    page.get_by_role("button", name="User", exact=True).click()
    page.get_by_role("searchbox", name="Search users").fill("name")
    expect(page.get_by_role("dialog").get_by_role("checkbox")).to_have_count(1)
    page.keyboard.press("Escape")
    page.locator("tr.one").first.get_by_role("link").click()
    expect(page.get_by_role("dialog", name="Event details").get_by_role("heading").first).to_be_visible()
    page.keyboard.press("Escape")
    page.evaluate("document.body.append(Object.assign(document.createElement('script'), { text: 'window.ran = 1' }))")
    assert page.evaluate("window.ran") is None
    assert [one for one in complaints if "window.ran" not in one and "inline script" not in one] == []
    assert all(request.startswith((log.url, "data:")) for request in requests)
    assert len(requests) > 10


def test_all_scripts_together_are_small_and_their_licence_lies_beside_them() -> None:
    """At most 60 KB after gzip -9, HTMX included."""
    folder = files("audit_query.web") / "static"
    scripts = [*folder.iterdir(), *(folder / "htmx").iterdir()]
    sizes = {one.name: len(gzip.compress(one.read_bytes(), 9)) for one in scripts if one.name.endswith(".js")}
    assert {"htmx.min.js", "zone.js", "page.js"} <= sizes.keys()
    assert sum(sizes.values()) <= LIMIT, sizes
    assert "Zero-Clause BSD" in (folder / "htmx" / "LICENSE").read_text("utf-8")


def test_nobody_is_sent_elsewhere(log: QueryService) -> None:
    """Neither by `back` of a form, nor by `return_to` of a sign-in, nor by the cookie that remembers the way."""
    client = log.browser()
    token = _token(client.get("/audit-log").text)
    own = {"Origin": log.url, "Sec-Fetch-Site": "same-origin"}
    claims = {"iss": "portal", "aud": "audit-log", "sub": "u1", "workspace": "w1", "exp": NOON + timedelta(minutes=5)}
    host = jwt.encode(claims, JWT_SECRET, "HS256")
    for place in (
        "https://evil.example/audit-log",
        "//evil.example",
        "/\\evil.example/audit-log",
        "/audit-log/../evil",
    ):
        form = {"form_token": token, "zone": "UTC", "back": place}
        answers = [client.post("/audit-log/zone", data=form, headers=own, follow_redirects=False)]
        answers.append(log.guest().post("/audit-log/session", data={"token": host, "return_to": place}))
        answers.append(log.guest(cookies={"audit_return": place}).get(log.sign_in_url()))
        for answer in answers:
            assert (answer.status_code, answer.headers.get("location")) == (303, "/audit-log"), place
    answer = log.guest(cookies={"audit_return": f"/audit-log/events/{ODD}"}).get(log.sign_in_url())
    assert answer.headers["location"] == f"/audit-log/events/{ODD}"


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("/audit-log/zone", {"zone": "UTC"}),
        ("/audit-log/sign-out", {}),
        ("/workspace", {"workspace": "other"}),
        ("/upgrade", {"plan": "starter"}),
    ],
)
def test_a_form_of_somebody_else_changes_nothing(log: QueryService, path: str, form: dict[str, str]) -> None:
    """Without the token, with another's token, from another origin, or with neither header: 403, in words."""
    client = log.browser()
    ours = {"Origin": log.url, "Sec-Fetch-Site": "same-origin"}
    token = _token(client.get("/audit-log").text)
    others = _token(log.browser("other").get("/audit-log").text)
    for headers, value in (
        (ours, ""),
        (ours, others),
        (ours, token[::-1]),
        ({"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}, token),
        ({"Origin": "https://evil.example"}, token),
        ({"Origin": "null", "Sec-Fetch-Site": "same-origin"}, token),
        ({"Sec-Fetch-Site": "same-site"}, token),
        ({}, token),
    ):
        answer = client.post(path, data={**form, "form_token": value}, headers=headers, follow_redirects=False)
        assert answer.status_code == 403, headers
        assert "This form was not sent from this page" in answer.text
        assert "set-cookie" not in answer.headers
    assert log.access.get_workspace("w1").plan == "enterprise"
    assert client.get("/audit-log").status_code == 200
    assert client.get(path).status_code in (200, 404, 405)


def test_what_is_not_there_is_a_404_and_a_part_of_the_page_needs_the_session(log: QueryService) -> None:
    """A filter that none is; and nobody reads a panel, the figure or an event without being signed in."""
    client = log.browser()
    for address in (
        "/audit-log/choose/nothing",
        "/audit-log/choose/",
        "/audit-log/apply?panel=nothing",
        "/audit-log/apply",
    ):
        assert client.get(address).status_code == 404, address
    guest = log.guest()
    parts = ("", "/choose/user", "/apply?panel=user", "/activity", "/newer", f"/events/{ODD}", "/export")
    for part in parts:
        for headers in ({}, {"HX-Request": "true"}):
            answer = guest.get(f"/audit-log{part}", headers=headers)
            assert answer.status_code == 401, part
            assert "alert(1)" not in answer.text
            assert "Sign in" in answer.text


def _token(html: str) -> str:
    return html.split('name="form_token" value="')[1].split('"')[0]
