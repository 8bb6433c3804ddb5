"""Templates, what they all need, and the headers of every page. A fragment of a page is answered where HTMX asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse

from audit_infra.access import Access, Principal, Sessions
from audit_query.times import zone_of
from audit_query.web.address import PATH, place_text
from audit_query.web.messages import say
from audit_query.web.viewer import Viewer, language_of

COOKIE: Final = "audit_session"
ZONE_COOKIE: Final = "audit_zone"
"""The zone that was picked on the page; the browser's own stands in the cookie `tz`, which its script writes."""
HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self';"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    # Not no-referrer: with that browsers send the page's own forms as `Origin: null`.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Vary": "HX-Request, Cookie, Accept-Language",
}


def is_fragment(request: Request) -> bool:
    """Whether a part of a page is asked for, to be put into one that is there."""
    return request.headers.get("hx-request") == "true" and request.headers.get("hx-boosted") != "true"


class Rendering:
    """Makes pages. What people wrote is escaped; a value that a template lacks is an error."""

    def __init__(self, access: Access, sessions: Sessions, clock: Callable[[], datetime], *, local: bool) -> None:
        self._access, self._sessions, self._clock, self._local = access, sessions, clock, local
        self._templates = Environment(
            loader=PackageLoader("audit_query.web"),
            autoescape=select_autoescape(),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals.update(say=say, path=PATH, local=local, place_text=place_text)

    def viewer(self, request: Request) -> Viewer:
        """Whose eyes: the zone as the address has it, as it was picked, as the browser told, or UTC."""
        language = language_of(request.headers.get("accept-language", ""))
        picked = request.cookies.get(ZONE_COOKIE, "")
        for name in (request.query_params.get("tz", ""), picked, request.cookies.get("tz", "")):
            try:
                # Chosen, too, where the address names it: the browser's own must not replace either.
                return Viewer(zone_of(name), language, self._clock(), chosen=name != request.cookies.get("tz"))
            except ValueError:
                continue
        return Viewer(ZoneInfo("UTC"), language, self._clock())

    def page(self, template: str, request: Request, status: int = 200, **values: Any) -> HTMLResponse:
        """The template with its values and those that all have."""
        cookie = request.cookies.get(COOKIE, "")
        common: dict[str, Any] = {
            "viewer": self.viewer(request),
            "form_token": self._sessions.form_token(cookie) if cookie else "",
            "principal": None,
            "workspace": None,
            "workspaces": (),
        }
        html = self._templates.get_template(template).render(common | values)
        return HTMLResponse(html, status, headers=dict(HEADERS))

    def part(self, fragment: str, page: str, request: Request, status: int = 200, **values: Any) -> HTMLResponse:
        """The fragment alone where HTMX asks for it, else the page that holds it."""
        return self.page(fragment if is_fragment(request) else page, request, status, **values)

    async def within(
        self, principal: Principal, fragment: str, page: str, request: Request, status: int = 200, **values: Any
    ) -> HTMLResponse:
        """The same for somebody signed in: a whole page stands in their workspace, which a fragment need not know."""
        around = {} if is_fragment(request) else await self.surroundings(principal)
        return self.part(fragment, page, request, status, **around, **values)

    async def surroundings(self, principal: Principal) -> dict[str, Any]:
        """Where somebody is: the workspace, and those that the local stack can switch to."""
        return await run_in_threadpool(self._surroundings, principal)

    def _surroundings(self, principal: Principal) -> dict[str, Any]:
        workspace = self._access.get_workspace(principal.workspace_id)
        workspaces = self._access.list_workspaces() if self._local else ()
        return {"principal": principal, "workspace": workspace, "workspaces": workspaces}


__all__ = ["COOKIE", "HEADERS", "ZONE_COOKIE", "Rendering", "is_fragment"]
