"""The number of events over time."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from audit_infra.http.credentials import Credentials
from audit_query.service import Service


class HistogramApi:
    """The handlers."""

    def __init__(self, service: Service, credentials: Credentials) -> None:
        self._service, self._principal = service, credentials.principal

    async def histogram(self, request: Request) -> Response:
        principal = await self._principal(request)
        bars = await self._service.histogram.histogram(principal, request.query_params.multi_items())
        return JSONResponse({"interval": bars.interval, **bars.facet.body()})

    def routes(self) -> list[Route]:
        """The routes."""
        return [Route("/v1/histogram", self.histogram)]


__all__ = ["HistogramApi"]
