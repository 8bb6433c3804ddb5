"""How fresh the log is."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from audit_infra.http.credentials import Credentials
from audit_infra.http.problems import refuse_parameters
from audit_query.service import Service


class FreshnessApi:
    """The handlers."""

    def __init__(self, service: Service, credentials: Credentials) -> None:
        self._service, self._principal = service, credentials.principal

    async def freshness(self, request: Request) -> Response:
        principal = await self._principal(request)
        refuse_parameters(request.query_params.keys())
        return JSONResponse(await self._service.freshness.report(principal))

    def routes(self) -> list[Route]:
        """The routes."""
        return [
            Route("/v1/freshness", self.freshness),
        ]


__all__ = ["FreshnessApi"]
