"""Events as they arrive."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from audit_infra.http.credentials import Credentials
from audit_query.following import HEADERS
from audit_query.service import Service
from audit_query.stream import Relayed


class FollowingApi:
    """The handlers."""

    def __init__(self, service: Service, credentials: Credentials) -> None:
        self._service, self._principal = service, credentials.principal

    async def stream(self, request: Request) -> Response:
        body = self._service.following.stream(
            lambda: self._principal(request),
            request.query_params.multi_items(),
            request.headers.get("last-event-id", ""),
            request.state.request_id,
        )
        return await Relayed.begin(HEADERS, body)

    def routes(self) -> list[Route]:
        """The routes."""
        return [
            Route("/v1/events/stream", self.stream),
        ]


__all__ = ["FollowingApi"]
