"""One holder at a time: an exclusive lock on a file, given up by the kernel when its process ends."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class FolderBusyError(Exception):
    """Another process holds the lock; `note` is what that process wrote into the file."""

    def __init__(self, note: str) -> None:
        self.note = note
        super().__init__(note)


@contextmanager
def exclusive(path: Path, *, note: str = "", wait: bool) -> Iterator[None]:
    """Holds `path` until the block ends; waits for an earlier holder, or raises `FolderBusyError` at once.

    The lock belongs to the open file, so it goes when the process goes, however it ends. The file itself stays:
    removing it would let two processes hold two files of one name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise FolderBusyError(os.read(descriptor, 4096).decode(errors="replace").strip()) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, note.encode())
        yield
    finally:
        os.close(descriptor)


__all__ = ["FolderBusyError", "exclusive"]
