"""Exports as the service reads and asks for them: in the control database, each call one transaction.

Every look-up takes a workspace. Thread-safe; may block on the disk. Raises `ControlUnavailable`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from typing import Any, Final, Self

from sqlalchemy import Connection, Engine, and_, func, insert, or_, select, text, update

from audit_infra.access.database import transaction
from audit_infra.access.migrations import open_migrated
from audit_query.exports.job import ATTEMPTS, Attempt, Export, Part, State
from audit_query.exports.records import export_of, milliseconds, new_values, part_values
from audit_query.exports.tables import export_parts, exports
from audit_schemas.errors import AuditError

_LOCK_ID: Final = 4_711_250_003
"""Any number that nobody else takes an advisory lock of."""


class KeyReused(AuditError):
    """The Idempotency-Key was used for another request."""


class QueueFull(AuditError):
    """As many exports of the workspace wait as may."""


class WrongState(AuditError):
    """The export is not in a state in which that can be done; the text says in which it is."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What was signed, and the signature's 64 bytes."""

    manifest: bytes
    signature: bytes


class ExportStore:
    """The exports of all workspaces."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @classmethod
    def open(cls, database_url: str) -> Self:
        """Opens the database and brings its tables up to date; raises what `Access.open` does."""
        return cls(open_migrated(database_url))

    def close(self) -> None:
        """Closes the connections."""
        self._engine.dispose()

    def asked_before(self, workspace_id: str, key: str, body_hash: str) -> Export | None:
        """The job that this Idempotency-Key asked for. Raises `KeyReused` when that was another request."""
        with transaction(self._engine) as connection:
            return _asked_before(connection, workspace_id, key, body_hash)

    def check_room(self, workspace_id: str, most: int) -> None:
        """Raises `QueueFull` when the workspace has `most` jobs that wait."""
        with transaction(self._engine) as connection:
            _check_room(connection, workspace_id, most)

    def create(self, export: Export, key: str, body_hash: str, most: int) -> tuple[Export, bool]:
        """The job, and whether it is new: of equal requests with one key the first makes it.

        Raises `KeyReused` and `QueueFull`.
        """
        with exclusive(self._engine) as connection:
            before = _asked_before(connection, export.workspace_id, key, body_hash)
            if before is not None:
                return before, False
            _check_room(connection, export.workspace_id, most)
            connection.execute(insert(exports).values(new_values(export, key=key, body_hash=body_hash)))
        return export, True

    def get(self, workspace_id: str, export_id: str) -> Export | None:
        """One, None when the workspace has none of this id."""
        with transaction(self._engine) as connection:
            return one_of(connection, workspace_id, export_id)

    def jobs(self, workspace_id: str, after: Export | None, most: int) -> list[Export]:
        """The newest jobs first, behind `after`."""
        wanted = select(exports).where(exports.c.workspace_id == workspace_id, exports.c.kind == "job")
        if after is not None:
            at = milliseconds(after.requested_at)
            earlier = and_(exports.c.requested_at == at, exports.c.id < after.id)
            wanted = wanted.where(or_(exports.c.requested_at < at, earlier))
        with transaction(self._engine) as connection:
            rows = connection.execute(
                wanted.order_by(exports.c.requested_at.desc(), exports.c.id.desc()).limit(most)
            ).all()
            parts = _parts(connection, [row.id for row in rows])
        return [export_of(row, parts.get(row.id, ())) for row in rows]

    def proof(self, workspace_id: str, export_id: str) -> Proof | None:
        """The signed manifest, None when there is none yet."""
        wanted = select(exports.c.manifest, exports.c.signature).where(*_is(workspace_id, export_id))
        with transaction(self._engine) as connection:
            row = connection.execute(wanted).one_or_none()
        return None if row is None or row.manifest is None else Proof(row.manifest, row.signature)

    def cancel(self, workspace_id: str, export_id: str, now: datetime) -> Export | None:
        """The job, cancelled from now on; None when there is none. Raises `WrongState` when it has ended otherwise.

        Whoever works on it loses it with the next beat. What had started gets a manifest of what is there.
        """
        with exclusive(self._engine) as connection:
            found = one_of(connection, workspace_id, export_id)
            if found is None or found.kind != "job" or found.state == "cancelled":
                return found
            if found.state not in ("queued", "running"):
                raise WrongState(f"the export is {found.state}")
            attempts = found.attempts
            if attempts and attempts[-1].ended is None:
                attempts = (*attempts[:-1], replace(attempts[-1], ended_at=now, ended="cancelled"))
            started = found.started_at is not None
            connection.execute(
                update(exports)
                .where(exports.c.id == export_id)
                .values(
                    state="cancelled",
                    finished_at=milliseconds(now),
                    attempts=ATTEMPTS.dump_json(attempts).decode(),
                    worker=None,
                    generation=exports.c.generation + 1,
                    unsigned=started,
                )
            )
            return one_of(connection, workspace_id, export_id)

    def retry(self, workspace_id: str, export_id: str, most: int) -> Export | None:
        """The job, queued again where it stopped, its finished parts kept; None when there is none.

        Raises `WrongState` unless it failed or was cancelled, and `QueueFull`.
        """
        with exclusive(self._engine) as connection:
            found = one_of(connection, workspace_id, export_id)
            if found is None or found.kind != "job" or found.state in ("queued", "running"):
                return found
            if found.state not in ("failed", "cancelled"):
                raise WrongState(f"the export is {found.state}")
            _check_room(connection, workspace_id, most)
            connection.execute(
                update(exports)
                .where(exports.c.id == export_id)
                .values(
                    state="queued",
                    finished_at=None,
                    expires_at=None,
                    error=None,
                    failures=0,
                    not_before=0,
                    manifest=None,
                    signature=None,
                    unsigned=False,
                )
            )
            return one_of(connection, workspace_id, export_id)

    def begin_stream(self, export: Export) -> None:
        """Writes a stream down that begins now."""
        with transaction(self._engine) as connection:
            connection.execute(insert(exports).values(new_values(export, key=None, body_hash="")))

    def end_stream(self, export_id: str, part: Part, attempt: Attempt, state: State, now: datetime) -> None:
        """A stream has ended with its one part; a worker signs its manifest. The second end of a stream is ignored."""
        with exclusive(self._engine) as connection:
            ended = connection.execute(
                update(exports)
                .where(exports.c.id == export_id, exports.c.state == "running")
                .values(
                    state=state,
                    finished_at=milliseconds(now),
                    attempts=ATTEMPTS.dump_json((attempt,)).decode(),
                    unsigned=True,
                )
            )
            if ended.rowcount:
                connection.execute(insert(export_parts).values(part_values(export_id, part)))


@contextlib.contextmanager
def exclusive(engine: Engine) -> Iterator[Connection]:
    """A transaction beside which there is no other of these: what is read in it stays so until it ends."""
    with transaction(engine) as connection:
        if connection.dialect.name == "sqlite":
            # The driver begins transactions late, with the first write.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.execute(text("SELECT pg_advisory_xact_lock(:id)"), {"id": _LOCK_ID})
        yield connection


def _is(workspace_id: str, export_id: str) -> tuple[Any, ...]:
    return exports.c.workspace_id == workspace_id, exports.c.id == export_id


def one_of(connection: Connection, workspace_id: str, export_id: str) -> Export | None:
    """One export of the workspace, as it is in this transaction."""
    row = connection.execute(select(exports).where(*_is(workspace_id, export_id))).one_or_none()
    return None if row is None else export_of(row, _parts(connection, [export_id]).get(export_id, ()))


def _asked_before(connection: Connection, workspace_id: str, key: str, body_hash: str) -> Export | None:
    wanted = select(exports.c.id, exports.c.body_hash).where(
        exports.c.workspace_id == workspace_id, exports.c.key == key
    )
    row = connection.execute(wanted).one_or_none()
    if row is None:
        return None
    if row.body_hash != body_hash:
        raise KeyReused("this Idempotency-Key was used for another request")
    return one_of(connection, workspace_id, row.id)


def _check_room(connection: Connection, workspace_id: str, most: int) -> None:
    wanted = select(func.count()).where(
        exports.c.workspace_id == workspace_id, exports.c.kind == "job", exports.c.state == "queued"
    )
    if connection.execute(wanted).scalar_one() >= most:
        raise QueueFull(f"{most} exports of the workspace wait already")


def _parts(connection: Connection, ids: Sequence[str]) -> dict[str, list[Any]]:
    wanted = (
        select(export_parts)
        .where(export_parts.c.export_id.in_(ids))
        .order_by(export_parts.c.export_id, export_parts.c.number)
    )
    rows = connection.execute(wanted).all() if ids else []
    return {export_id: list(found) for export_id, found in groupby(rows, lambda row: str(row.export_id))}


__all__ = ["ExportStore", "KeyReused", "Proof", "QueueFull", "WrongState", "exclusive", "one_of"]
