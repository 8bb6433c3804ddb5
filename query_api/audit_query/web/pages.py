"""The page's own routes: signing in, the log, one event, the download, and what only the local demo shows."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from audit_infra.access import PLANS, Access, AccessError, HostTokens, Principal, Sessions, Unauthenticated
from audit_infra.http.failures import Failures
from audit_infra.http.problems import ProblemError
from audit_query.problems import unavailable
from audit_query.self_audit_events import Change
from audit_query.service import Service
from audit_query.stream import Relayed
from audit_query.times import zone_of
from audit_query.web import view
from audit_schemas.errors import AuditError

COOKIE = "audit_session"
PATH = "/audit-log"
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self';"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    # Not no-referrer: with that browsers send the page's own forms as `Origin: null`.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
_SEARCHES = ("user_search", "event_search")
_LOOK_UPS = 5
"""Chosen users beyond the list whose names are looked up; more are shown by their id."""
_FORM: Final = {"max_files": 0, "max_fields": 10, "max_part_size": 16_384}
"""What a form of the page, or one with a token, may hold; anybody can send one."""
Handler = Callable[[Request], Awaitable[Response]]


def _with_zone(params: view.Params, zone: ZoneInfo) -> view.Params:
    """Dates on the page are the viewer's days."""
    names = {name for name, _ in params}
    return [*params, ("tz", zone.key)] if names & {"since", "until"} and "tz" not in names else params


class Assets(StaticFiles):
    """The page's own files: kept by browsers, and asked about each time, so that an upgrade shows at once."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """As Starlette makes it, with the caching rule."""
        answer = super().file_response(*args, **kwargs)
        answer.headers["Cache-Control"] = "no-cache"
        return answer


class Web:
    """The page for one service. A cookie says who looks; it is never taken as a credential of the API."""

    def __init__(
        self,
        *,
        service: Service,
        access: Access,
        sessions: Sessions,
        tokens: HostTokens,
        failures: Failures,
        address: Callable[[Request], str],
        local: bool,
        events_docs_url: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._service, self._access, self._sessions = service, access, sessions
        self._tokens, self._local, self._clock = tokens, local, clock
        self._failures, self._address = failures, address
        self._events_docs_url = events_docs_url
        self._templates = Environment(
            loader=PackageLoader("audit_query.web"),
            autoescape=select_autoescape(),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def routes(self) -> list[BaseRoute]:
        """The routes of the page; the host shell and the plan switch only on the local stack."""
        found: list[BaseRoute] = [
            Route(PATH, self._shown(self.log)),
            Route(f"{PATH}/sign-in", self._shown(self.sign_in)),
            Route(f"{PATH}/session", self._shown(self.session), methods=["POST"]),
            Route(f"{PATH}/sign-out", self._shown(self.sign_out), methods=["POST"]),
            Route(f"{PATH}/export.csv", self._shown(self.export)),
            Route(f"{PATH}/users", self._shown(self.users)),
            Route(f"{PATH}/events/{{event_id}}", self._shown(self.event)),
            Mount(f"{PATH}/static", Assets(directory=Path(str(files("audit_query.web"))) / "static")),
        ]
        if self._local:
            found += [
                Route("/", self._shown(self.home)),
                Route("/settings", self._shown(self.settings)),
                Route("/upgrade", self._shown(self.upgrade)),
                Route("/upgrade", self._shown(self.switch_plan), methods=["POST"]),
            ]
        return found

    def _shown(self, handler: Handler) -> Handler:
        """Errors as pages a person can read."""

        async def shown(request: Request) -> Response:
            try:
                return await handler(request)
            except AuditError as error:
                return self.refusal(request, error)

        return shown

    def refusal(self, request: Request, error: AuditError) -> Response:
        """What a person reads of an error."""
        headers: dict[str, str] = {}
        match error:
            case Unauthenticated():
                return self._render("signed_out.html", request, 401, why=str(error))
            case ProblemError():
                faults = [f"{fault.name}: {fault.message}" for fault in error.faults] or [error.detail]
                status, title, headers = error.status, error.title, error.headers
            case AccessError():
                status, title, faults = 403, "Not allowed", [str(error)]
            case _:
                problem = unavailable()
                status, title, faults = 503, "One moment", [f"{problem.title}; {problem.detail}"]
        answer = self._render("problem.html", request, status, title=title, faults=faults)
        answer.headers.update(headers)
        return answer

    async def who(self, request: Request) -> Principal | None:
        """Who is signed in, None when nobody is."""
        try:
            return self._principal(request)
        except Unauthenticated:
            return None

    def _render(self, template: str, request: Request, status: int = 200, **values: Any) -> HTMLResponse:
        cookie = request.cookies.get(COOKIE, "")
        common = {
            "path": PATH,
            "local": self._local,
            "zone": self._zone(request).key,
            "form_token": self._sessions.form_token(cookie) if cookie else "",
            "principal": None,
        }
        html = self._templates.get_template(template).render(common | values)
        return HTMLResponse(html, status, headers=_HEADERS)

    def _principal(self, request: Request) -> Principal:
        cookie = request.cookies.get(COOKIE)
        if not cookie:
            raise Unauthenticated("You are not signed in")
        return self._sessions.principal(cookie, self._clock())

    def _zone(self, request: Request) -> ZoneInfo:
        """The viewer's zone: as the address has it, else as the browser told in a cookie, else UTC."""
        for name in (request.query_params.get("tz"), request.cookies.get("tz")):
            if name:
                try:
                    return zone_of(name)
                except ValueError:
                    continue
        return ZoneInfo("UTC")

    async def log(self, request: Request) -> Response:
        """The table with its filters."""
        principal = self._principal(request)
        zone = self._zone(request)
        search, event_search = (request.query_params.get(name, "")[:200] for name in _SEARCHES)
        given = request.query_params.multi_items()
        params = [(name, value) for name, value in given if value and name not in _SEARCHES]
        asked = _with_zone(params, zone)
        page, users, events, seen, workspace = await asyncio.gather(
            self._service.events.page(principal, asked),
            self._users(principal, search, [value for name, value in params if name == "user"]),
            self._service.facets.event_types(principal, []),
            self._service.plans.visibility(principal),
            run_in_threadpool(self._access.get_workspace, principal.workspace_id),
        )
        self._service.self_audit.listed(principal, asked)
        chosen = [value for name, value in params if name == "event"]
        occurring = [one for one in events.rows if one["count"]]
        event_options = view.event_options(occurring, chosen, self._service.catalogue.category_labels)
        filters = [(name, value) for name, value in params if name in view.FILTERS]
        return self._render(
            "audit_log.html",
            request,
            principal=principal,
            workspace=workspace,
            rows=[view.row_view(row, zone) for row in page.rows],
            users=users,
            events=view.matching(event_options, event_search),
            event_search=event_search,
            user_search=search,
            kept=[(name, value) for name, value in filters if name not in ("user", "event")],
            chips=view.chips(filters, users, event_options, PATH),
            newer=f"{PATH}?{page.prev}" if page.prev else None,
            older=f"{PATH}?{page.next}" if page.next else None,
            newest=view.address(PATH, filters) if any(name == "cursor" for name, _ in params) else None,
            export=view.address(f"{PATH}/export.csv", filters),
            freshness=view.freshness(page.complete_through, zone),
            preview=page.preview,
            full=seen.full,
            upgrade_url=seen.upgrade_url,
            events_docs_url=self._events_docs_url,
        )

    async def _users(self, principal: Principal, search: str, chosen: Sequence[str]) -> list[view.Option]:
        """The users to tick; the chosen ones by name even where they are not among the latest."""
        facet = (await self._service.facets.users(principal, [("search", search)])).rows
        known = {one["value"] for one in facet}
        for value in [value for value in chosen if value not in known][:_LOOK_UPS]:
            found = await self._service.facets.users(principal, [("search", (value.partition(":")[2] or value)[:200])])
            facet += [one for one in found.rows if one["value"] == value]
        return view.user_options(facet, chosen)

    async def event(self, request: Request) -> Response:
        """Everything about one event."""
        principal = self._principal(request)
        row = await self._service.events.event(principal, request.path_params["event_id"])
        self._service.self_audit.viewed(principal)
        fields = view.details(row, self._zone(request), self._service.catalogue.category_labels)
        workspace = await run_in_threadpool(self._access.get_workspace, principal.workspace_id)
        return self._render(
            "event.html", request, principal=principal, workspace=workspace, title=row["label"], fields=fields
        )

    async def users(self, request: Request) -> Response:
        """The users that match, for the search box."""
        principal = self._principal(request)
        search = request.query_params.get("search", "")[:200]
        options = view.user_options((await self._service.facets.users(principal, [("search", search)])).rows, [])
        return JSONResponse(
            [{"value": one.value, "label": one.label, "note": one.note} for one in options], headers=_HEADERS
        )

    async def export(self, request: Request) -> Response:
        """The CSV of what the filters show, in the viewer's zone, with a byte-order mark for spreadsheets."""
        principal = self._principal(request)
        own = {"tz", "bom", "format"}
        params = [(name, value) for name, value in request.query_params.multi_items() if name not in own]
        zone = self._zone(request).key
        headers, body = await self._service.download.csv(principal, [*params, ("tz", zone), ("bom", "1")])
        return await Relayed.begin(headers, body)

    async def sign_in(self, request: Request) -> Response:
        """Turns a code into a session and leaves the code behind."""
        code = request.query_params.get("code", "")
        with self._failures.attempt(self._address(request), code):
            principal = await run_in_threadpool(self._access.redeem_sign_in_code, code, self._clock())
        answer = self._signed_in(request, principal)
        answer.headers["Referrer-Policy"] = "no-referrer"
        return answer

    async def session(self, request: Request) -> Response:
        """The host product posts a token of its own; one in an address is never taken."""
        token = str((await request.form(**_FORM)).get("token", ""))
        with self._failures.attempt(self._address(request), token):
            principal = await self._tokens.principal(token)
        return self._signed_in(request, principal)

    def _signed_in(self, request: Request, principal: Principal) -> Response:
        answer = RedirectResponse(PATH, 303, headers=_HEADERS)
        answer.set_cookie(
            COOKIE,
            self._sessions.cookie(principal, self._clock()),
            httponly=True,
            samesite="lax",
            secure=request.url.scheme == "https",
            path="/",
        )
        return answer

    async def sign_out(self, request: Request) -> Response:
        """Ends the session."""
        await self._require_own_form(request)
        answer = RedirectResponse(PATH, 303, headers=_HEADERS)
        answer.delete_cookie(COOKIE, path="/")
        return answer

    async def home(self, request: Request) -> Response:
        """The demo's host product."""
        principal = self._principal(request)
        workspace = await run_in_threadpool(self._access.get_workspace, principal.workspace_id)
        return self._render("home.html", request, principal=principal, workspace=workspace)

    async def settings(self, request: Request) -> Response:
        """The demo's settings, where the log is found."""
        principal = self._principal(request)
        workspace = await run_in_threadpool(self._access.get_workspace, principal.workspace_id)
        return self._render("settings.html", request, principal=principal, workspace=workspace)

    async def upgrade(self, request: Request) -> Response:
        """The demo's price list."""
        principal = self._principal(request)
        workspace = await run_in_threadpool(self._access.get_workspace, principal.workspace_id)
        return self._render("upgrade.html", request, principal=principal, workspace=workspace, plans=PLANS[1:])

    async def switch_plan(self, request: Request) -> Response:
        """Puts the viewer's workspace on another plan."""
        form = await self._require_own_form(request)
        principal = self._principal(request)
        before = await run_in_threadpool(self._access.get_workspace, principal.workspace_id)
        after = await run_in_threadpool(self._access.set_plan, principal.workspace_id, str(form.get("plan", "")))
        change = Change(principal.workspace_id, "plan_changed", principal, before.plan, after.plan)
        await self._service.self_audit.changed(change)
        return RedirectResponse(PATH, 303, headers=_HEADERS)

    async def _require_own_form(self, request: Request) -> Any:
        """Only a form this page made, posted from this page. Raises `AccessError`."""
        form = await request.form(**_FORM)
        cookie = request.cookies.get(COOKIE, "")
        origin = request.headers.get("origin", "")
        site = request.headers.get("sec-fetch-site", "same-origin" if origin else "")
        same = site == "same-origin" and (not origin or urlsplit(origin).netloc == request.url.netloc)
        if not same or not self._sessions.form_is_ours(cookie, str(form.get("form_token", ""))):
            raise AccessError("This form was not sent from this page; open the page again")
        return form


__all__ = ["COOKIE", "PATH", "Web"]
