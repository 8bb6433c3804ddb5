"""A request's body, complete before anything runs: a connection cut in the middle must never be half an insert."""

from __future__ import annotations

import tempfile
from typing import IO, TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

MEMORY_BYTES: Final = 64 * 1024 * 1024
_READ_BYTES: Final = 1024 * 1024


class Spool:
    """Bytes in order, in memory up to a limit, then in a nameless file that the kernel removes with the process.

    Pieces are kept as they came (they are handed to the engine one by one, so nothing is copied).
    """

    def __init__(self, folder: Path, memory_bytes: int = MEMORY_BYTES) -> None:
        self._folder = folder
        self._memory_bytes = memory_bytes
        self._pieces: list[bytes] = []
        self._file: IO[bytes] | None = None
        self.size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def append(self, piece: bytes) -> None:
        """Takes the next piece."""
        if not piece:
            return
        self.size += len(piece)
        if self._file is None and self.size <= self._memory_bytes:
            self._pieces.append(piece)
            return
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - closed by `close`
            self._file.writelines(self._pieces)
            self._pieces.clear()
        self._file.write(piece)

    def start(self, length: int) -> bytes:
        """The first `length` bytes, or all."""
        found = bytearray()
        for piece in self.pieces():
            found += piece[: length - len(found)]
            if len(found) >= length:
                break
        return bytes(found)

    def pieces(self, skip: int = 0) -> Iterator[bytes]:
        """All bytes after the first `skip`."""
        left = self.size - skip
        for piece in self._from_memory(skip) if self._file is None else self._from_file(self._file, skip):
            left -= len(piece)
            yield piece
        if left > 0:
            raise RuntimeError("the body was closed while it was read")

    def close(self) -> None:
        """Forgets everything; who still reads gets an error, never a shorter body."""
        self._pieces.clear()
        if self._file is not None:
            self._file.close()

    def _from_memory(self, skip: int) -> Iterator[bytes]:
        for piece in self._pieces:
            if skip < len(piece):
                yield piece[skip:] if skip else piece
            skip = max(0, skip - len(piece))

    @staticmethod
    def _from_file(file: IO[bytes], skip: int) -> Iterator[bytes]:
        file.seek(skip)
        while piece := file.read(_READ_BYTES):
            yield piece
