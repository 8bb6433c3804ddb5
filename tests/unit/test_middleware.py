"""The middlewares: every event of a request knows its request, and nothing is left for the next one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any
from wsgiref.handlers import SimpleHandler
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from audit_producers.context import Context, current, set_actor
from audit_producers.middleware.asgi import AuditContextMiddleware as Asgi
from audit_producers.middleware.wsgi import AuditContextMiddleware as Wsgi

ADA = {"type": "internal_user", "id": "u1"}
SEEN: list[Context] = []
Middleware = type[Asgi] | type[Wsgi]


@pytest.fixture(autouse=True)
def _nothing_before_and_after() -> Iterator[None]:
    SEEN.clear()
    assert current() == Context()
    yield
    assert current() == Context()


async def asgi_app(scope: Any, receive: Any, send: Any) -> None:
    SEEN.append(current())
    await send(
        {"type": "http.response.start", "status": 204, "headers": [(b"X-Request-ID", b"the app's"), (b"a", b"b")]}
    )
    await send({"type": "http.response.body"})


def wsgi_app(environ: Any, start_response: Any) -> Iterable[bytes]:
    SEEN.append(current())
    start_response("204 No Content", [("X-Request-ID", "the app's"), ("a", "b")])
    return []


def ask_asgi(app: Any, headers: dict[str, str], peer: str = "198.51.100.9") -> httpx.Headers:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app, client=(peer, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            encoded = {name.encode(): value.encode("latin-1") for name, value in headers.items()}
            answer = await client.get("/", headers=encoded)
        assert current() == Context()
        return answer

    return asyncio.run(ask()).headers


def ask_wsgi(app: Any, headers: dict[str, str], peer: str = "198.51.100.9") -> httpx.Headers:
    """One request through wsgiref's handler, with its validator around the middleware."""
    environ: dict[str, Any] = {"REMOTE_ADDR": peer, "QUERY_STRING": ""}
    environ |= {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
    setup_testing_defaults(environ)
    found: list[tuple[str, str]] = []

    def start(status: str, given: list[tuple[str, str]], error: Any = None) -> Callable[[bytes], None]:
        found.extend(given)
        return lambda _: None

    answer = validator(app)(environ, start)
    try:
        b"".join(answer)
    finally:
        answer.close()  # type: ignore[attr-defined] # the validator's iterator has one
    return httpx.Headers(found)


CASES: list[Any] = [
    pytest.param(Asgi, asgi_app, ask_asgi, id="asgi"),
    pytest.param(Wsgi, wsgi_app, ask_wsgi, id="wsgi"),
]


@pytest.mark.parametrize(("middleware", "app", "ask"), CASES)
def test_a_request_brings_its_id_address_and_user_agent(middleware: Any, app: Any, ask: Any) -> None:
    """The handler sees them, and the caller gets the id back, in the place of one the application set."""
    headers = ask(middleware(app), {"X-Request-ID": "r-1", "User-Agent": "tests"})
    assert [Context(request_id="r-1", ip="198.51.100.9", user_agent="tests", source="web")] == SEEN
    assert headers.get_list("x-request-id") == ["r-1"]
    assert headers["a"] == "b"


@pytest.mark.parametrize(("middleware", "app", "ask"), CASES)
@pytest.mark.parametrize("given", ["", "x" * 129, "tab\there", "über"])
def test_an_id_that_is_not_sane_is_replaced(middleware: Any, app: Any, ask: Any, given: str) -> None:
    """A caller can't write what it likes into the log; it learns the new id."""
    headers = ask(middleware(app), {"x-request-id": given.encode().decode("latin-1")})
    (seen,) = SEEN
    assert len(seen.request_id or "") == 36
    assert headers["x-request-id"] == seen.request_id


@pytest.mark.parametrize(("middleware", "app", "ask"), CASES)
def test_only_trusted_proxies_say_for_whom_they_ask(middleware: Any, app: Any, ask: Any) -> None:
    """From anyone else the headers mean nothing, and garbage gives the empty address."""
    behind = middleware(app, trusted_proxies=["10.0.0.0/8"])
    for peer, chain in (("10.0.0.1", "6.6.6.6, 203.0.113.7"), ("198.51.100.9", "6.6.6.6"), ("10.0.0.1", "who knows")):
        ask(behind, {"X-Forwarded-For": chain}, peer)
    ask(middleware(app, ["10.0.0.0/8"], forwarding=["forwarded"]), {"Forwarded": "for=203.0.113.8"}, "10.0.0.1")
    ask(behind, {}, "/run/service.sock")
    assert [seen.ip for seen in SEEN] == ["203.0.113.7", "198.51.100.9", "", "203.0.113.8", ""]


@pytest.mark.parametrize(("middleware", "app", "ask"), CASES)
def test_header_source_and_actor_are_settings(middleware: Any, app: Any, ask: Any) -> None:
    """`user` is asked with what the protocol knows of the request."""
    asked: list[Any] = []

    def user(request: Any) -> dict[str, str]:
        asked.append(request)
        return ADA

    headers = ask(middleware(app, request_id_header="X-Trace", user=user, source="api"), {"X-Trace": "t1"})
    assert [Context(request_id="t1", ip="198.51.100.9", user_agent=SEEN[0].user_agent, source="api", actor=ADA)] == SEEN
    assert headers["x-trace"] == "t1"
    assert len(asked) == 1
    assert asked[0].get("type") == "http" or asked[0]["REMOTE_ADDR"] == "198.51.100.9"


@pytest.mark.parametrize("middleware", [Asgi, Wsgi], ids=["asgi", "wsgi"])
def test_every_bad_setting_is_named(middleware: Any) -> None:
    """At the start of the service, not with its first request."""
    with pytest.raises(ValueError, match=r"trusted_proxies: .*10\.0\.0\.1/8.*request_id_header.*forwarding"):
        middleware(asgi_app, ["10.0.0.1/8"], request_id_header="a b", forwarding=["via"])
    with pytest.raises(ValueError, match="not one text"):
        middleware(asgi_app, "10.0.0.0/8")


def test_starlettes_handlers_threads_streams_and_background_tasks_see_the_request() -> None:
    """Asynchronous and synchronous handlers, the answer while it is streamed, and what runs after it."""

    async def streamed(request: Request) -> StreamingResponse:
        request.state.user = ADA
        SEEN.append(current())

        async def parts() -> AsyncIterator[bytes]:
            SEEN.append(current())
            yield b"x"

        return StreamingResponse(parts(), background=BackgroundTask(lambda: SEEN.append(current())))

    def plain(request: Request) -> PlainTextResponse:
        set_actor({"type": "client", "id": "c1"})
        SEEN.append(current())
        return PlainTextResponse("x")

    app = Starlette(routes=[Route("/", streamed), Route("/plain", plain)])
    app.add_middleware(Asgi, user=lambda scope: scope.get("state", {}).get("user"))

    async def ask() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client:
            await client.get("/", headers={"x-request-id": "r1"})
            await client.get("/plain", headers={"x-request-id": "r2"})

    asyncio.run(ask())
    assert [(seen.request_id, seen.actor) for seen in SEEN] == [
        *[("r1", ADA)] * 3,
        ("r2", {"type": "client", "id": "c1"}),
    ]


def test_a_task_that_outlives_its_request_keeps_the_requests_context() -> None:
    """What a handler starts belongs to it; the server's task has nothing of it afterwards."""
    tasks: list[asyncio.Task[Context]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def later() -> Context:
            await gate.wait()
            return current()

        tasks.append(asyncio.create_task(later()))
        await asgi_app(scope, receive, send)

    async def serve() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(Asgi(app)), base_url="http://service") as client:
            await client.get("/", headers={"x-request-id": "r1"})
        assert current() == Context()
        gate.set()
        assert (await tasks[0]).request_id == "r1"

    gate = asyncio.Event()
    asyncio.run(serve())


def test_requests_at_once_keep_apart_and_failures_leave_nothing() -> None:
    """Fifty requests in one task group: each sees its own id, also when it fails."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        before = current()
        await gate.wait()
        assert current() == before
        SEEN.append(before)
        raise LookupError(before.request_id)

    async def one(number: int) -> None:
        scope = {"type": "http", "headers": [(b"x-request-id", b"r%d" % number)], "client": None}
        with pytest.raises(LookupError, match=f"r{number}'?$"):
            await Asgi(app)(scope, None, None)  # type: ignore[arg-type] # nothing is received or sent
        assert current() == Context()

    async def main() -> None:
        await asyncio.gather(*(one(number) for number in range(50)))

    gate = asyncio.Barrier(50)
    asyncio.run(main())
    assert {seen.request_id for seen in SEEN} == {f"r{number}" for number in range(50)}


def test_websockets_have_a_context_and_other_scopes_none() -> None:
    """The id is returned when the connection is accepted; start and stop of the server pass untouched."""
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        SEEN.append(current())
        await send(
            {"type": "websocket.accept"} if scope["type"] == "websocket" else {"type": "lifespan.startup.complete"}
        )

    async def send(message: Any) -> None:
        sent.append(message)

    async def main() -> None:
        scope = {"type": "websocket", "headers": [(b"X-Request-Id", b"r1")], "client": ["198.51.100.9", 1]}
        await Asgi(app)(scope, send, send)  # type: ignore[arg-type] # nothing is received
        await Asgi(app)({"type": "lifespan"}, send, send)  # type: ignore[arg-type] # likewise

    asyncio.run(main())
    assert [Context(request_id="r1", ip="198.51.100.9", user_agent="", source="web"), Context()] == SEEN
    assert sent[0]["headers"] == [(b"x-request-id", b"r1")]
    assert sent[1] == {"type": "lifespan.startup.complete"}


class Answer:
    """A WSGI answer that says what it sees while it is read and closed."""

    def __init__(self) -> None:
        self.left = 2

    def __iter__(self) -> Answer:
        SEEN.append(current())
        return self

    def __next__(self) -> bytes:
        SEEN.append(current())
        self.left -= 1
        if self.left < 0:
            raise StopIteration
        return b"x"

    def close(self) -> None:
        SEEN.append(current())


def test_a_wsgi_answer_is_read_and_closed_in_the_context_of_its_request() -> None:
    """What the handler added is there too, on whichever thread it happens, and the thread itself has nothing of it."""

    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        set_actor(ADA)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return Answer()

    ask_wsgi(Wsgi(app), {"x-request-id": "r1"})
    assert len(SEEN) == 5
    assert {(seen.request_id, str(seen.actor)) for seen in SEEN} == {("r1", str(ADA))}
    environ: dict[str, Any] = {"HTTP_X_REQUEST_ID": "r2"}
    setup_testing_defaults(environ)
    answer: Any = Wsgi(app)(environ, lambda *_: lambda _: None)
    assert current() == Context()
    assert next(iter(answer)) == b"x"
    closer = threading.Thread(target=answer.close)
    closer.start()
    closer.join()
    assert SEEN[-1].request_id == "r2"


def test_a_wsgi_answer_that_is_never_closed_leaves_nothing_behind() -> None:
    """A server that gives up in the middle can't hand the context to its thread's next request."""

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        set_actor(ADA)
        yield b"x"

    environ: dict[str, Any] = {}
    setup_testing_defaults(environ)
    answer = iter(Wsgi(app)(environ, lambda *_: lambda _: None))
    assert next(answer) == b"x"
    assert current() == Context()


def test_a_wsgi_server_still_learns_the_length_of_a_list() -> None:
    """wsgiref derives the Content-Length from a list of one part, so lists pass as they are."""
    from io import BytesIO, StringIO

    out = BytesIO()
    environ: dict[str, str] = {}
    setup_testing_defaults(environ)

    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"four"]

    SimpleHandler(BytesIO(), out, StringIO(), environ).run(Wsgi(app))
    assert b"Content-Length: 4\r\n" in out.getvalue()
