"""Counts and times requests, and gives each an id that the answer and the log share."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.types import ASGIApp, Receive, Scope, Send

_SAFE = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))
"""Answers hold what happened in a workspace: no cache keeps them. A route that says otherwise itself is left alone."""


class Telemetry:
    """ASGI middleware. Metrics are `<service>_requests` and `<service>_seconds`, by route.

    `routes` names each endpoint's path; requests to anything else count as "other".
    """

    def __init__(self, app: ASGIApp, service: str, registry: CollectorRegistry, routes: Mapping[Any, str]) -> None:
        self._app, self._routes = app, routes
        self._requests = Counter(f"{service}_requests", "Requests answered.", ["route", "status"], registry=registry)
        self._seconds = Histogram(f"{service}_seconds", "Time to the first byte.", ["route"], registry=registry)

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


__all__ = ["Telemetry"]
