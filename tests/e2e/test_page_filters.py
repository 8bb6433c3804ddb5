"""What people can filter by: each filter's address and events, how filters come off, and what the page counts."""

from __future__ import annotations

import json
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import jwt
import pytest
from playwright.sync_api import expect

from audit_infra.access import Scope
from audit_schemas.catalogue import load
from tests.builders import NOON, event
from tests.e2e.conftest import EVENTS
from tests.support.page import Visitor, apply, choose, filters, newest, settled, shown
from tests.support.query_service import JWT_SECRET
from tests.support.stage import WORKSPACE

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import BrowserContext, Route

    from audit_schemas.event import Event
    from tests.e2e.conftest import Stage
    from tests.support.query_service import QueryService

    Wanted = Callable[[Event], bool]

NETWORK = ip_network("198.51.100.0/24")
CATEGORY_OF = {one.name: one.category for one in load()}


def category(one: Event) -> str:
    return CATEGORY_OF.get(one.event_type, "developer")


@pytest.mark.parametrize(
    ("name", "box", "pair", "wanted"),
    [
        ("Category", "Contracts", ("category", "contracts"), lambda one: category(one) == "contracts"),
        ("Source", "Automation", ("source", "automation"), lambda one: one.source == "automation"),
        ("Actor type", "API key", ("actor_type", "api_key"), lambda one: one.actor.type == "api_key"),
        ("Outcome", "Failure", ("outcome", "failure"), lambda one: one.outcome == "failure"),
    ],
)
def test_what_is_one_of_a_few_is_ticked(
    visitor: Visitor, stage: Stage, name: str, box: str, pair: tuple[str, str], wanted: Wanted
) -> None:
    """Category, source, actor type and outcome: the address and the events are those of the box."""
    page = visitor.open()
    choose(page, name).get_by_role("checkbox", name=box).check()
    apply(page)
    assert filters(page) == [pair]
    assert shown(page) == newest(stage.events, wanted)
    expect(page.get_by_role("list", name="Active filters").get_by_role("listitem")).to_contain_text(f"{name}: {box}")


@pytest.mark.parametrize(
    ("name", "field", "pair", "wanted"),
    [
        ("IP address", "Address or network", ("ip", "192.0.2.44"), lambda one: one.ip == "192.0.2.44"),
        (
            "IP address",
            "Address or network",
            ("ip", str(NETWORK)),
            lambda one: bool(one.ip) and ip_address(one.ip) in NETWORK,
        ),
        ("App", "Id of the app", ("app", "time-tracker"), lambda one: one.app_id == "time-tracker"),
        ("Words", "Every one of these words", ("q", "passport scan"), lambda one: "Passport scan" in str(one.targets)),
    ],
    ids=["address", "network", "app", "words"],
)
def test_what_can_be_anything_is_typed(
    visitor: Visitor, stage: Stage, name: str, field: str, pair: tuple[str, str], wanted: Wanted
) -> None:
    """IP address or network, app and words: the address and the events are those that were typed."""
    page = visitor.open()
    choose(page, name).get_by_label(field).fill(pair[1])
    apply(page)
    assert filters(page) == [pair]
    assert shown(page) == newest(stage.events, wanted)


def test_a_request_is_typed(visitor: Visitor, stage: Stage) -> None:
    """Its events alone are left; the panel shows what is filtered by and takes it away again."""
    request_id = stage.events[-1].request_id
    page = visitor.open()
    choose(page, "Request").get_by_label("Id of the request").fill(request_id)
    apply(page)
    assert filters(page) == [("request_id", request_id)]
    assert shown(page) == newest(stage.events, lambda one: one.request_id == request_id)
    choose(page, "Request").get_by_role("checkbox", name=request_id).uncheck()
    apply(page)
    assert filters(page) == []


def test_metadata_is_a_key_and_a_value(visitor: Visitor, stage: Stage) -> None:
    """The chip names both, and so does the panel."""
    page = visitor.open()
    panel = choose(page, "Metadata")
    panel.get_by_label("Key").fill("method")
    panel.get_by_label("Value").fill("magic_link")
    apply(page)
    assert filters(page) == [("meta.method", "magic_link")]
    assert shown(page) == newest(stage.events, lambda one: json.loads(one.metadata).get("method") == "magic_link")
    expect(page.get_by_role("list", name="Active filters")).to_contain_text("method: magic_link")
    expect(choose(page, "Metadata").get_by_role("checkbox", name="method = magic_link")).to_be_checked()


def test_targets_are_searched_by_name(visitor: Visitor, stage: Stage) -> None:
    """What was acted on is found by what it is called, and stands in the address by its id."""
    target = next(one.targets[0] for one in reversed(stage.events) if one.event_type == "invoice.created")
    page = visitor.open()
    panel = choose(page, "Target")
    panel.get_by_role("searchbox", name="Search targets").fill(target.name)
    expect(panel.get_by_role("checkbox")).to_have_count(1)
    panel.get_by_role("checkbox", name=target.name).check()
    apply(page)
    assert filters(page) == [("target", f"invoice:{target.id}")]
    assert shown(page) == newest(stage.events, lambda one: any(each.id == target.id for each in one.targets))
    expect(page.get_by_role("list", name="Active filters")).to_contain_text(f"Target: {target.name}")


def test_the_search_box_looks_for_words_and_shows_them(visitor: Visitor, stage: Stage) -> None:
    """Enter looks for them at once; other words take their place, and none are none."""
    page = visitor.open("/audit-log?source=web")
    box = page.get_by_role("searchbox", name="Search words")
    for words in ("jonas", "jonas renew"):
        box.fill(words)
        page.keyboard.press("Enter")
        settled(page)
        assert filters(page) == [("source", "web"), ("q", words)]
        expect(box).to_have_value(words)
        expect(box).to_be_focused()

    def wanted(one: Event) -> bool:
        return one.actor.name == "Jonas Weber" and any("Renew" in each.name for each in one.targets)

    assert shown(page) == newest(stage.events, wanted) != []
    box.fill("")
    page.keyboard.press("Enter")
    settled(page)
    assert filters(page) == [("source", "web")]


def test_date_ranges_are_picked(visitor: Visitor, stage: Stage) -> None:
    """Each preset takes the place of the one before, and the number of events is that of the range."""
    page = visitor.open()
    quarter = datetime(2025, 12, 31, 23, tzinfo=UTC)
    for name, value, since in (
        ("Last 15 minutes", "15m", NOON - timedelta(minutes=15)),
        ("Last 24 hours", "24h", NOON - timedelta(hours=24)),
        ("Last 7 days", "7d", NOON - timedelta(days=7)),
        ("Last 30 days", "30d", NOON - timedelta(days=30)),
        ("This quarter", "2026-01-01T00:00:00+01:00", quarter),
    ):
        choose(page, "Date range").get_by_role("button", name=name).click()
        settled(page)
        assert filters(page) == [("since", value)]
        number = sum(one.occurred_at >= since for one in stage.events)
        expect(page.locator("#activity").get_by_role("status")).to_have_text(f"{number:,} events")


def test_a_range_of_ones_own_is_in_the_viewers_time(visitor: Visitor, stage: Stage) -> None:
    """The end is not included; the address has the offset, so that it means the same for everybody."""
    page = visitor.open()
    panel = choose(page, "Date range")
    panel.get_by_label("From").fill("2026-03-02T09:00:00")
    panel.get_by_label("To, not included").fill("2026-03-02T17:30:00")
    apply(page)
    assert filters(page) == [("since", "2026-03-02T09:00:00+01:00"), ("until", "2026-03-02T17:30:00+01:00")]
    begin, end = datetime(2026, 3, 2, 8, tzinfo=UTC), datetime(2026, 3, 2, 16, 30, tzinfo=UTC)
    assert shown(page) == newest(stage.events, lambda one: begin <= one.occurred_at < end) != []
    chips = page.get_by_role("list", name="Active filters").locator("li bdi")
    expect(chips).to_have_text(["From Mar 2, 2026 09:00:00", "Before Mar 2, 2026 17:30:00"])


def test_what_is_ticked_can_be_left_out(visitor: Visitor, stage: Stage) -> None:
    """The chip says "not", and the panel opens with what is left out."""
    page = visitor.open()
    panel = choose(page, "Source")
    panel.get_by_role("checkbox", name="Web").check()
    panel.get_by_role("radio", name="Leave these out").check()
    apply(page)
    assert filters(page) == [("not_source", "web")]
    assert shown(page) == newest(stage.events, lambda one: one.source != "web")
    expect(page.get_by_role("list", name="Active filters")).to_contain_text("Source: not Web")
    panel = choose(page, "Source")
    expect(panel.get_by_role("radio", name="Leave these out")).to_be_checked()
    expect(panel.get_by_role("checkbox", name="Web")).to_be_checked()


def test_what_is_left_out_stays_so_when_something_is_looked_for(visitor: Visitor, stage: Stage) -> None:
    """A panel shows one side of its filter; Apply leaves the other side as it was, and other filters too."""
    left_out = [("not_category", "files"), ("not_category", "messages")]
    page = visitor.open(f"/audit-log?{urlencode([('source', 'web'), ('category', 'crm'), *left_out])}")
    panel = choose(page, "Category")
    expect(panel.get_by_role("checkbox", checked=True)).to_have_count(1)
    panel.get_by_role("checkbox", name="Billing").check()
    apply(page)
    assert sorted(filters(page)) == sorted([("source", "web"), *left_out, ("category", "crm"), ("category", "billing")])
    wanted = ("crm", "billing")
    assert shown(page) == newest(stage.events, lambda one: one.source == "web" and category(one) in wanted)


def test_chips_come_off_one_by_one_and_all_at_once(visitor: Visitor, stage: Stage) -> None:
    """Each × leaves the others; Clear all leaves nothing."""
    page = visitor.open("/audit-log?event=file.deleted&event=file.moved&source=web&since=30d")
    chips = page.get_by_role("list", name="Active filters").locator("li bdi")
    expect(chips).to_have_text(["Event: File Deleted", "Event: File Moved", "Source: Web", "Last 30 days"])
    page.get_by_role("link", name="Remove filter Event: File Moved").click()
    expect(chips).to_have_text(["Event: File Deleted", "Source: Web", "Last 30 days"])
    settled(page)
    assert shown(page) == newest(stage.events, lambda one: one.event_type == "file.deleted")
    page.get_by_role("link", name="Clear all").click()
    expect(page.get_by_role("list", name="Active filters")).to_have_count(0)
    expect(page).to_have_url(f"{stage.query.url}/audit-log")


def test_each_box_tells_how_many_events_it_stands_for(visitor: Visitor, stage: Stage) -> None:
    """Of users and of categories, as the events themselves say."""
    page = visitor.open()
    panel = choose(page, "User")
    box = panel.get_by_role("checkbox", name="Marta Vidal")
    number = sum(one.actor.name == "Marta Vidal" for one in stage.events)
    expect(box).to_have_accessible_name(f"Marta Vidal Client · marta.vidal@mail.example {number}")
    page.keyboard.press("Escape")
    panel = choose(page, "Category")
    counts = Counter(category(one) for one in stage.events)
    for name, label in load().category_labels.items():
        expect(panel.get_by_role("checkbox", name=f"{label} {counts[name]}", exact=True)).to_be_visible()


def test_all_event_types_of_a_category_are_ticked_at_once(visitor: Visitor, stage: Stage) -> None:
    """A second time takes the ticks away."""
    page = visitor.open()
    panel = choose(page, "Event")
    billing = {name for name, each in CATEGORY_OF.items() if each == "billing"}
    everything = panel.get_by_role("button", name="Select all in Billing")
    everything.click()
    ticked = panel.get_by_role("checkbox", checked=True)
    expect(ticked).to_have_count(len(billing))
    everything.click()
    expect(ticked).to_have_count(0)
    everything.click()
    apply(page)
    assert {value for _, value in filters(page)} == billing
    assert shown(page) == newest(stage.events, lambda one: one.event_type in billing)


def test_the_activity_is_drawn_and_told_in_words_and_as_a_table(visitor: Visitor, stage: Stage) -> None:
    """The sentence, the bars and the table agree with the number of events."""
    page = visitor.open("/audit-log?event=file.deleted&since=7d")
    wanted = [one for one in stage.events if one.event_type == "file.deleted"]
    number = sum(one.occurred_at >= NOON - timedelta(days=7) for one in wanted)
    figure = page.get_by_role("img")
    expect(figure).to_have_accessible_name(re.compile(f"^{number} events by "))
    page.get_by_role("button", name="As a table").click()
    counts = page.get_by_role("dialog", name="Events over time").locator("tbody td:last-child").all_inner_texts()
    assert sum(map(int, counts)) == number
    expect(figure.locator("rect")).to_have_count(len(counts))


def test_more_events_than_are_counted_are_told_as_more_than(viewer: BrowserContext, query: QueryService) -> None:
    """Counting ends at 10,000."""
    query.tables.multiply(10_000 // EVENTS)
    page = Visitor(viewer, query).open(workspace="w1")
    expect(page.locator("#activity").get_by_role("status")).to_have_text("More than 10,000 events")


def test_reading_the_log_can_be_hidden(visitor: Visitor, stage: Stage) -> None:
    """The log's own reading is shown at first; hidden it is one chip, and comes back."""
    workspace = stage.query.workspace("reads")
    for number, name in enumerate(("audit_log.viewed", "file.deleted", "audit_log.searched")):
        at = NOON - timedelta(minutes=number)
        kind = "developer" if name.startswith("audit") else "files"
        stage.query.tables.put(event(workspace_id=workspace, event_type=name, category=kind, occurred_at=at))
    page = visitor.open(workspace=workspace)
    expect(page.locator("tr.one")).to_have_count(3)
    page.get_by_role("link", name="Hide audit-log reads").click()
    expect(page.locator("td.event a")).to_have_text(["File Deleted"])
    expect(page.get_by_role("list", name="Active filters").locator("li bdi")).to_have_text(["Audit-log reads hidden"])
    page.get_by_role("link", name="Show audit-log reads").click()
    expect(page.locator("tr.one")).to_have_count(3)


def test_what_is_wrong_is_told_in_the_panel(visitor: Visitor, stage: Stage) -> None:
    """With what was typed still there, ready to be mended; the table stays as it is."""
    page = visitor.open("/audit-log?source=api")
    panel = choose(page, "IP address")
    panel.get_by_label("Address or network").fill("300.1.2.3")
    panel.get_by_role("button", name="Apply").click()
    expect(panel.get_by_role("alert")).to_contain_text("'300.1.2.3' is not an IP address")
    expect(panel.get_by_label("Address or network")).to_have_value("300.1.2.3")
    expect(panel.get_by_label("Address or network")).to_be_focused()
    settled(page)
    assert filters(page) == [("source", "api")]
    assert shown(page) == newest(stage.events, lambda one: one.source == "api")
    panel.get_by_label("Address or network").fill("192.0.2.44")
    apply(page)
    assert filters(page) == [("source", "api"), ("ip", "192.0.2.44")]


def test_a_range_that_ends_before_it_begins_is_told_in_the_panel(visitor: Visitor) -> None:
    """Both times stay as they were typed."""
    page = visitor.open()
    panel = choose(page, "Date range")
    panel.get_by_label("From").fill("2026-03-05T09:00:30")
    panel.get_by_label("To, not included").fill("2026-03-02T17:30:15")
    panel.get_by_role("button", name="Apply").click()
    expect(panel.get_by_role("alert")).to_have_text("The end must be later than the beginning")
    expect(panel.get_by_label("From")).to_have_value("2026-03-05T09:00:30")
    expect(panel.get_by_label("To, not included")).to_have_value("2026-03-02T17:30:15")
    assert filters(page) == []


def test_a_tick_is_kept_while_a_search_is_under_way(visitor: Visitor) -> None:
    """The answer to what was asked before the tick does not take it away."""
    page = visitor.open()
    panel = choose(page, "User")
    late: list[Route] = []
    page.route("**/choose/user?*search=vidal*", lambda route: late.append(route), times=1)
    with page.expect_request("**/choose/user?*search=vidal*"):
        panel.get_by_role("searchbox", name="Search users").fill("vidal")
    panel.get_by_role("checkbox", name="Dana Reyes").check()
    expect(panel.get_by_role("checkbox")).to_have_count(2)
    expect(panel.get_by_role("checkbox", name="Dana Reyes")).to_be_checked()
    assert len(late) == 1


def test_without_the_right_to_personal_data_nobody_filters_by_it(visitor: Visitor, stage: Stage) -> None:
    """No filter by IP address and no search for words is offered; the others are, and addresses are masked."""
    lasts = NOON + timedelta(minutes=5)
    claims = {"iss": "portal", "aud": "audit-log", "sub": "u9", "workspace": WORKSPACE, "exp": lasts}
    claims["scopes"] = [Scope.READ]
    token = jwt.encode(claims, JWT_SECRET, "HS256")
    visitor.context.request.post(f"{stage.query.url}/audit-log/session", form={"token": token}, max_redirects=0)
    page = visitor.go()
    expect(page.locator("tr.one")).to_have_count(50)
    expect(page.get_by_role("searchbox", name="Search words")).to_have_count(0)
    page.get_by_role("button", name="Add filter").click()
    expect(page.get_by_role("dialog").get_by_role("link", name="Category")).to_be_visible()
    expect(page.get_by_role("dialog").get_by_role("link", name="IP address")).to_have_count(0)
    expect(page.get_by_role("dialog").get_by_role("link", name="Words")).to_have_count(0)
    assert not {one.ip for one in stage.events if one.ip} & set(page.locator("td.ip").all_inner_texts())
