"""Places in the log that addresses of the page name: walking from one to the next meets every event once."""

from __future__ import annotations

import re
import uuid
from datetime import timedelta
from html import unescape
from typing import TYPE_CHECKING

import pytest

from tests.builders import NOON, event

if TYPE_CHECKING:
    from collections.abc import Sequence

    import httpx

    from tests.support.query_service import QueryService

_PLACE = re.compile(r'data-place="([^"]+,[^"]+)"')
_FORM = '<form method="get" action="/audit-log" id="{}-form">(.*?)</form>'
_INPUT = re.compile(r'<input type="hidden" name="([^"]+)" value="([^"]*)">')


def shown(browser: httpx.Client, params: Sequence[tuple[str, str]]) -> str:
    answer = browser.get("/audit-log", params=tuple(params))
    assert answer.status_code == 200, answer.text
    return answer.text


def places(html: str) -> list[str]:
    return [unescape(place) for place in _PLACE.findall(html)]


def following(html: str, name: str) -> list[tuple[str, str]] | None:
    """What the Older or Newer button of a page sends; None where there is none."""
    form = re.search(_FORM.format(name), html, re.DOTALL)
    return None if form is None else [(unescape(key), unescape(value)) for key, value in _INPUT.findall(form[1])]


@pytest.fixture
def filled(query: QueryService) -> QueryService:
    """130 events of one moment or another, several at the same one, each stored twice."""
    events = [
        event(
            occurred_at=NOON - timedelta(hours=number // 7),
            event_type="file.deleted" if number % 3 else "file.moved",
        )
        for number in range(130)
    ]
    query.tables.put(*events)
    query.tables.put(*events)
    return query


def walk(browser: httpx.Client, html: str, name: str) -> list[list[str]]:
    """The places on all pages along Older or Newer, beginning with this one; the last page's are last."""
    found = [places(html)]
    while (params := following(html, name)) is not None:
        html = shown(browser, params)
        found.append(places(html))
    return found


def test_older_meets_every_event_once_and_newer_leads_back(filled: QueryService) -> None:
    """In the order of the API, with every filter; Newer from the end visits the same pages and ends at the newest."""
    browser = filled.browser()
    for filters in ([], [("event", "file.deleted")], [("not_event", "file.moved"), ("since", "7d")]):
        api = filled.client().get("/v1/events", params=[*filters, ("limit", "500")]).json()["data"]
        pages = walk(browser, shown(browser, filters), "older")
        assert [place.partition(",")[2] for page in pages for place in page] == [row["event_id"] for row in api]
        last = shown(browser, [*filters, ("at", pages[-1][0])])
        assert walk(browser, last, "newer") == pages[::-1]


def test_a_place_keeps_working_when_newer_events_arrive(filled: QueryService) -> None:
    """A shared link shows the same events tomorrow; Newer then has somewhere to lead."""
    browser = filled.browser()
    first = shown(browser, [])
    second = following(first, "older")
    assert second is not None
    before = places(shown(browser, second))
    filled.tables.put(*(event(occurred_at=NOON + timedelta(seconds=number)) for number in range(1, 60)))
    html = shown(browser, second)
    assert places(html) == before
    newer = following(html, "newer")
    assert newer is not None
    assert places(shown(browser, newer)) == places(first)


def test_a_place_where_nothing_is_begins_with_the_next_older_event(filled: QueryService) -> None:
    """The event a link names may be hidden by a filter or gone."""
    place = f"{NOON - timedelta(minutes=30):%Y-%m-%dT%H:%M:%S.%fZ},00000000-0000-4000-8000-000000000000"
    found = places(shown(filled.browser(), [("at", place)]))
    assert found[0].startswith("2026-03-14T11:00:00")


def test_what_is_no_place_is_refused(filled: QueryService) -> None:
    """With a sentence that names the parameter."""
    for at in ("yesterday", "2026-03-14T12:00:00Z", "2026-03-14T12:00:00Z,x", f"2026-03-14T12:00:00,{uuid.uuid4()}"):
        answer = filled.browser().get("/audit-log", params={"at": at})
        assert answer.status_code == 400
        assert "is not a place in the log" in answer.text


def test_newer_events_are_counted_from_the_top_row(filled: QueryService) -> None:
    """Nothing is answered while there are none; filters count."""
    browser = filled.browser()
    top = places(shown(browser, []))[0]
    assert browser.get("/audit-log/newer", params={"at": top}).status_code == 204
    filled.tables.put(
        *(event(occurred_at=NOON + timedelta(seconds=number), event_type="file.moved") for number in range(1, 4))
    )
    assert "3 new events" in browser.get("/audit-log/newer", params={"at": top}).text
    assert browser.get("/audit-log/newer", params={"at": top, "event": "file.deleted"}).status_code == 204
    filled.tables.put(*(event(occurred_at=NOON + timedelta(minutes=number)) for number in range(1, 120)))
    assert "99+ new events" in browser.get("/audit-log/newer", params={"at": top}).text
