"""The HTTP application: routes, credentials, and how errors become answers."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import datetime

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from audit_infra.access import Access, Sessions
from audit_infra.clock import utc_now
from audit_infra.http.answers import Answers
from audit_infra.http.credentials import Credentials
from audit_infra.http.problems import Fault, invalid, refuse_parameters
from audit_infra.http.telemetry import Telemetry
from audit_query.clickhouse import Reader
from audit_query.openapi import DOCS, document
from audit_query.problems import unavailable
from audit_query.service import Service
from audit_query.settings import QuerySettings
from audit_query.stream import Relayed
from audit_query.web import Web
from audit_schemas.catalogue import load
from audit_schemas.errors import AuditError

log = structlog.get_logger("audit_query")

_ELSEWHERE = {"/v1/events": "events are sent to the Events API, not to the query service"}

Clock = Callable[[], datetime]


class Api:
    """The handlers of `/v1`. Credentials come from headers, never from a cookie."""

    def __init__(self, service: Service, credentials: Credentials) -> None:
        self._service, self._principal = service, credentials.principal

    async def events(self, request: Request) -> Response:
        page = await self._service.page(await self._principal(request), request.query_params.multi_items())
        return JSONResponse(page.body(request.url.path))

    async def event(self, request: Request) -> Response:
        principal = await self._principal(request)
        refuse_parameters(request.query_params.keys())
        return JSONResponse({"data": await self._service.event(principal, request.path_params["event_id"])})

    async def users(self, request: Request) -> Response:
        principal = await self._principal(request)
        return JSONResponse({"data": await self._service.user_facet(principal, self._search(request))})

    async def event_types(self, request: Request) -> Response:
        principal = await self._principal(request)
        return JSONResponse({"data": await self._service.event_facet(principal, self._search(request))})

    def _search(self, request: Request) -> str:
        unknown = sorted(set(request.query_params) - {"search"})
        faults = [
            Fault(name, "unknown_parameter", "is not a parameter of this request", ("search",)) for name in unknown
        ]
        values = request.query_params.getlist("search")
        if len(values) > 1:
            faults.append(Fault("search", "repeated", "may be given only once"))
        if values and len(values[0]) > 200:
            faults.append(Fault("search", "length", "must have at most 200 characters"))
        if faults:
            raise invalid(tuple(faults))
        return values[0] if values else ""

    async def catalogue(self, request: Request) -> Response:
        await self._principal(request)
        refuse_parameters(request.query_params.keys())
        catalogue = self._service.catalogue
        types = [
            {
                "name": one.name,
                "label": one.label,
                "category": one.category,
                "since": one.since,
                "targets": list(one.targets),
                "changes_required": one.changes_required,
                "ocsf": {"class": one.ocsf[0], "activity": one.ocsf[1]},
            }
            for one in catalogue
        ]
        categories = [{"name": name, "label": label} for name, label in catalogue.category_labels.items()]
        return JSONResponse({"data": {"categories": categories, "types": types}})

    async def gaps(self, request: Request) -> Response:
        principal = await self._principal(request)
        refuse_parameters(request.query_params.keys())
        return JSONResponse(await self._service.gaps(principal))

    async def export(self, request: Request) -> Response:
        principal = await self._principal(request)
        headers, body = await self._service.csv(principal, request.query_params.multi_items())
        return await Relayed.begin(headers, body)

    def routes(self) -> list[Route]:
        """The routes of the API."""
        return [
            Route("/v1/events", self.events),
            Route("/v1/events/{event_id}", self.event),
            Route("/v1/facets/users", self.users),
            Route("/v1/facets/events", self.event_types),
            Route("/v1/catalogue", self.catalogue),
            Route("/v1/export", self.export),
            Route("/v1/gaps", self.gaps),
        ]


def create_app(
    settings: QuerySettings, *, access: Access | None = None, clock: Clock = utc_now, reader: Reader | None = None
) -> Starlette:
    """The application. `access`, `clock` and `reader` are given by tests; otherwise they are made from the settings."""
    access = access or Access.open(settings.control_database_url)
    reader = reader or Reader(settings, settings.query_timeout_s)
    keys = settings.keys(settings.signing_keys)
    service = Service(
        reader=reader,
        access=access,
        catalogue=load(),
        signing_keys=keys,
        upgrade_url=settings.upgrade_url,
        topic_prefix=settings.topic_prefix,
        late_after_s=settings.late_after_s,
        gap_after_s=settings.gap_after_s,
        clock=clock,
    )
    api = Api(service, Credentials(access, settings.jwt_secret.get_secret_value(), clock))
    web = Web(
        service=service,
        access=access,
        sessions=Sessions(keys),
        jwt_secret=settings.jwt_secret.get_secret_value(),
        local=settings.local,
        events_docs_url=settings.events_docs_url,
        clock=clock,
    )
    registry = CollectorRegistry()

    async def ready(_: Request) -> Response:
        await service.complete_through()
        return PlainTextResponse("ready\n")

    async def alive(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    async def openapi(_: Request) -> Response:
        return JSONResponse(document())

    async def docs(_: Request) -> Response:
        return Response(DOCS, media_type="text/html")

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        try:
            await service.complete_through()
        except AuditError as error:
            log.warning("ClickHouse can't be read yet; requests get 503 until it can", error=str(error))
        yield
        await reader.close()

    app = Starlette(
        routes=[
            *api.routes(),
            Route("/healthz", alive),
            Route("/readyz", ready),
            Route("/metrics", metrics),
            Route("/openapi.json", openapi),
            Route("/docs", docs),
            *web.routes(),
        ],
        exception_handlers=Answers(unavailable(), _ELSEWHERE).handlers(),
        lifespan=lifespan,
    )
    routes = {route.endpoint: route.path for route in app.routes if isinstance(route, Route)}
    app.add_middleware(Telemetry, service="audit_query", registry=registry, routes=routes)
    return app


__all__ = ["Api", "create_app"]
