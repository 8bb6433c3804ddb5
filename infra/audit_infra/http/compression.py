"""Packs answers with zstd or gzip as the caller allows, streams chunk by chunk as they come.

Starlette's own middleware knows neither zstd nor weights.
"""

from __future__ import annotations

import sys
import zlib
from typing import Any, Final, Protocol

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from audit_infra.http.accept import weights

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LEAST: Final = 1024
"""Bytes below which packing saves nothing."""
_ASIDE: Final = 65_536
"""Bytes from which on packing takes so long that other requests should not wait for it."""
_MEDIA: Final = frozenset(
    {
        "application/json",
        "application/problem+json",
        "application/x-ndjson",
        "image/svg+xml",
        "text/css",
        "text/csv",
        "text/html",
        "text/javascript",
    }
)
"""Event streams are not among them: each event must leave at once and alone."""
_NOT_WHOLE: Final = frozenset({204, 206, 304})
"""Statuses whose answers have no body, or a part of one."""


class Packer(Protocol):
    """Packs one answer."""

    def piece(self, data: bytes) -> bytes:
        """What can be unpacked as soon as it arrives."""

    def last(self, data: bytes) -> bytes:
        """The end: without it the answer is not complete."""


class _Gzip:
    def __init__(self) -> None:
        self._packer = zlib.compressobj(level=1, wbits=31)

    def piece(self, data: bytes) -> bytes:
        return self._packer.compress(data) + self._packer.flush(zlib.Z_SYNC_FLUSH)

    def last(self, data: bytes) -> bytes:
        return self._packer.compress(data) + self._packer.flush()


class _Zstd:
    def __init__(self) -> None:
        # Of events level 3 makes no smaller files, and takes 2.5 times as long.
        self._packer = zstd.ZstdCompressor(level=1)

    def piece(self, data: bytes) -> bytes:
        return self._packer.compress(data, zstd.ZstdCompressor.FLUSH_BLOCK)

    def last(self, data: bytes) -> bytes:
        return self._packer.compress(data, zstd.ZstdCompressor.FLUSH_FRAME)


_PACKERS: Final[dict[str, type[Packer]]] = {"zstd": _Zstd, "gzip": _Gzip}


def coding(accept_encoding: str) -> str:
    """zstd or gzip, whichever the caller likes better, or "" for neither. Of equal ones zstd, which is faster."""
    given = weights(accept_encoding)
    best = max(_PACKERS, key=lambda name: given.get(name, given.get("*", 0)))
    weight = given.get(best, given.get("*", 0))
    return best if weight > 0 and weight >= given.get("identity", 0) else ""


class Compression:
    """ASGI middleware. A stream that breaks off stays broken: the packed end is sent only after the answer's own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            allowed = ",".join(Headers(scope=scope).getlist("accept-encoding"))
            send = _Sending(send, "" if scope["method"] == "HEAD" else coding(allowed))
        await self._app(scope, receive, send)


class _Sending:
    """Sends one answer. The start waits for the first bytes, whose number may say that packing is not worth it."""

    def __init__(self, send: Send, name: str) -> None:
        self._send, self._name = send, name
        self._start: Message | None = None
        self._packer: Packer | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and self._worth(message):
            self._start = message
        elif message["type"] == "http.response.body" and self._start is not None:
            start, self._start = self._start, None
            await self._begin(start, message)
        elif message["type"] == "http.response.body" and self._packer is not None:
            await self._send({**message, "body": await self._packed(message)})
        else:
            await self._send(message)

    def _worth(self, start: Message) -> bool:
        headers = MutableHeaders(raw=list(start["headers"]))
        media = headers.get("content-type", "").partition(";")[0].strip().lower()
        if media not in _MEDIA or start["status"] in _NOT_WHOLE or "content-encoding" in headers:
            return False
        headers.add_vary_header("Accept-Encoding")
        start["headers"] = headers.raw
        return bool(self._name)

    async def _begin(self, start: Message, message: Message) -> None:
        more = message.get("more_body", False)
        if more or len(message.get("body", b"")) >= LEAST:
            self._packer = _PACKERS[self._name]()
            message = {**message, "body": await self._packed(message)}
            headers = MutableHeaders(raw=list(start["headers"]))
            headers["content-encoding"] = self._name
            tag = headers.get("etag", "")
            if tag and not tag.startswith("W/") and not tag.endswith(f'-{self._name}"'):
                headers["etag"] = f"W/{tag}"  # a strong tag names other bytes than these
            if more:
                del headers["content-length"]
            else:
                headers["content-length"] = str(len(message["body"]))
            start = {**start, "headers": headers.raw}
        await self._send(start)
        await self._send(message)

    async def _packed(self, message: Message) -> bytes:
        assert self._packer is not None  # noqa: S101  # for mypy: both callers have made or found one
        data: Any = message.get("body", b"")
        pack = self._packer.piece if message.get("more_body", False) else self._packer.last
        return await run_in_threadpool(pack, data) if len(data) >= _ASIDE else pack(data)


__all__ = ["LEAST", "Compression", "coding"]
