"""`/v1`: one module per group of addresses. Credentials come from headers, never from a cookie."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from audit_infra.http.accept import media_type
from audit_infra.http.credentials import Credentials
from audit_query.api.admin import AdminApi
from audit_query.api.catalogue import CatalogueApi
from audit_query.api.events import EventsApi
from audit_query.api.export import ExportApi
from audit_query.api.exports import ExportsApi
from audit_query.api.facets import FacetsApi
from audit_query.api.following import FollowingApi
from audit_query.api.freshness import FreshnessApi
from audit_query.api.gaps import GapsApi
from audit_query.api.histogram import HistogramApi
from audit_query.openapi.operation import JSON
from audit_query.openapi.operations import OPERATIONS
from audit_query.service import Service

Handler = Callable[[Request], Awaitable[Response]]
# Following goes first: `stream` is no event id.
_GROUPS = (
    *(FollowingApi, EventsApi, FacetsApi, HistogramApi, CatalogueApi, ExportApi, ExportsApi, GapsApi, FreshnessApi),
    AdminApi,
)


def routes(service: Service, credentials: Credentials) -> list[Route]:
    """All routes of the API. Each refuses callers that take none of the media types it is described with."""
    found = [route for group in _GROUPS for route in group(service, credentials).routes()]
    return [Route(one.path, _if_acceptable(one.endpoint, one.path), methods=one.methods) for one in found]


def _if_acceptable(handler: Handler, path: str) -> Handler:
    offered = [each.media for one in OPERATIONS if one.path == path for each in one.answers] or [JSON]

    async def checked(request: Request) -> Response:
        media_type(",".join(request.headers.getlist("accept")), offered)
        return await handler(request)

    return checked


__all__ = ["routes"]
