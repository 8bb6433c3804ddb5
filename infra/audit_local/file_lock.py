"""One holder at a time: an exclusive lock on a file, given up by the kernel when its process ends."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATIENCE_SECONDS = 0.5
"""How long taking a lock bears with another holder: `holder_note` holds it for an instant, too."""


class FileLockedError(Exception):
    """Another process holds the lock; `note` is what that process wrote into the file."""

    def __init__(self, note: str) -> None:
        self.note = note
        super().__init__(note)


@contextmanager
def exclusive(path: Path, *, note: str = "", wait: bool, patience_seconds: float = PATIENCE_SECONDS) -> Iterator[None]:
    """Holds `path` until the block ends; waits for an earlier holder, or soon raises `FileLockedError`.

    The lock belongs to the open file, so it goes when the process goes, however it ends. The file itself stays:
    removing it would let two processes hold two files of one name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if wait:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        else:
            _take_soon(descriptor, patience_seconds)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, note.encode())
        yield
    finally:
        os.close(descriptor)


def holder_note(path: Path) -> str | None:
    """What the holder wrote into the file; None when nobody holds it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _text(descriptor)
    else:
        return None
    finally:
        os.close(descriptor)


def _take_soon(descriptor: int, patience_seconds: float) -> None:
    deadline = time.monotonic() + patience_seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise FileLockedError(_text(descriptor)) from None
            time.sleep(0.02)
        else:
            return


def _text(descriptor: int) -> str:
    return os.pread(descriptor, 4096, 0).decode(errors="replace").strip()


__all__ = ["FileLockedError", "exclusive", "holder_note"]
