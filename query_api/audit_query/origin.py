"""Where a request comes from, for the events that it leads to."""

from __future__ import annotations

import hashlib

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from audit_producers import audit_context
from audit_producers.addresses import Networks, client_address


class Origin:
    """ASGI middleware: an `audit_context` with the id the answer carries, address, user agent, session and source.

    Belongs inside `Telemetry`, which gives the id. The session is a hash: events must not hold what signs somebody in.
    """

    def __init__(self, app: ASGIApp, session_cookie: str, proxies: Networks) -> None:
        self._app, self._session_cookie, self._proxies = app, session_cookie, proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = HTTPConnection(scope)
        api = request.url.path.startswith("/v1/")
        cookie = "" if api else request.cookies.get(self._session_cookie, "")
        peer = request.client.host if request.client else None
        with audit_context(
            request_id=request.state.request_id,
            ip=client_address(peer, request.headers.items(), self._proxies).ip,
            user_agent=request.headers.get("user-agent", ""),
            session_id=hashlib.sha256(cookie.encode()).hexdigest()[:32] if cookie else None,
            source="api" if api else "web",
        ):
            await self._app(scope, receive, send)


__all__ = ["Origin"]
