"""The HTTP application: routes, credentials, and how errors become answers."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from audit_infra.access import Access, AccessError, Forbidden, Principal, Sessions, Unauthenticated, principal_of_jwt
from audit_query.clickhouse import Reader
from audit_query.openapi import DOCS, document
from audit_query.problems import Fault, ProblemError, invalid, unavailable
from audit_query.service import Service
from audit_query.settings import QuerySettings
from audit_query.stream import Relayed
from audit_query.web import Web
from audit_schemas.catalogue import load
from audit_schemas.errors import AuditError

log = structlog.get_logger("audit_query")

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The machine's clock."""
    return datetime.now(UTC)


class Api:
    """The handlers of `/v1`. Credentials come from headers, never from a cookie."""

    def __init__(self, service: Service, access: Access, jwt_secret: str, clock: Clock) -> None:
        self._service, self._access, self._jwt_secret, self._clock = service, access, jwt_secret, clock

    async def _principal(self, request: Request) -> Principal:
        bearer = request.headers.get("authorization", "")
        scheme, _, token = bearer.partition(" ")
        secret = request.headers.get("x-api-key") or (token if scheme.lower() == "bearer" else "")
        if not secret:
            raise Unauthenticated("send an API key as X-API-Key, or a token as Authorization: Bearer")
        if secret.count(".") == 2 and self._jwt_secret:
            return principal_of_jwt(secret, self._jwt_secret, self._clock())
        return await run_in_threadpool(self._access.authenticate_key, secret, self._clock())

    async def events(self, request: Request) -> Response:
        page = await self._service.page(await self._principal(request), request.query_params.multi_items())
        return JSONResponse(page.body(request.url.path))

    async def event(self, request: Request) -> Response:
        principal = await self._principal(request)
        _no_parameters(request)
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
        _no_parameters(request)
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
        ]


def _no_parameters(request: Request) -> None:
    if request.query_params:
        names = request.query_params.keys()
        raise invalid(tuple(Fault(name, "unknown_parameter", "this request has no parameters") for name in names))


_SAFE = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))
"""Answers hold what happened in a workspace: no cache keeps them. A route that says otherwise itself is left alone."""


class Telemetry:
    """Counts and times requests by route, and gives each an id that the answer and the log share."""

    def __init__(self, app: ASGIApp, registry: CollectorRegistry, routes: Mapping[Any, str]) -> None:
        self._app, self._routes = app, routes
        self._requests = Counter("audit_query_requests", "Requests answered.", ["route", "status"], registry=registry)
        self._seconds = Histogram("audit_query_seconds", "Time to the first byte.", ["route"], registry=registry)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = scope.setdefault("state", {})["request_id"] = uuid.uuid4().hex
        started = time.perf_counter()

        async def tagged(message: dict[str, object]) -> None:
            if message["type"] == "http.response.start":
                route = self._routes.get(scope.get("endpoint"), "other")
                self._requests.labels(route, str(message["status"])).inc()
                self._seconds.labels(route).observe(time.perf_counter() - started)
                headers = message.setdefault("headers", [])
                own = [(b"x-request-id", request_id.encode()), *_SAFE]
                given = {name for name, _ in headers}  # type: ignore[attr-defined]  # ASGI
                message["headers"] = [*headers, *(pair for pair in own if pair[0] not in given)]  # type: ignore[misc]  # ASGI
            await send(message)

        await self._app(scope, receive, tagged)  # type: ignore[arg-type]  # ASGI messages are dictionaries


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
        clock=clock,
    )
    api = Api(service, access, settings.jwt_secret.get_secret_value(), clock)
    web = Web(
        service=service,
        access=access,
        sessions=Sessions(keys),
        jwt_secret=settings.jwt_secret.get_secret_value(),
        local=settings.local,
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
        exception_handlers={AuditError: _problem, HTTPException: _http_problem, Exception: _fault_of_ours},
        lifespan=lifespan,
    )
    routes = {route.endpoint: route.path for route in app.routes if isinstance(route, Route)}
    app.add_middleware(Telemetry, registry=registry, routes=routes)
    return app


async def _http_problem(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    known = {
        404: ("not-found", "There is nothing here"),
        405: ("method-not-allowed", "This method is not for this address"),
    }
    kind, title = known.get(error.status_code, ("error", error.detail))
    headers = dict(error.headers or {})
    if error.status_code == 405 and request.url.path == "/v1/events":
        detail = "events are sent to the Events API, not to the query service"
        return _answer(request, ProblemError(405, kind, title, detail, headers=headers))
    return _answer(request, ProblemError(error.status_code, kind, title, headers=headers))


async def _fault_of_ours(request: Request, _: Exception) -> Response:
    """The server logs the stack trace beside; the caller gets an id to quote."""
    return _answer(request, ProblemError(500, "internal", "Something went wrong here"))


async def _problem(request: Request, error: Exception) -> Response:
    """Every error raised on purpose becomes a problem; nobody sees a stack trace."""
    match error:
        case ProblemError():
            found = error
        case Unauthenticated():
            headers = {"WWW-Authenticate": 'Bearer realm="audit-log"'}
            found = ProblemError(401, "unauthenticated", "No valid credential", str(error), headers=headers)
        case Forbidden() | AccessError():
            found = ProblemError(403, "forbidden", "Not allowed", str(error))
        case _:
            log.error("can't read the log", error=str(error), request_id=request.state.request_id)
            found = unavailable()
    return _answer(request, found)


def _answer(request: Request, found: ProblemError) -> Response:
    return JSONResponse(
        found.body(request.state.request_id),
        found.status,
        headers=found.headers,
        media_type="application/problem+json",
    )


__all__ = ["Api", "create_app", "utc_now"]
