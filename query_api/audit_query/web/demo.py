"""What stands in for the host product on the local stack: its home, its settings, its plans, other workspaces."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from audit_infra.access import PLANS, Access
from audit_query.self_audit_events import Change
from audit_query.service import Service
from audit_query.web.address import PATH
from audit_query.web.rendering import HEADERS, Rendering
from audit_query.web.session import Session


class Demo:
    """Served only where `AUDIT_LOCAL` is set: whoever is signed in may change the plan and the workspace."""

    def __init__(self, service: Service, access: Access, session: Session, rendering: Rendering) -> None:
        self._service, self._access, self._session, self._rendering = service, access, session, rendering

    async def home(self, request: Request) -> Response:
        """The host product."""
        return await self._page("home.html", request)

    async def settings(self, request: Request) -> Response:
        """The host product's settings, where the log is found."""
        return await self._page("settings.html", request)

    async def upgrade(self, request: Request) -> Response:
        """The price list."""
        return await self._page("upgrade.html", request, plans=PLANS[1:])

    async def switch_plan(self, request: Request) -> Response:
        """Puts the viewer's workspace on another plan."""
        form = await self._session.own_form(request)
        principal = self._session.principal(request)
        before = await run_in_threadpool(self._access.get_workspace, principal.workspace_id)
        after = await run_in_threadpool(self._access.set_plan, principal.workspace_id, str(form.get("plan", "")))
        change = Change(principal.workspace_id, "plan_changed", principal, before.plan, after.plan)
        await self._service.self_audit.changed(change)
        return RedirectResponse(PATH, 303, headers=dict(HEADERS))

    async def switch_workspace(self, request: Request) -> Response:
        """The same person in another workspace."""
        form = await self._session.own_form(request)
        principal = self._session.principal(request)
        other = await run_in_threadpool(self._access.get_workspace, str(form.get("workspace", "")))
        return self._session.signed_in(request, replace(principal, workspace_id=other.id))

    async def _page(self, template: str, request: Request, **values: Any) -> Response:
        around = await self._rendering.surroundings(self._session.principal(request))
        return self._rendering.page(template, request, **around, **values)


__all__ = ["Demo"]
