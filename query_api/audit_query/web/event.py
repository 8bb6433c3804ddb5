"""One event: in the drawer of the page, or on a page of its own that can be sent to somebody."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from audit_query.service import Service
from audit_query.web.details import details
from audit_query.web.rendering import Rendering
from audit_query.web.session import Session


class Event:
    """An event of another workspace, one the plan hides and one that never was are the same 404."""

    def __init__(self, service: Service, session: Session, rendering: Rendering) -> None:
        self._service, self._session, self._rendering = service, session, rendering

    async def page(self, request: Request) -> Response:
        """Everything about one event."""
        principal = self._session.principal(request)
        row = await self._service.events.event(principal, request.path_params["event_id"])
        self._service.self_audit.viewed(principal)
        viewer = self._rendering.viewer(request)
        one = details(row, viewer, self._service.catalogue.category_labels)
        return await self._rendering.within(principal, "details.html", "event.html", request, one=one)


__all__ = ["Event"]
