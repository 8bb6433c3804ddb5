"""The HTTP application: routes, credentials, and how errors become answers."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Callable

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from audit_infra.access import Access, HostTokens, Sessions
from audit_infra.clock import utc_now
from audit_infra.http.answers import Answers
from audit_infra.http.compression import Compression
from audit_infra.http.credentials import Credentials
from audit_infra.http.etag import tagged
from audit_infra.http.failures import Failures
from audit_infra.http.telemetry import Telemetry
from audit_producers import ProducerSettings
from audit_producers.addresses import client_address
from audit_producers.ports import Transport
from audit_query import api
from audit_query.clickhouse import Reader
from audit_query.exports.recording import Recorder
from audit_query.limiting import Limits
from audit_query.openapi import document
from audit_query.openapi.reference import POLICY, problems_page, reference_page
from audit_query.origin import Origin
from audit_query.ports import Clock
from audit_query.problems import unavailable
from audit_query.self_audit import SelfAudit
from audit_query.service import Service
from audit_query.settings import QuerySettings
from audit_query.web import COOKIE, Web
from audit_schemas.errors import AuditError

log = structlog.get_logger("audit_query")

_ELSEWHERE = {"/v1/events": "events are sent to the Events API, not to the query service"}


def create_app(
    settings: QuerySettings,
    *,
    access: Access | None = None,
    clock: Clock = utc_now,
    reader: Reader | None = None,
    transport: Callable[[ProducerSettings], Transport] | None = None,
    recorder: Recorder | None = None,
) -> Starlette:
    """The application. `access`, `clock`, `reader`, `transport` (which carries the events about its own use) and
    `recorder` (which is told of streamed exports) are given by tests; otherwise they are made from the settings.
    """
    access = access or Access.open(settings.control_database_url)
    reader = reader or Reader(settings, settings.budget, settings.export_budget)
    registry = CollectorRegistry()
    self_audit = SelfAudit.of(settings, clock, registry, transport)
    service = Service.of(settings, reader, access, clock, self_audit, recorder)
    tokens, failures = HostTokens(settings, access, clock), Failures(settings.rate_limit_failures)

    def address(request: Request) -> str:
        peer = None if request.client is None else request.client.host
        return client_address(peer, request.headers.items(), settings.proxies).ip

    credentials = Credentials(access, tokens, clock, failures=failures, address=address)
    web = Web(
        service=service,
        access=access,
        sessions=Sessions(settings.keys(settings.signing_keys)),
        tokens=tokens,
        failures=failures,
        address=address,
        local=settings.local,
        events_docs_url=settings.events_docs_url,
        sign_in_url=settings.sign_in_url,
        clock=clock,
    )
    limits = Limits(settings.rate_limit_key, settings.rate_limit_workspace, settings.max_parallel)
    api_routes, web_routes = api.routes(service, credentials), web.routes()
    limits.guard(api_routes, credentials.principal_ahead)
    limits.guard(web_routes, web.who, web.refusal)

    async def ready(_: Request) -> Response:
        await service.freshness.complete_through()
        return PlainTextResponse("ready\n")

    async def alive(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    async def openapi(request: Request) -> Response:
        return tagged(request, json.dumps(document(), ensure_ascii=False).encode(), "application/json")

    async def docs(request: Request) -> Response:
        page = reference_page() if request.url.path == "/docs" else problems_page()
        return HTMLResponse(page, headers={"Content-Security-Policy": POLICY})

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        try:
            await service.freshness.complete_through()
        except AuditError as error:
            log.warning("ClickHouse can't be read yet; requests get 503 until it can", error=str(error))
        yield
        # Here, not after the server: it ends the process with the signal that it got.
        await self_audit.close(settings.exit_timeout_s)
        await reader.close()

    app = Starlette(
        routes=[
            *api_routes,
            Route("/healthz", alive),
            Route("/readyz", ready),
            Route("/metrics", metrics),
            Route("/openapi.json", openapi),
            Route("/docs", docs),
            Route("/docs/problems", docs),
            *web_routes,
        ],
        exception_handlers=Answers(unavailable(), _ELSEWHERE).handlers(),
        lifespan=lifespan,
    )
    app.state.following = service.following
    routes = {route.endpoint: route.path for route in app.routes if isinstance(route, Route)}
    app.add_middleware(Compression)
    app.add_middleware(Origin, session_cookie=COOKIE, proxies=settings.proxies)
    app.add_middleware(Telemetry, service="audit_query", registry=registry, routes=routes)
    return app


__all__ = ["create_app"]
