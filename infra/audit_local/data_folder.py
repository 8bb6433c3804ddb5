"""Where the local stack keeps its things, and what it says of itself there."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from audit_local.errors import LocalStackError
from audit_local.file_lock import FileLockedError, exclusive, holder_note
from audit_local.units import ProcessView, State

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True)
class WorkspaceAccess:
    """How to get into one demo workspace; the keys are secrets. `app_key` is a custom app's, for the Events API."""

    id: str
    plan: str
    api_key: str
    app_key: str
    sign_in_url: str


@dataclass(frozen=True)
class StackState:
    """What `audit-log status --json` prints, and the same as the file `stack.json`."""

    ready: bool = False
    addresses: Mapping[str, str | None] = field(default_factory=dict)
    processes: tuple[ProcessView, ...] = ()
    workspaces: tuple[WorkspaceAccess, ...] = ()

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Raises `ValueError`, `KeyError` or `TypeError` for anything that `to_json` did not write."""
        raw: dict[str, Any] = json.loads(text)
        return cls(
            ready=bool(raw["ready"]),
            addresses=dict(raw["addresses"]),
            processes=tuple(ProcessView(p["name"], p["pid"], State(p["state"])) for p in raw["processes"]),
            workspaces=tuple(WorkspaceAccess(**w) for w in raw["workspaces"]),
        )

    def stopped(self) -> Self:
        """The same stack when none of its processes runs."""
        processes = tuple(ProcessView(process.name, None, State.STOPPED) for process in self.processes)
        return replace(self, ready=False, processes=processes)


class DataFolder:
    """One stack's folder. Whether a stack runs there is told by the lock alone, which dies with its holder."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.kafka = self.path / "kafka"
        self.clickhouse = self.path / "clickhouse"
        self.spool = self.path / "spool"
        self.exports = self.path / "exports"
        self.signing_keys = self.path / "signing-keys"
        self.logs = self.path / "logs"
        self.control_database = self.path / "control.db"
        self._lock = self.path / "stack.lock"
        self._state = self.path / "stack.json"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Makes the folder and holds it; raises `LocalStackError` when it can't, or when another process holds it.

        A new folder is closed to other users. One that was there keeps its mode: it may be somebody's home.
        """
        try:
            self.path.mkdir(parents=True, mode=0o700, exist_ok=True)
            self._lock.touch(0o600)
        except OSError as error:
            raise LocalStackError(f"{self.path} can't be used: {error.strerror}") from None
        try:
            with exclusive(self._lock, note=str(os.getpid()), wait=False):
                yield
        except FileLockedError as busy:
            where = self.read().addresses.get("query_api")
            raise LocalStackError(
                f"the stack of {self.path} runs already, as process {busy.note}"
                + (f", and answers at {where}" if where else "")
                + ". Stop it with `audit-log down`, or use another folder with --data-dir."
            ) from None

    @property
    def running(self) -> bool:
        """Whether some process holds the folder now."""
        return holder_note(self._lock) is not None

    @property
    def holder(self) -> int | None:
        """The process id of the supervisor that holds the folder, if one does."""
        note = holder_note(self._lock)
        return int(note) if note and note.isdigit() else None

    def read(self) -> StackState:
        """What the stack last wrote; after a supervisor that was killed, every process is `stopped`."""
        try:
            state = StackState.from_json(self._state.read_text())
        except (OSError, ValueError, KeyError, TypeError):
            return StackState()
        return state if self.running else state.stopped()

    def write(self, state: StackState) -> None:
        """Replaces the file in one step; readable by this user alone, since it holds keys."""
        descriptor, temporary = tempfile.mkstemp(dir=self.path, prefix=".stack-")  # mkstemp makes it 0600
        with os.fdopen(descriptor, "w") as file:
            file.write(state.to_json() + "\n")
        Path(temporary).replace(self._state)

    def secret(self, name: str) -> str:
        """A random text, made on first use and the same in every later run; readable by this user alone."""
        path = self.path / f"{name}.secret"
        if not path.exists():
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_urlsafe(32))
        return path.read_text()

    def check_deletable(self) -> None:
        """Raises `LocalStackError` while a stack runs here, and for a folder that never was a stack's."""
        if not self._lock.exists():
            raise LocalStackError(f"{self.path} is not the data folder of a stack; nothing was deleted")
        with self.held():
            pass

    def delete_content(self) -> None:
        """Empties the folder but for the lock; the same errors as `check_deletable`."""
        self.check_deletable()
        with self.held():
            for entry in self.path.iterdir():
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                elif entry != self._lock:
                    entry.unlink()


__all__ = ["DataFolder", "StackState", "WorkspaceAccess"]
