"""The panels in which filters are chosen, and Apply."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from audit_infra.access import Principal, Scope
from audit_infra.http.problems import Fault, ProblemError
from audit_query.facets import Facet
from audit_query.filters import Params, parse
from audit_query.problems import not_found
from audit_query.service import Service
from audit_query.web import options
from audit_query.web.address import Address
from audit_query.web.chips import Names
from audit_query.web.log import Log
from audit_query.web.lookups import LONGEST_SEARCH, asked, look_up, note
from audit_query.web.messages import say
from audit_query.web.panels import PANELS, PRESETS, Panel, applied, first
from audit_query.web.rendering import HEADERS, Rendering, is_fragment
from audit_query.web.session import Session


class Choosing:
    """Every handler asks the services that the API asks."""

    def __init__(self, service: Service, session: Session, rendering: Rendering, log: Log) -> None:
        self._service, self._session, self._rendering, self._log = service, session, rendering, log

    async def choose(self, request: Request) -> Response:
        """One filter's panel: what can be ticked, what is ticked, and a search."""
        panel = PANELS.get(request.path_params["name"])
        if panel is None:
            raise not_found(None)
        return await self._panel(request, panel)

    async def _panel(self, request: Request, panel: Panel, status: int = 200, faults: Sequence[Fault] = ()) -> Response:
        principal, viewer = self._session.principal(request), self._rendering.viewer(request)
        form = _form(request)
        address = Address.of(parse_qsl(first(form, "from"), keep_blank_values=True))
        was = first(form, "was") or ("exclude" if panel.excludes(address.filters) else "include")
        ticked = form.get("value", []) if "was" in form else panel.ticked(address.filters)
        search = first(form, "search")[:LONGEST_SEARCH]
        names = Names(self._service.catalogue)
        facet = await self._facet(principal, panel, search, asked(address, viewer))
        groups: list[options.Group]
        if panel.kind == "search":
            await look_up(
                self._service.facets, principal, Address(tuple((panel.name, value) for value in ticked)), names
            )
            groups = options.groups(panel.name, facet.rows if facet else (), ticked, names, viewer)
        elif panel.kind == "closed":
            counts = {one["value"]: one["count"] for one in facet.rows} if facet else {}
            groups = options.closed(panel.values, counts, panel.name, ticked, names, viewer)
        else:
            groups = options.typed(panel, ticked)
        answer = await self._rendering.within(
            principal,
            "panel.html",
            "choose.html",
            request,
            status,
            panel=panel,
            address=address,
            excludes=(first(form, "mode") or was) == "exclude",
            was=was,
            search=search,
            groups=groups,
            presets=PRESETS,
            typed={name: first(form, name) for name in ("add", "key", "since", "until")},
            note=note(facet),
            faults=faults,
        )
        if faults:
            # Into the panel that was sent, not in place of the page.
            form_of = f'form[data-panel="{panel.name}"]'
            answer.headers.update({"HX-Retarget": form_of, "HX-Reselect": "form", "HX-Reswap": "outerHTML"})
        return answer

    async def _facet(self, principal: Principal, panel: Panel, search: str, params: Params) -> Facet | None:
        facets = self._service.facets
        asking = {
            "user": facets.users,
            "event": facets.event_types,
            "target": facets.targets,
            "category": facets.categories,
            "source": facets.sources,
            "actor_type": facets.actor_types,
        }.get(panel.name)
        if asking is None:
            return None
        own = [("search", search)] if panel.kind == "search" else []
        return await asking(principal, [*params, *own])

    async def apply(self, request: Request) -> Response:
        """From a panel's form to the page's address; what is wrong with it is told in the panel."""
        form = _form(request)
        panel = PANELS.get(first(form, "panel"))
        if panel is None:
            raise not_found(None)
        principal, viewer = self._session.principal(request), self._rendering.viewer(request)
        address = Address.of(parse_qsl(first(form, "from"), keep_blank_values=True))
        try:
            address = address.filtered(applied(panel, address.filters, form, viewer))
            parse(asked(address, viewer), viewer.now, paging=False)
        except ValueError as error:
            return await self._panel(request, panel, 422, (Fault("", "not_a_time", str(error)),))
        except ProblemError as error:
            return await self._panel(request, panel, 422, [_told(fault) for fault in error.faults])
        principal.require(Scope.READ)
        if is_fragment(request):
            # A redirect would say the same a round trip later; the answer names its address.
            return await self._log.show(request, address)
        return RedirectResponse(address.link(), 303, headers=dict(HEADERS))


def _told(fault: Fault) -> Fault:
    """What is wrong in the words of the form, where the service speaks of its parameters."""
    return replace(fault, message=say("range_backwards")) if fault.code == "empty_range" else fault


def _form(request: Request) -> dict[str, list[str]]:
    return {name: request.query_params.getlist(name) for name in request.query_params}


__all__ = ["Choosing"]
