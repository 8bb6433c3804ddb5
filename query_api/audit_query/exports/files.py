"""The files of exports: each written aside, made durable, and only then given its name.

An export has a folder of its own, named by its id. A part's file bears the number of the claim that wrote it, so that a
worker that was taken over can't put its file in the place of one that is recorded.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from isal import isal_zlib

from audit_query.exports.form import Format
from audit_query.exports.job import GZIPPED, Part
from audit_query.exports.tally import Tally

_GZIP: Final = 31
_LEVEL: Final = 1
"""Of ISA-L's; smaller than zlib's level 1 and three times as fast."""
_TEMPORARY: Final = ".tmp"
_STORED: Final = re.compile(r"\.?part-[0-9]+-([0-9]+)\.")
_ID: Final = re.compile(r"[0-9a-f]{32}")


class _Packer(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Written:
    """A finished file: sizes in bytes, SHA-256 in hex, of the file and of its unpacked content.

    `rows` were counted in the content; None where it was too large to tell.
    """

    bytes: int
    sha256: str
    content_bytes: int
    content_sha256: str
    rows: int | None


class PartFile:
    """One part being written. Blocks on the disk; raises `OSError`. Ended by `finish` or `discard`."""

    def __init__(self, folder: Path, name: str, form: Format) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path, self._temporary = folder / name, folder / f".{name}{_TEMPORARY}"
        self._packer: _Packer | None = isal_zlib.compressobj(_LEVEL, wbits=_GZIP) if form in GZIPPED else None
        self._content, self._packed, self._bytes = Tally(form), hashlib.sha256(), 0
        self._file = os.fdopen(os.open(self._temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640), "wb", 0)

    def add(self, content: bytes) -> None:
        """The next bytes of the content."""
        self._content.add(content)
        self._write(content if self._packer is None else self._packer.compress(content))

    def finish(self) -> Written:
        """The file is there under its name, whatever becomes of the machine."""
        if self._packer is not None:
            self._write(self._packer.flush())
        os.fsync(self._file.fileno())
        self._file.close()
        self._temporary.rename(self._path)
        _sync(self._path.parent)
        _sync(self._path.parent.parent)
        content = self._content
        return Written(self._bytes, self._packed.hexdigest(), content.bytes, content.sha256, content.rows)

    def discard(self) -> None:
        """Nothing is left of it. Does nothing after `finish`."""
        self._file.close()
        self._temporary.unlink(missing_ok=True)

    def _write(self, packed: bytes) -> None:
        self._packed.update(packed)
        self._bytes += len(packed)
        rest = memoryview(packed)
        while rest:
            # A file without a buffer may take less than it was given.
            rest = rest[self._file.write(rest) :]


class Files:
    """The folder of all exports. Blocks on the disk; raises `OSError`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def folder(self, export_id: str) -> Path:
        """The export's folder, whether or not it is there. Raises `ValueError` for what is no id."""
        if not _ID.fullmatch(export_id):
            raise ValueError(f"{export_id!r} is not the id of an export")
        return self._folder / export_id

    def path(self, export_id: str, part: Part) -> Path | None:
        """The file of a part, None when it is not there as it was recorded."""
        found = self.folder(export_id) / part.stored
        try:
            return found if found.stat().st_size == part.bytes else None
        except FileNotFoundError:
            return None

    def sweep(self, export_id: str, parts: Collection[Part], generation: int) -> None:
        """Deletes what claims up to this one left behind: all their files but those of these parts.

        Files of later claims stay: a worker that was taken over without having noticed knows nothing of them.
        """
        kept = {part.stored for part in parts}
        folder = self.folder(export_id)
        for entry in folder.iterdir() if folder.exists() else ():
            name = _STORED.match(entry.name)
            if name is not None and int(name[1]) <= generation and entry.name not in kept:
                entry.unlink(missing_ok=True)

    def remove(self, export_id: str, part: Part) -> None:
        """The file of one part is gone; no error when it was."""
        (self.folder(export_id) / part.stored).unlink(missing_ok=True)

    def delete(self, export_id: str) -> None:
        """The export's files are gone; no error when they were."""
        folder = self.folder(export_id)
        if folder.exists():
            shutil.rmtree(folder)


def stored_name(number: int, generation: int, form: Format) -> str:
    """The name of a part's file in the export's folder."""
    return f"part-{number:05}-{generation}.{form}{'.gz' if form in GZIPPED else ''}"


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


__all__ = ["Files", "PartFile", "Written", "stored_name"]
