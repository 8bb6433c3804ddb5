"""Pages of events and single ones."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from audit_infra.http.accept import media_type
from audit_infra.http.credentials import Credentials
from audit_infra.http.problems import refuse_parameters
from audit_query.openapi.operation import JSON
from audit_query.openapi.operations import NDJSON
from audit_query.service import Service


class EventsApi:
    """The handlers."""

    def __init__(self, service: Service, credentials: Credentials) -> None:
        self._service, self._principal = service, credentials.principal

    async def events(self, request: Request) -> Response:
        form = media_type(",".join(request.headers.getlist("accept")), (JSON, NDJSON))
        principal, params = await self._principal(request), request.query_params.multi_items()
        page = await self._service.events.page(principal, params)
        self._service.self_audit.listed(principal, params)
        links = [(relation, query) for relation, query in (("next", page.next), ("prev", page.prev)) if query]
        headers = {"Vary": "Accept"}
        if links:
            headers["Link"] = ", ".join(f'<{request.url.path}?{query}>; rel="{name}"' for name, query in links)
        if form == JSON:
            return JSONResponse(page.body(request.url.path), headers=headers)
        headers |= {"Audit-Complete-Through": page.complete_through["all"] or "unknown"} | _preview(page.preview)
        lines = "".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in page.rows)
        return Response(lines, headers=headers, media_type=NDJSON)

    async def event(self, request: Request) -> Response:
        principal = await self._principal(request)
        refuse_parameters(request.query_params.keys())
        complete_through = await self._service.freshness.complete_through()
        event = await self._service.events.event(principal, request.path_params["event_id"])
        self._service.self_audit.viewed(principal)
        return JSONResponse({"data": event, "complete_through": complete_through})

    def routes(self) -> list[Route]:
        """The routes."""
        return [
            Route("/v1/events", self.events),
            Route("/v1/events/{event_id}", self.event),
        ]


def _preview(preview: dict[str, Any] | None) -> dict[str, str]:
    """What the plan takes away, as a dictionary of structured fields (RFC 9651): never silent, here neither."""
    if preview is None:
        return {}
    texts = [f"{name}={json.dumps(preview[name])}" for name in ("since", "plan", "upgrade_url")]
    return {"Audit-Preview": ", ".join([*texts, f"clamped=?{int(preview['clamped'])}"])}


__all__ = ["EventsApi"]
