"""Relays a stream so that a broken one can't be taken for a complete one."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Sequence
from typing import Self

import anyio
import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from audit_schemas.errors import AuditError

log = structlog.get_logger("audit_query.stream")


class Relayed(Response):
    """Bytes as they come. When they break off, the connection is closed without an end: no error text in the data."""

    def __init__(self, headers: Sequence[tuple[str, str]], first: bytes, rest: AsyncGenerator[bytes]) -> None:
        super().__init__()
        self.raw_headers = encoded(headers)
        self._first, self._rest = first, rest

    @classmethod
    async def begin(cls, headers: Sequence[tuple[str, str]], body: AsyncGenerator[bytes]) -> Self:
        """Waits for the first bytes, so that what fails at once is answered with a proper status."""
        return cls(headers, await anext(body, b""), body)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification. Stops reading as soon as the other side has gone."""
        async with anyio.create_task_group() as tasks:

            async def until_gone() -> None:
                while (await receive())["type"] != "http.disconnect":
                    pass
                tasks.cancel_scope.cancel()

            tasks.start_soon(until_gone)
            await self._relay(send, head=scope["method"] == "HEAD")
            tasks.cancel_scope.cancel()

    async def _relay(self, send: Send, *, head: bool) -> None:
        """Returning without a last empty body makes the server close the connection."""
        async with contextlib.aclosing(self._rest):
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            if head:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                return
            if self._first:
                await send({"type": "http.response.body", "body": self._first, "more_body": True})
            try:
                async for chunk in self._rest:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            except AuditError as error:
                log.warning("a stream broke off", error=str(error))
                return
            await send({"type": "http.response.body", "body": b"", "more_body": False})


def encoded(headers: Sequence[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    """As ASGI has them."""
    return [(name.encode(), value.encode()) for name, value in headers]


__all__ = ["Relayed", "encoded"]
