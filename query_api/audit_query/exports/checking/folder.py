"""How the files of a pack are opened when nothing in it is trusted: regular files of this one folder, never a link."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from audit_schemas.errors import AuditError


class Unusable(AuditError):
    """There is nothing that could be checked: no folder, no manifest, or no usable key."""


class Missing(AuditError):
    """The folder has no file of this name."""


class Unreadable(AuditError):
    """There is something of this name, but it is no file that can be read."""


class Folder:
    """One folder. Names are taken as they are: the caller makes sure that they hold no separator."""

    def __init__(self, path: Path) -> None:
        """Raises `Unusable` when it is no folder that can be read."""
        self.path = path
        try:
            self._names = frozenset(one.name for one in path.iterdir())
        except OSError as error:
            raise Unusable(f"{path}: {error.strerror}") from None

    @property
    def names(self) -> frozenset[str]:
        """Everything in the folder, as it was when it was opened."""
        return self._names

    def open(self, name: str) -> BinaryIO:
        """The file, to be closed; a link is not followed, a pipe not waited for. Raises `Missing` and `Unreadable`."""
        try:
            number = os.open(self.path / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            raise Missing(name) from None
        except OSError as error:
            linked = error.errno == errno.ELOOP
            raise Unreadable("is a symbolic link" if linked else f"can't be read: {error.strerror}") from None
        if not stat.S_ISREG(os.fstat(number).st_mode):
            os.close(number)
            raise Unreadable("is not a regular file")
        return os.fdopen(number, "rb")

    def read(self, name: str, most: int) -> bytes:
        """The whole file. Raises as `open` does, and `Unreadable` when it has more than `most` bytes."""
        with self.open(name) as file:
            if os.fstat(file.fileno()).st_size > most:
                raise Unreadable(f"has more than {most} bytes")
            return file.read(most)


def size(file: BinaryIO) -> int:
    """How many bytes an open file has."""
    return os.fstat(file.fileno()).st_size


__all__ = ["Folder", "Missing", "Unreadable", "Unusable", "size"]
