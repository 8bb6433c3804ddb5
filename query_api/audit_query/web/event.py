"""One event: in the drawer of the page, or on a page of its own that can be sent to somebody."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from audit_infra.access import Access
from audit_query.service import Service
from audit_query.web.details import details
from audit_query.web.rendering import Rendering
from audit_query.web.session import Session


class Event:
    """An event of another workspace, one the plan hides and one that never was are the same 404."""

    def __init__(self, service: Service, access: Access, session: Session, rendering: Rendering) -> None:
        self._service, self._access, self._session, self._rendering = service, access, session, rendering

    async def page(self, request: Request) -> Response:
        """Everything about one event."""
        principal = self._session.principal(request)
        row = await self._service.events.event(principal, request.path_params["event_id"])
        self._service.self_audit.viewed(principal)
        viewer = self._rendering.viewer(request)
        return self._rendering.part(
            "details.html",
            "event.html",
            request,
            principal=principal,
            workspace=await run_in_threadpool(self._access.get_workspace, principal.workspace_id),
            one=details(row, viewer, self._service.catalogue.category_labels),
        )


__all__ = ["Event"]
