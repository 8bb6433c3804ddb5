"""The HTTP application: routes, and everything behind them put together from the settings."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Any, Final

import prometheus_client
from fastapi import FastAPI
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from audit_infra.access import Access, HostTokens
from audit_infra.clock import utc_now
from audit_infra.http.answers import Answers
from audit_infra.http.bodies import Bodies
from audit_infra.http.credentials import Credentials
from audit_infra.http.failures import Failures
from audit_infra.http.telemetry import Telemetry
from audit_producers.addresses import client_address
from audit_producers.events_api.api import Api
from audit_producers.events_api.custom_types import CustomTypes
from audit_producers.events_api.keys import Keys
from audit_producers.events_api.openapi import document
from audit_producers.events_api.problems import not_ready, unavailable
from audit_producers.events_api.rates import Rates
from audit_producers.events_api.readiness import Readiness
from audit_producers.events_api.recording import Recorder, Recording
from audit_producers.events_api.reference import POLICY, page
from audit_producers.events_api.refusals import Refusals
from audit_producers.events_api.service import Service
from audit_producers.events_api.settings import EventsApiSettings
from audit_producers.events_api.tables import Database
from audit_producers.events_api.upkeep import Upkeep
from audit_producers.events_api.work import Work
from audit_schemas.catalogue import load

ELSEWHERE: Final = {"/v1/events": "events are read from the query service, not from the Events API"}
_MIB: Final = 1_048_576

Clock = Callable[[], datetime]


def create_app(
    settings: EventsApiSettings, recorder: Recorder, *, access: Access | None = None, clock: Clock = utc_now
) -> FastAPI:
    """The application. It closes the `recorder` when it ends; `access` and `clock` are given by tests.

    Raises `ControlUnavailable` when the control database can't be opened.
    """
    own_access = access is None
    access = access or Access.open(settings.control_database_url)
    database = Database(settings.control_database_url)
    registry, work = CollectorRegistry(), Work(one_writer=database.one_writer)
    keys = Keys(database, days=settings.idempotency_days, lease_s=settings.idempotency_lease_s)
    refusals = Refusals(database, registry, clock)
    service = Service(
        recorder=recorder,
        recording=Recording(recorder, keys, work, settings.durable_timeout_s),
        types=CustomTypes(database, time.monotonic),
        rates=Rates(settings.rate_limit_events, settings.rate_limit_requests),
        refusals=refusals,
        work=work,
        catalogue=load(),
        registry=registry,
        clock=clock,
    )

    def address(request: Request) -> str:
        peer = None if request.client is None else request.client.host
        return client_address(peer, request.headers.items(), settings.proxies).ip

    failures = Failures(settings.rate_limit_failures)
    credentials = Credentials(access, HostTokens(settings, access, clock), clock, failures=failures, address=address)
    bodies = Bodies(settings.bodies_mib * _MIB, settings.body_timeout_s)
    api = Api(service, credentials, bodies, settings.proxies)
    upkeep = Upkeep(refusals, keys, work, clock)
    _watch_spool(recorder, registry)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        tending = asyncio.create_task(upkeep.run())
        yield
        tending.cancel()
        await upkeep.flush()
        # Here, not after the server: it ends the process with the signal that it got.
        await run_in_threadpool(recorder.close, settings.exit_timeout_s)
        await run_in_threadpool(work.close)
        database.close()
        if own_access:
            access.close()

    app = FastAPI(
        # What these would serve is not what is true here, and comes with assets of others.
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        exception_handlers=Answers(unavailable(), ELSEWHERE).handlers(),
        lifespan=lifespan,
    )
    endpoints = {
        ("POST", "/v1/events"): api.post_events,
        ("GET", "/v1/event-types"): api.get_event_types,
        ("PUT", "/v1/event-types/{name}"): api.put_event_type,
        ("GET", "/v1/refused-events"): api.get_refused_events,
        **_operations(Readiness(settings, recorder, database), registry),
    }
    for (method, path), endpoint in endpoints.items():
        app.add_api_route(path, endpoint, methods=[method])
    routes = {endpoint: path for (_, path), endpoint in endpoints.items()}
    app.add_middleware(Telemetry, service="audit_events_api", registry=registry, routes=routes)
    return app


def _operations(readiness: Readiness, registry: CollectorRegistry) -> dict[tuple[str, str], Callable[..., Any]]:
    """What operators and readers ask, without a credential."""

    async def alive() -> Response:
        return PlainTextResponse("ok\n")

    async def ready() -> Response:
        if reasons := await run_in_threadpool(readiness.reasons):
            raise not_ready(reasons)
        return PlainTextResponse("ready\n")

    async def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    async def openapi() -> Response:
        return JSONResponse(document())

    async def docs() -> Response:
        return Response(page(), media_type="text/html", headers={"Content-Security-Policy": POLICY})

    return {
        ("GET", "/healthz"): alive,
        ("GET", "/readyz"): ready,
        ("GET", "/metrics"): metrics,
        ("GET", "/openapi.json"): openapi,
        ("GET", "/docs"): docs,
    }


def _watch_spool(recorder: Recorder, registry: CollectorRegistry) -> None:
    gauges: dict[str, tuple[str, Callable[[], float]]] = {
        "audit_spool_events": ("Events on the disk that Kafka does not have.", lambda: recorder.stats().spooled_events),
        "audit_spool_bytes": ("Their bytes.", lambda: recorder.stats().spooled_bytes),
        "audit_spool_oldest_seconds": ("How long the first of them waits.", lambda: recorder.stats().oldest_spooled_s),
        "audit_spool_refused_events": ("Events for which there was no room.", lambda: recorder.stats().refused),
    }
    for name, (text, read) in gauges.items():
        prometheus_client.Gauge(name, text, registry=registry).set_function(read)


__all__ = ["ELSEWHERE", "create_app"]
