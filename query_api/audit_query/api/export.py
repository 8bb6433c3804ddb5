"""The streamed export."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from audit_infra.http.credentials import Credentials
from audit_query.service import Service
from audit_query.stream import Relayed, encoded


class ExportApi:
    """The handlers."""

    def __init__(self, service: Service, credentials: Credentials) -> None:
        self._service, self._principal = service, credentials.principal

    async def export(self, request: Request) -> Response:
        principal = await self._principal(request)
        params = request.query_params.multi_items()
        if request.method == "HEAD":
            answer = Response()
            answer.raw_headers = encoded(await self._service.download.headers(principal, params))
            return answer
        headers, body = await self._service.download.stream(principal, params)
        return await Relayed.begin(headers, body)

    def routes(self) -> list[Route]:
        """The routes."""
        return [
            Route("/v1/export", self.export),
        ]


__all__ = ["ExportApi"]
