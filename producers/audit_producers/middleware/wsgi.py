"""Opens an `audit_context` for each request of a WSGI application."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any

from audit_producers.addresses import FORWARDING_HEADERS
from audit_producers.context import audit_context
from audit_producers.middleware.request import RequestRules

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


class AuditContextMiddleware:
    """Gives every event of a request its request id, IP, user agent and source, and its actor when `user` knows it.

    The request runs in a copy of the thread's context: what it sets there is seen by the handler, while the answer is
    read and while it is closed, and never by the next request of the thread.

    Args:
        app: the application.
        trusted_proxies: addresses and CIDRs of the proxies whose forwarding headers are believed; none by default.
        request_id_header: where the request id is read, and returned to the caller. An id that is not 1 to 128
            characters of printable ASCII is replaced by a new one.
        user: tells the actor of a request, None for nobody. It is called with the environment each time an event
            needs its actor, so it sees what authentication has put there since.
        source: the `source` of the events.
        forwarding: the headers in which the proxies say for whom they ask; the first one there counts. Name only the
            one that yours write, when they pass on the other.

    Raises:
        ValueError: with everything that is wrong in the settings.
    """

    def __init__(
        self,
        app: WSGIApplication,
        trusted_proxies: Iterable[str] = (),
        request_id_header: str = "x-request-id",
        user: Callable[[WSGIEnvironment], Mapping[str, Any] | None] | None = None,
        source: str = "web",
        forwarding: Iterable[str] = FORWARDING_HEADERS,
    ) -> None:
        self._app, self._user = app, user
        self._rules = RequestRules.of(trusted_proxies, request_id_header, source, forwarding)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """One request."""
        rules, user = self._rules, self._user
        request_id = rules.request_id(environ.get(_variable(rules.request_id_header)))
        forwarded = [(name, environ[key]) for name in rules.forwarding if (key := _variable(name)) in environ]
        context = copy_context()
        context.run(
            audit_context(
                request_id=request_id,
                ip=rules.ip(environ.get("REMOTE_ADDR"), forwarded),
                user_agent=environ.get("HTTP_USER_AGENT", ""),
                source=rules.source,
                actor=None if user is None else lambda: user(environ),
            ).__enter__
        )
        result = context.run(self._app, environ, self._answering(start_response, request_id))
        # Nothing happens any more while a list is read, and servers derive the Content-Length from one.
        return result if isinstance(result, (list, tuple)) else _Answer(result, context)

    def _answering(self, start_response: StartResponse, request_id: str) -> Any:
        name = self._rules.request_id_header

        def start(status: str, headers: list[tuple[str, str]], *error: Any) -> Callable[[bytes], object]:
            # The id the events carry takes the place of one the application may have set.
            others = [pair for pair in headers if pair[0].lower() != name]
            return start_response(status, [*others, (name, request_id)], *error)

        return start


class _Answer:
    """The application's answer, read and closed in the context of its request."""

    def __init__(self, result: Iterable[bytes], context: Context) -> None:
        self._result, self._context = result, context
        self._parts: Iterator[bytes] | None = None

    def __iter__(self) -> _Answer:
        return self

    def __next__(self) -> bytes:
        if self._parts is None:
            self._parts = self._context.run(iter, self._result)
        return self._context.run(next, self._parts)

    def close(self) -> None:
        """Closes the application's answer, if it can be closed."""
        close = getattr(self._result, "close", None)
        if close is not None:
            self._context.run(close)


def _variable(header: str) -> str:
    return f"HTTP_{header.upper().replace('-', '_')}"


__all__ = ["AuditContextMiddleware"]
