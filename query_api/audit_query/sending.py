"""Sends a file, or a part of one, from the disk, and says in the end how much of it went out."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import anyio
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

_PIECE: Final = 262_144


class SentFile(Response):
    """`length` bytes from `first` on. `ended` hears how many were handed to the server, once there is an answer to GET.

    Stops when the other side has gone; should the file be shorter than it was, the connection is closed without an end.
    """

    def __init__(
        self,
        path: Path,
        status: int,
        headers: Sequence[tuple[str, str]],
        first: int,
        length: int,
        ended: Callable[[int], None],
    ) -> None:
        super().__init__(status_code=status)
        self.raw_headers = [(name.encode(), value.encode()) for name, value in headers]
        self._path, self._first, self._length, self._ended = path, first, length, ended
        self._sent = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        try:
            async with anyio.create_task_group() as tasks:

                async def until_gone() -> None:
                    while (await receive())["type"] != "http.disconnect":
                        pass
                    tasks.cancel_scope.cancel()

                tasks.start_soon(until_gone)
                await self._send(send)
                tasks.cancel_scope.cancel()
        finally:
            self._ended(self._sent)

    async def _send(self, send: Send) -> None:
        descriptor = await run_in_threadpool(os.open, self._path, os.O_RDONLY)
        try:
            while left := self._length - self._sent:
                size, at = min(_PIECE, left), self._first + self._sent
                piece = await run_in_threadpool(os.pread, descriptor, size, at)
                if not piece:
                    return
                await send({"type": "http.response.body", "body": piece, "more_body": len(piece) < left})
                self._sent += len(piece)
        finally:
            os.close(descriptor)


__all__ = ["SentFile"]
