"""Reads a request's body into memory: its type, its coding, and a bound that holds before anything is unpacked."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import zlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final, Protocol

from starlette.requests import ClientDisconnect, Request

from audit_infra.http.accept import media_type
from audit_infra.http.body_problems import (
    busy,
    too_large,
    too_slow,
    unreadable,
    unsupported_media_type,
)

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_WINDOW_LOG: Final = 23
"""Eight mebibytes, which RFC 8878 asks decoders to support; a frame may ask for more memory and gets none."""
_MEMBERS: Final = 100
"""A gzip or zstd body may have several parts; each costs a decoder."""
_GZIP: Final = 31


class TooMuch(Exception):
    """There is more than there is room for."""


class Unpacker(Protocol):
    """Undoes a coding, chunk by chunk."""

    def feed(self, data: bytes, room: int) -> bytes:
        """What the data unpacks to. Raises `TooMuch` as soon as it is more than `room` bytes, 400 for damaged data."""

    def finish(self) -> None:
        """Raises 400 when the data ended too early."""


class _Identity:
    def feed(self, data: bytes, room: int) -> bytes:
        if len(data) > room:
            raise TooMuch
        return data

    def finish(self) -> None:
        pass


class _Gzip:
    def __init__(self) -> None:
        self._member, self._members = zlib.decompressobj(_GZIP), 1

    def feed(self, data: bytes, room: int) -> bytes:
        pieces, size = [], 0
        while data:
            if self._member.eof:
                self._member, self._members = zlib.decompressobj(_GZIP), _next_member(self._members)
            try:
                pieces.append(self._member.decompress(data, room + 1 - size))
            except zlib.error as error:
                raise unreadable(f"the body is not gzip: {error}") from None
            size += len(pieces[-1])
            if size > room:
                raise TooMuch
            data = self._member.unused_data
        return b"".join(pieces)

    def finish(self) -> None:
        if not self._member.eof:
            raise unreadable("the gzip body ends too early")


class _Zstd:
    def __init__(self) -> None:
        self._frame, self._frames = self._begin(), 1

    def feed(self, data: bytes, room: int) -> bytes:
        pieces, size = [], 0
        while data or not (self._frame.eof or self._frame.needs_input):
            if self._frame.eof:
                self._frame, self._frames = self._begin(), _next_member(self._frames)
            try:
                pieces.append(self._frame.decompress(data, room + 1 - size))
            except zstd.ZstdError as error:
                raise unreadable(f"the body is not zstd: {error}") from None
            size += len(pieces[-1])
            if size > room:
                raise TooMuch
            data = self._frame.unused_data if self._frame.eof else b""
        return b"".join(pieces)

    def finish(self) -> None:
        if not self._frame.eof:
            raise unreadable("the zstd body ends too early")

    def _begin(self) -> zstd.ZstdDecompressor:
        return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _WINDOW_LOG})


def _next_member(members: int) -> int:
    if members >= _MEMBERS:
        raise unreadable(f"the body has more than {_MEMBERS} compressed parts")
    return members + 1


_CODINGS: Final[Mapping[str, Callable[[], Unpacker]]] = {
    "": _Identity,
    "identity": _Identity,
    "gzip": _Gzip,
    "x-gzip": _Gzip,
    "zstd": _Zstd,
}


def unpacker(coding: str) -> Unpacker:
    """For the value of a Content-Encoding. Raises 415 for codings that are not taken."""
    made = _CODINGS.get(coding.strip().lower())
    if made is None:
        raise unsupported_media_type(f"Content-Encoding {coding!r} is not one of gzip, zstd", accept_encoding=True)
    return made()


def check_type(request: Request) -> None:
    """Raises 415 unless the body says that it is JSON in UTF-8."""
    given = request.headers.getlist("content-type")
    name, *parameters = [part.strip().lower() for part in (given or [""])[0].split(";")]
    if len(given) != 1 or name != "application/json":
        raise unsupported_media_type("Content-Type must be application/json")
    charsets = [part.partition("=")[2].strip('" ') for part in parameters if part.startswith("charset")]
    if any(charset not in ("utf-8", "utf8") for charset in charsets):
        raise unsupported_media_type("JSON is taken in UTF-8 only")


def check_accept(request: Request) -> None:
    """Raises 406 when the caller takes no JSON."""
    media_type(",".join(request.headers.getlist("accept")), ("application/json",))


class Bodies:
    """Bodies in memory. `most_bytes` is for all requests together, `seconds` for one body to arrive."""

    def __init__(self, most_bytes: int, seconds: float) -> None:
        self._free, self._seconds = most_bytes, seconds

    @contextlib.asynccontextmanager
    async def read(self, request: Request, most: int) -> AsyncIterator[bytes]:
        """The unpacked body, which counts against the bound inside the block.

        Raises `ProblemError`: 400 for damaged data, 408 when it takes too long, 413 for more than `most` bytes, packed
        or unpacked, 415 for an unknown coding, 503 when there is no memory left for it.
        """
        unpack = unpacker(",".join(request.headers.getlist("content-encoding")))
        length = request.headers.get("content-length", "")
        if length.isdecimal() and (len(length) > 12 or int(length) > most):
            raise too_large("bytes", most)
        taken = 0
        try:
            pieces = []
            try:
                async with asyncio.timeout(self._seconds):
                    packed = 0
                    async for chunk in request.stream():
                        packed += len(chunk)
                        if packed > most:
                            raise too_large("bytes", most)
                        piece = unpack.feed(chunk, most - taken)
                        if len(piece) > self._free:
                            raise busy()
                        self._free -= len(piece)
                        taken += len(piece)
                        pieces.append(piece)
                unpack.finish()
            except TooMuch:
                raise too_large("bytes", most) from None
            except TimeoutError:
                raise too_slow(self._seconds) from None
            except ClientDisconnect:
                raise unreadable("the connection ended before the body did") from None
            yield b"".join(pieces)
        finally:
            self._free += taken


__all__ = ["Bodies", "TooMuch", "Unpacker", "check_accept", "check_type", "unpacker"]
