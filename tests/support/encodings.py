"""Undoes what a server compressed."""

from __future__ import annotations

import gzip
import zlib

import lz4.frame  # type: ignore[import-untyped]  # has no type information


def unpack(packed: bytes, encoding: str) -> bytes:
    """What was compressed, undone by other code than the server's where there is any."""
    if encoding == "lz4":
        return bytes(lz4.frame.decompress(packed))
    if encoding == "zstd":
        from backports import zstd

        return zstd.decompress(packed)
    return gzip.decompress(packed) if encoding == "gzip" else zlib.decompress(packed)
