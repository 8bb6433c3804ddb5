"""From a statement to its answer: engine calls on threads, and what becomes of them when the client goes away."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from audit_local.clickhouse_server import compression
from audit_local.clickhouse_server.answer import Head, native_header
from audit_local.clickhouse_server.body import Spool
from audit_local.clickhouse_server.errors import ServerError
from audit_local.clickhouse_server.pipe import Pipe
from audit_local.clickhouse_server.statement import DataInsert, Read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from audit_local.clickhouse_server.answer import Answer
    from audit_local.clickhouse_server.engine import Engine
    from audit_local.clickhouse_server.request import Request
    from audit_local.clickhouse_server.statement import Other

T = TypeVar("T")

# A read's answer that ends within both goes out whole: with its length, its summary, and an error's own status.
_HOLD_BYTES: Final = 256 * 1024
_HOLD_SECONDS: Final = 0.03


class Execution:
    """Runs `slots` statements at once; further ones wait for their turn."""

    def __init__(self, engine: Engine, slots: int, spool_folder: Path) -> None:
        """Answers that must be complete before they go out, and are large, wait in `spool_folder`."""
        self._engine = engine
        self._spool_folder = spool_folder
        self._queries = ThreadPoolExecutor(slots, "query")
        # Of its own, so that a query can be cancelled while all slots are taken.
        self._kills = ThreadPoolExecutor(1, "kill")
        self._unfinished: set[Future[Any]] = set()

    def stop(self, seconds: float) -> bool:
        """Begins nothing more, and says whether all that ran has ended within the time."""
        self._queries.shutdown(wait=False, cancel_futures=True)
        self._kills.shutdown(wait=False)
        return not wait(self._unfinished, seconds).not_done

    def _submit(self, function: Callable[[], T]) -> Future[T]:
        future = self._queries.submit(function)
        self._unfinished.add(future)
        future.add_done_callback(self._unfinished.discard)
        return future

    async def answer(self, request: Request, statement: DataInsert | Read | Other, data: Data, answer: Answer) -> None:
        """Runs the statement and sends its answer.

        When cancelled, a read is cancelled in the engine; anything else that has begun goes on to its end, as on the
        server, and is waited for.
        """
        if isinstance(statement, DataInsert):
            insert = statement
            summary = await self._call(
                lambda: self._engine.insert(
                    insert.head, insert.format, data.after(insert.data_at), request.session, request.query_id
                )
            )
            await answer.whole(self._head(request, insert.format), summary, [], 0)
        elif isinstance(statement, Read):
            await self._read(request, statement, answer)
        else:
            other = statement
            body, summary = await self._call(
                lambda: self._engine.run(other.text, request.format, request.session, request.query_id)
            )
            await answer.whole(self._head(request, other.format or request.format), summary, [body], len(body))

    async def _read(self, request: Request, read: Read, answer: Answer) -> None:
        head = self._head(request, read.format or request.format)
        pipe = Pipe()
        sink = pipe.sink
        future = self._submit(
            lambda: self._engine.read(read.body, head.format, read.tail, request.session, request.query_id, sink)
        )
        try:
            with Spool(self._spool_folder) as held:
                ended = await _hold(pipe, held, everything=request.wait_end_of_query)
                if not ended:
                    await answer.begin(head)
                    for piece in held.pieces():
                        await answer.piece(piece)
                    held.close()
                    while piece := await pipe.read():
                        await answer.piece(piece)
                    await asyncio.wrap_future(future)
                    await answer.end()
                    return
                summary = await asyncio.wrap_future(future)
                if not held.size and head.format == "Native":
                    columns = await self._call(lambda: self._engine.columns(read.body, request.session))
                    held.append(native_header(columns))
                await answer.whole(head, summary, held.pieces(), held.size)
        finally:
            pipe.close()
            if future.cancel():
                os.close(sink)
            elif not future.done():
                self._kills.submit(self._engine.kill, request.query_id)
                await _ended(future)

    async def _call(self, function: Callable[[], T]) -> T:
        future = self._submit(function)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            if not future.cancel():
                await _ended(future)
            raise

    def _head(self, request: Request, form: str) -> Head:
        timezone = request.session.settings.get("session_timezone") or self._engine.timezone
        return Head(request.query_id, form, timezone, compression.choose(request.accept_encoding))


class Data:
    """The rows sent with an INSERT: what stands behind the statement, and the rest of the body."""

    def __init__(self, before_body: bytes, body: Spool) -> None:
        self._before_body = before_body
        self._body = body

    def after(self, position: int) -> Iterator[bytes]:
        """All bytes from `position` on, counted from the beginning of the statement."""
        if position < len(self._before_body):
            yield self._before_body[position:]
        yield from self._body.pieces(max(0, position - len(self._before_body)))


async def _hold(pipe: Pipe, held: Spool, *, everything: bool) -> bool:
    """Takes the beginning of an answer into `held`, and says whether it is all of it."""
    held.append(await pipe.read())
    deadline = None if everything else asyncio.get_running_loop().time() + _HOLD_SECONDS
    while everything or held.size < _HOLD_BYTES:
        try:
            async with asyncio.timeout_at(deadline):
                piece = await pipe.read()
        except TimeoutError:
            return False
        if not piece:
            return True
        held.append(piece)
    return False


async def _ended(future: Future[Any]) -> None:
    with suppress(ServerError):
        await asyncio.wrap_future(future)
