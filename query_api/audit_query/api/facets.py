"""What can be filtered by."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from audit_infra.access import Principal
from audit_infra.http.credentials import Credentials
from audit_query.facets import Facet
from audit_query.filters import Params
from audit_query.service import Service


class FacetsApi:
    """The handlers."""

    def __init__(self, service: Service, credentials: Credentials) -> None:
        self._facets, self._principal = service.facets, credentials.principal

    def _answering(
        self, facet: Callable[[Principal, Params], Awaitable[Facet]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            found = await facet(await self._principal(request), request.query_params.multi_items())
            return JSONResponse(found.body())

        return answer

    def routes(self) -> list[Route]:
        """The routes."""
        return [
            Route("/v1/facets/users", self._answering(self._facets.users)),
            Route("/v1/facets/events", self._answering(self._facets.event_types)),
            Route("/v1/facets/targets", self._answering(self._facets.targets)),
            Route("/v1/facets/categories", self._answering(self._facets.categories)),
            Route("/v1/facets/sources", self._answering(self._facets.sources)),
            Route("/v1/facets/actor-types", self._answering(self._facets.actor_types)),
        ]


__all__ = ["FacetsApi"]
