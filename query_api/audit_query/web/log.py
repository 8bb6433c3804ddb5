"""The table with its filters, and the parts of the page that come after it: panels, the figure, what is newer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from audit_infra.access import Principal
from audit_infra.http.problems import ProblemError
from audit_query.budgets import OverBudget
from audit_query.events import Page
from audit_query.exports.csv_columns import COLUMNS
from audit_query.exports.form import FORMATS
from audit_query.histogram import Bars
from audit_query.service import Service
from audit_query.times import instant_of
from audit_query.web.address import Address
from audit_query.web.chips import READS, Names, chips
from audit_query.web.details import details
from audit_query.web.figure import figure
from audit_query.web.fresh import freshness
from audit_query.web.lookups import asked, look_up, note
from audit_query.web.messages import say
from audit_query.web.panels import OWN_BUTTONS, PANELS
from audit_query.web.rendering import HEADERS, Rendering, is_fragment
from audit_query.web.rows import crosses_clock_change, days
from audit_query.web.session import Session
from audit_query.web.viewer import Viewer

ROWS: Final = 50
_NEWER: Final = 100
"""Newer events are counted up to here; more are told as `99+`."""
_OWN_DAYS: Final = timedelta(days=93)
"""Longer ranges are drawn by the days of UTC, of which there are sums: those of weeks and months hardly differ."""
_COUNT: Final = (("count", "1"), ("limit", "1"), ("fields", "event_id"))
T = TypeVar("T")


class Log:
    """Every handler asks the services that the API asks, and has no query of its own."""

    def __init__(self, service: Service, session: Session, rendering: Rendering, events_docs_url: str) -> None:
        self._service, self._session, self._rendering = service, session, rendering
        self._events_docs_url = events_docs_url

    async def page(self, request: Request) -> Response:
        """The whole page: its rows are in the first answer, whatever the browser can do."""
        return await self.show(request, Address.of(request.query_params.multi_items()))

    async def show(self, request: Request, address: Address) -> Response:
        """The page that belongs to an address, whichever address it was asked at."""
        principal, viewer = self._session.principal(request), self._rendering.viewer(request)
        params = asked(address, viewer)
        stretch, around, shown = await asyncio.gather(
            self._service.events.stretch(principal, params, address.at, ROWS),
            self._rendering.surroundings(principal),
            self._shown(principal, address.show),
        )
        if address.at is None:
            self._service.self_audit.listed(principal, params)
        else:
            self._service.self_audit.viewed(principal)
        names = Names(self._service.catalogue)
        names.learn(stretch.rows)
        await look_up(self._service.facets, principal, address, names)
        moments = [datetime.fromisoformat(row["occurred_at"]) for row in stretch.rows]
        moments += _bounds(address, viewer)
        answer = self._rendering.page(
            "log.html",
            request,
            **around,
            address=address,
            days=days(stretch.rows, viewer),
            offsets=crosses_clock_change(moments, viewer),
            chips=chips(address, names, viewer),
            buttons=[(PANELS[name], len(PANELS[name].chosen(address.filters))) for name in OWN_BUTTONS],
            further=[one for one in PANELS.values() if one.name not in OWN_BUTTONS and one.may(principal)],
            words=PANELS["q"].may(principal),
            reads=address.without(*READS) if set(READS) <= {*address.filters} else None,
            no_reads=address.filtered((*address.without(*READS).filters, *READS)),
            older=address.starting(stretch.older) if stretch.older else None,
            newer=address.starting(stretch.newer) if stretch.newer or stretch.newest else None,
            fresh=freshness(stretch.complete_through, viewer, self._service.catalogue.category_labels),
            preview=stretch.preview,
            upgrade_url=stretch.preview["upgrade_url"] if stretch.preview else "",
            events_docs_url=self._events_docs_url,
            columns=COLUMNS,
            formats=FORMATS,
            shown=shown and details(shown, viewer, self._service.catalogue.category_labels),
        )
        if is_fragment(request):
            # The browser shows the address that belongs to what it got, wherever it asked.
            answer.headers["HX-Push-Url"] = address.link()
        return answer

    async def _shown(self, principal: Principal, event_id: str) -> dict[str, Any] | None:
        """The event whose details are open; nothing where it is gone or hidden, as the page is still good."""
        if not event_id:
            return None
        with contextlib.suppress(ProblemError):
            return await self._service.events.event(principal, event_id)
        return None

    async def activity(self, request: Request) -> Response:
        """How many events match, and when they happened."""
        principal, viewer = self._session.principal(request), self._rendering.viewer(request)
        address = Address.of(request.query_params.multi_items())
        params = asked(address, viewer)
        zoned = [*(pair for pair in params if pair[0] != "tz"), ("tz", viewer.zone.key)]
        counted, bars = await asyncio.gather(
            _in_time(self._service.events.page(principal, [*params, *_COUNT])),
            _in_time(self._service.histogram.histogram(principal, zoned, _OWN_DAYS)),
        )
        return await self._rendering.within(
            principal,
            "activity.html",
            "activity_page.html",
            request,
            address=address,
            count=_counted(counted, viewer),
            figure=bars and figure(bars.interval, bars.facet.rows, replace(viewer, zone=bars.zone)),
            note=_about(bars, viewer),
        )

    async def newer(self, request: Request) -> Response:
        """How many events came since the page was made: nothing while there are none."""
        principal, viewer = self._session.principal(request), self._rendering.viewer(request)
        address = Address.of(request.query_params.multi_items())
        found = await self._service.events.newer(principal, asked(address, viewer), address.at, _NEWER)
        if not found:
            return Response(status_code=204, headers=dict(HEADERS))
        count = f"{_NEWER - 1}+" if found >= _NEWER else viewer.number(found)
        return self._rendering.page(
            "newer.html", request, text=say("newer", n=found, count=count), link=address.starting(None).link()
        )


async def _in_time(question: Awaitable[T]) -> T | None:
    """The answer; None where it costs more than one may: the table is there all the same."""
    try:
        return await question
    except OverBudget:
        return None


def _counted(page: Page | None, viewer: Viewer) -> str:
    if page is None or page.count is None:
        return ""
    value = page.count["value"]
    return say("count_more" if page.count["capped"] else "count", n=value, count=viewer.number(value))


def _about(bars: Bars | None, viewer: Viewer) -> str:
    """What is to be known of the figure, empty when nothing is."""
    if bars is None:
        return say("count_costly")
    elsewhere = bars.interval and bars.zone != viewer.zone
    return " ".join(filter(None, (note(bars.facet), say("counted_in", zone=bars.zone.key) if elsewhere else "")))


def _bounds(address: Address, viewer: Viewer) -> list[datetime]:
    """The moments the filtered range lies between, where it names any."""
    found = []
    for name, value in address.filters:
        if name in ("since", "until"):
            with contextlib.suppress(ValueError, OverflowError):
                found.append(instant_of(value, viewer.zone, viewer.now, end=name == "until"))
    return found


__all__ = ["Log"]
