"""Opens an `audit_context` for each HTTP request and WebSocket of an ASGI application."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any

from audit_producers.addresses import FORWARDING_HEADERS
from audit_producers.context import audit_context
from audit_producers.middleware.request import RequestRules

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_ANSWERS = frozenset(["http.response.start", "websocket.accept", "websocket.http.response.start"])


class AuditContextMiddleware:
    """Gives every event of a request its request id, IP, user agent and source, and its actor when `user` knows it.

    The context holds in the handler and in tasks it starts, and ends with the request. Install it outside of
    authentication and error handling, so that their events have it too.

    Args:
        app: the application.
        trusted_proxies: addresses and CIDRs of the proxies whose forwarding headers are believed; none by default.
        request_id_header: where the request id is read, and returned to the caller. An id that is not 1 to 128
            characters of printable ASCII is replaced by a new one.
        user: tells the actor of a request, None for nobody. It is called with the scope each time an event needs
            its actor, so it sees what authentication has put there since.
        source: the `source` of the events.
        forwarding: the headers in which the proxies say for whom they ask; the first one there counts. Name only the
            one that yours write, when they pass on the other.

    Raises:
        ValueError: with everything that is wrong in the settings.
    """

    def __init__(
        self,
        app: App,
        trusted_proxies: Iterable[str] = (),
        request_id_header: str = "x-request-id",
        user: Callable[[Scope], Mapping[str, Any] | None] | None = None,
        source: str = "web",
        forwarding: Iterable[str] = FORWARDING_HEADERS,
    ) -> None:
        self._app, self._user = app, user
        self._rules = RequestRules.of(trusted_proxies, request_id_header, source, forwarding)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection; those that are neither HTTP nor WebSocket pass untouched."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        rules, user = self._rules, self._user
        headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
        first = dict(reversed(headers))
        request_id = rules.request_id(first.get(rules.request_id_header))
        with audit_context(
            request_id=request_id,
            ip=rules.ip((scope.get("client") or (None,))[0], headers),
            user_agent=first.get("user-agent", ""),
            source=rules.source,
            actor=None if user is None else lambda: user(scope),
        ):
            await self._app(scope, receive, self._answering(send, request_id))

    def _answering(self, send: Send, request_id: str) -> Send:
        name = self._rules.request_id_header.encode("latin-1")

        async def answer(message: Message) -> None:
            if message["type"] in _ANSWERS:
                # The id the events carry takes the place of one the application may have set.
                others = [pair for pair in message.get("headers") or () if bytes(pair[0]).lower() != name]
                message = {**message, "headers": [*others, (name, request_id.encode("latin-1"))]}
            await send(message)

        return answer


__all__ = ["AuditContextMiddleware"]
