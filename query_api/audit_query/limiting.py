"""How much a credential and a workspace may ask, per minute and at the same time. Counted in memory, per process."""

from __future__ import annotations

import contextlib
from collections import Counter as Counts
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from audit_infra.access import Principal
from audit_infra.http.problems import ProblemError
from audit_infra.http.rates import Counter, Rate, Window, rate_limited
from audit_query.problems import too_many_in_parallel

Who = Callable[[Request], Awaitable[Principal | None]]
"""Who asks; None is let through, for a handler that refuses it or needs nobody."""
Refuse = Callable[[Request, ProblemError], Response]


class Limits:
    """Rates such as "600/minute", and how many requests of one workspace are served at the same time."""

    def __init__(self, per_credential: str, per_workspace: str, parallel: int) -> None:
        self._credential, self._workspace, self._parallel = Rate.of(per_credential), Rate.of(per_workspace), parallel
        self._window, self._serving = Window(), Counts[str]()

    @contextlib.contextmanager
    def admitted(self, principal: Principal) -> Iterator[Mapping[str, str]]:
        """Counts a request, which holds its place inside the block; the headers its answer gets.

        Raises the problem 429 when there are too many: per minute, and then it does not count, or at the same time.
        """
        workspace = principal.workspace_id
        counters = {
            "key": Counter(self._credential, (principal.kind, workspace, principal.subject)),
            "workspace": Counter(self._workspace, ("workspace", workspace)),
        }
        full = self._window.take(tuple(counters.values()))
        headers = self._headers(counters)
        if full is not None:
            whose = "of the workspace" if full is counters["workspace"] else "with one credential"
            problem = rate_limited(f"{full.rate.text('requests')} {whose}", self._window.left(full).seconds)
            problem.headers |= headers
            raise problem
        if self._serving[workspace] >= self._parallel:
            raise too_many_in_parallel(self._parallel, headers)
        self._serving[workspace] += 1
        try:
            yield headers
        finally:
            self._serving[workspace] -= 1
            if not self._serving[workspace]:
                del self._serving[workspace]

    def guard(self, routes: Iterable[Any], who: Who, refuse: Refuse | None = None) -> None:
        """Puts the limits before these routes; mounts are left alone. `refuse` makes an answer of the problem."""
        for route in routes:
            if isinstance(route, Route):
                route.app = _Guarded(route.app, self, who, refuse)

    def _headers(self, counters: Mapping[str, Counter]) -> dict[str, str]:
        """As the IETF's draft-ietf-httpapi-ratelimit-headers-10 has them."""
        policies, states = [], []
        for name, counter in counters.items():
            left = self._window.left(counter)
            policies.append(f'"{name}";q={counter.rate.amount};w={counter.rate.window_s}')
            states.append(f'"{name}";r={left.amount};t={left.seconds}')
        return {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(states)}


class _Guarded:
    """ASGI: a place is held until the answer has ended, so a download holds it as long as it runs.

    Streams of events, which never end, give theirs back: how many of them there may be is a limit of its own.
    """

    def __init__(self, app: ASGIApp, limits: Limits, who: Who, refuse: Refuse | None) -> None:
        self._app, self._limits, self._who, self._refuse = app, limits, who, refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        principal = await self._who(request)
        if principal is None:
            await self._app(scope, receive, send)
            return
        with contextlib.ExitStack() as held:
            try:
                headers = held.enter_context(self._limits.admitted(principal))
            except ProblemError as problem:
                if self._refuse is None:
                    raise
                await self._refuse(request, problem)(scope, receive, send)
                return
            added = [(name.lower().encode(), value.encode()) for name, value in headers.items()]

            async def tagged(message: Any) -> None:
                if message["type"] == "http.response.start":
                    message = {**message, "headers": [*message.get("headers", ()), *added]}
                    if any(value.startswith(b"text/event-stream") for _, value in message["headers"]):
                        held.close()
                await send(message)

            await self._app(scope, receive, tagged)


__all__ = ["Limits", "Refuse", "Who"]
