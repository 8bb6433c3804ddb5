"""The HTTP interface: routes, credentials, bodies, and the one place where an error becomes an answer."""

from __future__ import annotations

import asyncio
import logging
from contextlib import contextmanager, suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from audit_local.clickhouse_server import request as requests
from audit_local.clickhouse_server.answer import Answer
from audit_local.clickhouse_server.body import Spool
from audit_local.clickhouse_server.compression import Decoder
from audit_local.clickhouse_server.errors import Code, ServerError
from audit_local.clickhouse_server.execution import Data
from audit_local.clickhouse_server.statement import analyse, insert_at_start

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator, MutableMapping
    from pathlib import Path

    from audit_local.clickhouse_server.execution import Execution
    from audit_local.clickhouse_server.request import Request

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]

_log: Final = logging.getLogger(__name__)
# An INSERT's statement is looked for here first; only VALUES and SELECT need all of a long body.
_STATEMENT_BYTES: Final = 256 * 1024


class DisconnectedError(Exception):
    """The client went away before its answer was complete."""


class App:
    """The ASGI application. `spool_folder` takes bodies too large for memory; no credentials means anyone may ask."""

    def __init__(
        self, execution: Execution, version: str, spool_folder: Path, credentials: tuple[str, str] | None = None
    ) -> None:
        self._execution = execution
        self._version = version
        self._spool_folder = spool_folder
        self._credentials = credentials
        self._running: set[str] = set()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One request."""
        answer = Answer(send)
        if scope["path"] in {"/ping", "/replicas_status"}:
            await answer.plain(HTTPStatus.OK, b"Ok.\n")
        elif scope["path"] not in {"/", ""}:
            await answer.plain(HTTPStatus.NOT_FOUND, f"There is no handle {scope['path']}\n".encode())
        else:
            await self._answer(scope, receive, answer)

    async def _answer(self, scope: Message, receive: Receive, answer: Answer) -> None:
        query_id = ""
        try:
            request = requests.parse(scope["method"], scope["query_string"], scope["headers"])
            query_id = request.query_id
            self._check_credentials(request)
            with Spool(self._spool_folder) as received, Spool(self._spool_folder) as nothing:
                await _receive(received, request.content_encoding, receive)
                body = received
                if request.form_boundary:
                    request = request.with_form(
                        requests.form_fields(b"".join(received.pieces()), request.form_boundary)
                    )
                    body = nothing
                if request.query or body.size or scope["method"] == "POST":
                    with self._named(query_id):
                        await _while_connected(self._run(request, body, answer), receive)
                else:
                    await answer.plain(HTTPStatus.OK, b"Ok.\n")
        except ServerError as error:
            await self._refuse(error, answer, query_id)
        except OSError as error:
            # A full disk, no more descriptors: not the client's fault, and the process goes on.
            _log.exception("query %s", query_id)
            await self._refuse(ServerError.of(Code.UNKNOWN_EXCEPTION, str(error)), answer, query_id)
        except asyncio.CancelledError:
            # An INSERT may still get done: this code promises nothing, as a cut connection would not.
            stopping = ServerError.of(Code.QUERY_WAS_CANCELLED, "Query was cancelled: the server is stopping")
            await self._refuse(stopping, answer, query_id)
            raise
        except DisconnectedError:
            _log.info("the client of query %s went away", query_id)

    async def _refuse(self, error: ServerError, answer: Answer, query_id: str) -> None:
        if answer.started:
            await answer.broken(error, self._version)
        else:
            await answer.failed(error, self._version, query_id)

    async def _run(self, request: Request, body: Spool, answer: Answer) -> None:
        # Query in the URL and in the body are one text, as on the server.
        before = request.query + b"\n" if request.query and body.size else request.query
        insert = insert_at_start(before + body.start(_STATEMENT_BYTES))
        statement = insert or analyse(before + b"".join(body.pieces()))
        await self._execution.answer(request, statement, Data(before, body), answer)

    def _check_credentials(self, request: Request) -> None:
        if self._credentials is not None and not requests.permitted(request, *self._credentials):
            raise ServerError.of(
                Code.AUTHENTICATION_FAILED,
                f"{request.user}: Authentication failed: password is incorrect, or there is no user with such name",
            )

    @contextmanager
    def _named(self, query_id: str) -> Iterator[None]:
        if query_id in self._running:
            raise ServerError.of(
                Code.QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING, f"Query with id = {query_id} is already running"
            )
        self._running.add(query_id)
        try:
            yield
        finally:
            self._running.discard(query_id)


async def _receive(body: Spool, encoding: str, receive: Receive) -> None:
    decoder = Decoder(encoding) if encoding not in {"", "identity"} else None
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise DisconnectedError
        piece = message.get("body", b"")
        body.append(decoder.decode(piece) if decoder else piece)
        more = message.get("more_body", False)
    if decoder:
        decoder.finish()


async def _while_connected(work: Coroutine[Any, Any, None], receive: Receive) -> None:
    """Does `work`; when the client goes away before it ends, cancels it and raises `DisconnectedError`."""
    task = asyncio.create_task(work)
    gone = asyncio.create_task(_disconnect(receive))
    try:
        await asyncio.wait([task, gone], return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise DisconnectedError
        await task
    finally:
        gone.cancel()
        task.cancel()
        with suppress(asyncio.CancelledError, ServerError):
            await task


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
