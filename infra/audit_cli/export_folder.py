"""The folder that an export is fetched into: what it is an export of, and files that are whole or not there."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Self
from uuid import uuid4

from audit_query.exports.checking import MANIFEST
from audit_schemas.errors import AuditError

STATE = ".audit-log-export.json"
"""Is there until the export is complete."""
_PARTIAL = ".partial"
_PIECE = 1024 * 1024


class FolderProblem(AuditError):
    """The folder can't be used for this export; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Which export belongs into the folder. `asked` is the request, or the job that was named."""

    asked: Mapping[str, Any]
    key: str
    """Sent as Idempotency-Key: however often the request is sent, it makes one job."""
    export_id: str = ""

    @classmethod
    def new(cls, asked: Mapping[str, Any]) -> Self:
        """For an export that nobody has asked for yet."""
        return cls(asked, uuid4().hex, str(asked.get("job", "")))


class ExportFolder:
    """One folder, held by one process at a time. Raises `FolderProblem` and the `OSError` of a full disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    @contextmanager
    def held(cls, path: Path) -> Iterator[Self]:
        """The folder, made when it is missing, for this process alone."""
        try:
            path.mkdir(parents=True, exist_ok=True)
            number = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise FolderProblem(f"{path}: {error.strerror}") from None
        try:
            try:
                fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise FolderProblem(f"{path}: another command is fetching an export into this folder") from None
            except OSError as error:
                raise FolderProblem(f"{path} can't be locked: {error.strerror}") from None
            yield cls(path)
        finally:
            os.close(number)

    def memory(self, asked: Mapping[str, Any]) -> Memory:
        """What belongs here, from now on also after a crash. Raises `FolderProblem` when something else does."""
        found = self._remembered()
        if found is not None:
            if found.asked != asked:
                raise FolderProblem(
                    f"{self.path} holds what another command began: {_told(found)}."
                    " Run that command again to go on with it, or choose another folder"
                )
            return found
        # A crash may have left the beginning of the memory itself.
        if {one.name for one in self.path.iterdir()} - {f"{STATE}{_PARTIAL}"}:
            complete = self.finished()
            found_here = f"holds the export {complete}, complete" if complete else "is not empty, and holds no export"
            raise FolderProblem(f"{self.path} {found_here}: choose another folder")
        made = Memory.new(asked)
        self._remember(made)
        return made

    def belongs_to(self, memory: Memory, export_id: str) -> Memory:
        """Writes down which job the request has made."""
        if memory.export_id not in ("", export_id):
            raise FolderProblem(f"{self.path} holds files of the export {memory.export_id}, not of {export_id}")
        known = replace(memory, export_id=export_id)
        if known != memory:
            self._remember(known)
        return known

    def finished(self) -> str | None:
        """The id of the complete export that is here."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            if not (self.path / STATE).exists():
                return str(json.loads((self.path / MANIFEST).read_bytes())["export_id"])
        return None

    def has(self, name: str, size: int) -> bool:
        """Whether the file is here, whole."""
        path = self.path / name
        return path.is_file() and path.stat().st_size == size

    @contextmanager
    def partial(self, name: str) -> Iterator[Partial]:
        """What there is of a file so far."""
        with (self.path / f"{name}{_PARTIAL}").open("a+b") as file:
            yield Partial(file, self.path / name)

    def write(self, name: str, content: bytes) -> None:
        """A small file, at once and durably."""
        with self.partial(name) as file:
            file.restart()
            file.add(content)
            file.finish()

    def discard(self, name: str) -> None:
        """Deletes a file, so that it is fetched again."""
        (self.path / name).unlink(missing_ok=True)

    def complete(self) -> None:
        """Nothing is left to do here."""
        (self.path / STATE).unlink()

    def _remembered(self) -> Memory | None:
        try:
            found = json.loads((self.path / STATE).read_bytes())
            return Memory(found["asked"], found["key"], found["export_id"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            raise FolderProblem(f"{self.path / STATE} can't be read: choose another folder") from None

    def _remember(self, memory: Memory) -> None:
        text = json.dumps({"asked": memory.asked, "key": memory.key, "export_id": memory.export_id}, indent=2)
        self.write(STATE, text.encode() + b"\n")


class Partial:
    """A file that gets its name when it is whole, and the SHA-256 of what is there."""

    def __init__(self, file: BinaryIO, target: Path) -> None:
        self._file, self._target = file, target
        self._hash = hashlib.sha256()
        self.size = 0
        file.seek(0)
        while piece := file.read(_PIECE):
            self._hash.update(piece)
            self.size += len(piece)

    @property
    def sha256(self) -> str:
        """Of what is there."""
        return self._hash.hexdigest()

    def add(self, piece: bytes) -> None:
        """The next bytes."""
        self._file.write(piece)
        self._file.flush()  # a crash of the process loses nothing that came
        self._hash.update(piece)
        self.size += len(piece)

    def restart(self) -> None:
        """Throws away what is there."""
        self._file.truncate(0)
        self._hash = hashlib.sha256()
        self.size = 0

    def finish(self) -> None:
        """The file has its name, whatever becomes of the machine."""
        os.fsync(self._file.fileno())
        Path(self._file.name).rename(self._target)
        number = os.open(self._target.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def _told(memory: Memory) -> str:
    export = f"the export {memory.export_id}" if memory.export_id else "an export"
    return export if "job" in memory.asked else f"{export} of {json.dumps(memory.asked)}"


__all__ = ["STATE", "ExportFolder", "FolderProblem", "Memory", "Partial"]
