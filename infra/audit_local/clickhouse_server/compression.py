"""Content-Encoding in both directions: lz4 frames, zstd, gzip, deflate."""

from __future__ import annotations

import sys
import zlib
from typing import TYPE_CHECKING, Final, Protocol

import lz4.frame  # type: ignore[import-untyped]  # has no type information

from audit_local.clickhouse_server.errors import Code, ServerError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Callable

_GZIP_WINDOW: Final = 31
_FAST: Final = 1


class _Frame(Protocol):
    """One compressed frame being read."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes | None: ...
    def decompress(self, data: bytes, /) -> bytes: ...


class Encoder(Protocol):
    """A compressed answer being written."""

    def encode(self, data: bytes) -> bytes:
        """What can be sent now; may be nothing yet."""

    def finish(self) -> bytes:
        """The rest of the frame."""


_FRAMES: Final[dict[str, Callable[[], _Frame]]] = {
    "lz4": lz4.frame.LZ4FrameDecompressor,
    "zstd": zstd.ZstdDecompressor,
    "gzip": lambda: zlib.decompressobj(_GZIP_WINDOW),
    "deflate": zlib.decompressobj,
}


class Decoder:
    """Reads a compressed body piece by piece; several frames in a row are one body, as `cat a.gz b.gz` makes them."""

    def __init__(self, encoding: str) -> None:
        if encoding not in _FRAMES:
            raise ServerError.of(Code.UNKNOWN_COMPRESSION_METHOD, f"Unknown compression method {encoding!r}")
        self._make = _FRAMES[encoding]
        self._frame: _Frame | None = None

    def decode(self, data: bytes) -> bytes:
        """The bytes behind `data`; raises `ServerError` when they are no such frame."""
        pieces = []
        while data:
            if self._frame is None:
                self._frame = self._make()
            try:
                pieces.append(self._frame.decompress(data))
            except (RuntimeError, zlib.error, zstd.ZstdError) as error:
                raise ServerError.of(
                    Code.CANNOT_DECOMPRESS, f"The request's body cannot be decompressed: {error}"
                ) from None
            data = b""
            if self._frame.eof:
                data = self._frame.unused_data or b""
                self._frame = None
        return b"".join(pieces)

    def finish(self) -> None:
        """Raises `ServerError` when the last frame is not complete."""
        if self._frame is not None:
            raise ServerError.of(Code.CANNOT_READ_ALL_DATA, "The request's compressed body is cut short")


class _Lz4Encoder:
    def __init__(self) -> None:
        self._frame = lz4.frame.LZ4FrameCompressor()
        self._ready: bytes = self._frame.begin()

    def encode(self, data: bytes) -> bytes:
        packed: bytes = self._ready + self._frame.compress(data)
        self._ready = b""
        return packed

    def finish(self) -> bytes:
        packed: bytes = self._ready + self._frame.flush()
        return packed


class _ZstdEncoder:
    def __init__(self) -> None:
        self._frame = zstd.ZstdCompressor(level=_FAST)

    def encode(self, data: bytes) -> bytes:
        return self._frame.compress(data)

    def finish(self) -> bytes:
        return self._frame.flush()


class _ZlibEncoder:
    def __init__(self, window: int) -> None:
        self._frame = zlib.compressobj(_FAST, wbits=window)

    def encode(self, data: bytes) -> bytes:
        return self._frame.compress(data)

    def finish(self) -> bytes:
        return self._frame.flush()


# Cheapest first: both ends share one machine.
_ENCODERS: Final[dict[str, Callable[[], Encoder]]] = {
    "lz4": _Lz4Encoder,
    "zstd": _ZstdEncoder,
    "gzip": lambda: _ZlibEncoder(_GZIP_WINDOW),
    "deflate": lambda: _ZlibEncoder(zlib.MAX_WBITS),
}


def choose(accept_encoding: str) -> str:
    """The encoding for an answer, or nothing; `q=0` refuses one, other weights don't matter to us."""
    accepted = set()
    for entry in accept_encoding.lower().split(","):
        name, _, weight = entry.partition(";")
        if weight.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}:
            accepted.add(name.strip())
    return next((name for name in _ENCODERS if name in accepted), "")


def encoder(encoding: str) -> Encoder:
    """A fresh encoder for what `choose` gave."""
    return _ENCODERS[encoding]()
