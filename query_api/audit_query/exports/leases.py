"""What workers write: claims, beats, finished parts and ends. A write of a claim that was taken over is refused.

Each call is one transaction; thread-safe; may block on the disk. Raises `ControlUnavailable`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, delete, func, insert, select, update

from audit_infra.access.database import transaction
from audit_query.exports.choosing import Candidate
from audit_query.exports.job import ATTEMPTS, ERROR, FIXED, Attempt, Ended, Export, Fixed, Part, State
from audit_query.exports.records import milliseconds, part_values
from audit_query.exports.store import Proof, exclusive, one_of
from audit_query.exports.tables import export_parts, exports
from audit_schemas.errors import AuditError

TAKEN_OVER = "its worker gave no sign of life"


class Lost(AuditError):
    """The export was taken over or cancelled: nothing more may be written about it."""


@dataclass(frozen=True, slots=True)
class Held:
    """An export this worker works on, as of its claim. `failures`: attempts in a row that finished no part."""

    export: Export
    generation: int
    failures: int


class Leases:
    """The workers' side of the tables."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def candidates(self) -> tuple[list[Candidate], Mapping[str, int]]:
        """The jobs that have not ended, and the last turn of each of their workspaces."""
        wanted = select(exports).where(exports.c.kind == "job", exports.c.state.in_(("queued", "running")))
        with transaction(self._engine) as connection:
            rows = connection.execute(wanted).all()
            workspaces = {row.workspace_id for row in rows}
            turns = connection.execute(
                select(exports.c.workspace_id, func.max(exports.c.turn).label("turn"))
                .where(exports.c.workspace_id.in_(workspaces))
                .group_by(exports.c.workspace_id)
            ).all()
        names = ("id", "workspace_id", "state", "worker", "generation", "beat", "requested_at", "not_before")
        found = [Candidate(*(getattr(row, name) for name in names)) for row in rows]
        return found, {row.workspace_id: row.turn for row in turns}

    def claim(self, candidate: Candidate, worker: str, now: datetime, running: int) -> Held | None:
        """Takes the export as it was seen, None when somebody else did, or `running` of the workspace run by now."""
        with exclusive(self._engine) as connection:
            row = connection.execute(select(exports).where(exports.c.id == candidate.id)).one()
            lease = (candidate.state, candidate.generation, candidate.beat, candidate.worker)
            if (row.state, row.generation, row.beat, row.worker) != lease:
                return None
            if row.state == "queued" and self._running(connection, row.workspace_id) >= running:
                return None
            attempts, taken_over = ATTEMPTS.validate_json(row.attempts), row.worker is not None
            if taken_over:
                attempts = ended(attempts, "interrupted", TAKEN_OVER, now)
            if not attempts or attempts[-1].ended is not None:
                attempts = (*attempts, Attempt(len(attempts) + 1, now))
            failures = row.failures + (1 if taken_over else 0)
            turn = connection.execute(select(func.max(exports.c.turn))).scalar_one() + 1
            values = {
                "state": "running",
                "started_at": row.started_at or milliseconds(now),
                "attempts": ATTEMPTS.dump_json(attempts).decode(),
                "worker": worker,
                "generation": row.generation + 1,
                "beat": 0,
                "turn": turn,
                "failures": failures,
                "has_files": True,
            }
            connection.execute(update(exports).where(exports.c.id == row.id).values(values))
            found = one_of(connection, row.workspace_id, row.id)
            assert found is not None  # noqa: S101  # it was read in this transaction
            return Held(found, row.generation + 1, failures)

    def beat(self, held: Held) -> bool:
        """Renews the lease; False when it was lost."""
        with transaction(self._engine) as connection:
            return self._write(connection, held, beat=exports.c.beat + 1)

    def current(self, held: Held) -> Held:
        """The export as it is written down now. Raises `Lost`."""
        with exclusive(self._engine) as connection:
            self._must_write(connection, held)
            found = one_of(connection, held.export.workspace_id, held.export.id)
            failures = connection.execute(select(exports.c.failures).where(exports.c.id == held.export.id)).scalar_one()
        assert found is not None  # noqa: S101  # it was written in this transaction
        return Held(found, held.generation, failures)

    def fix(self, held: Held, fixed: Fixed) -> Held:
        """What holds for every part from now on; parts that were made otherwise are gone. Raises `Lost`."""
        with exclusive(self._engine) as connection:
            self._must_write(connection, held, fixed=FIXED.dump_json(fixed).decode())
            connection.execute(delete(export_parts).where(export_parts.c.export_id == held.export.id))
        return replace(held, export=replace(held.export, fixed=fixed, parts=()))

    def forget_parts(self, held: Held, number: int) -> Held:
        """Parts from this number on are made again. Raises `Lost`."""
        with exclusive(self._engine) as connection:
            self._must_write(connection, held)
            connection.execute(
                delete(export_parts).where(export_parts.c.export_id == held.export.id, export_parts.c.number >= number)
            )
        return replace(held, export=replace(held.export, parts=held.export.parts[: number - 1]))

    def record(self, held: Held, part: Part) -> Held:
        """A part is finished: its file is in place. Raises `Lost`."""
        with exclusive(self._engine) as connection:
            self._must_write(connection, held, failures=0)
            connection.execute(insert(export_parts).values(part_values(held.export.id, part)))
        return replace(held, export=replace(held.export, parts=(*held.export.parts, part)), failures=0)

    def release(self, held: Held, now: datetime, interrupted: str = "") -> None:
        """Gives it back for whoever comes next; without a reason the attempt goes on there. Does nothing when lost."""
        attempts = held.export.attempts
        if interrupted:
            attempts = ended(attempts, "interrupted", interrupted, now)
        with transaction(self._engine) as connection:
            self._write(connection, held, worker=None, attempts=ATTEMPTS.dump_json(attempts).decode())

    def try_again(self, held: Held, reason: str, now: datetime, wait: timedelta) -> None:
        """The attempt failed; another one begins after the wait. Raises `Lost`."""
        attempts = ended(held.export.attempts, "failed", reason, now)
        with transaction(self._engine) as connection:
            self._must_write(
                connection,
                held,
                worker=None,
                attempts=ATTEMPTS.dump_json(attempts).decode(),
                failures=held.failures + 1,
                not_before=milliseconds(now + wait),
            )

    def end(self, export: Export, held: Held, proof: Proof | None, keep: timedelta) -> None:
        """The export as it ended, with its signed manifest where there is one already. Raises `Lost`."""
        assert export.finished_at is not None  # noqa: S101  # the caller ends it
        with transaction(self._engine) as connection:
            self._must_write(
                connection,
                held,
                worker=None,
                state=export.state,
                finished_at=milliseconds(export.finished_at),
                expires_at=milliseconds(export.finished_at + keep),
                attempts=ATTEMPTS.dump_json(export.attempts).decode(),
                error=None if export.error is None else ERROR.dump_json(export.error).decode(),
                manifest=None if proof is None else proof.manifest,
                signature=None if proof is None else proof.signature,
                unsigned=proof is None,
                untold=True,
            )

    def unsigned(self, most: int = 100) -> list[Export]:
        """Those that ended and have no manifest yet: streams, and jobs that were cancelled."""
        return self._found(exports.c.unsigned.is_(True), most)

    def sign(self, export: Export, proof: Proof, keep: timedelta) -> bool:
        """The manifest of an ended export; False when it has one, or goes on, by now."""
        at = None if export.finished_at is None else milliseconds(export.finished_at + keep)
        with transaction(self._engine) as connection:
            written = connection.execute(
                update(exports)
                .where(exports.c.id == export.id, exports.c.unsigned.is_(True), exports.c.state == export.state)
                .values(
                    manifest=proof.manifest,
                    signature=proof.signature,
                    unsigned=False,
                    expires_at=at if export.kind == "job" else None,
                )
            )
            return written.rowcount == 1

    def untold(self, most: int = 100) -> list[Export]:
        """Those whose end is not yet recorded in the log."""
        return self._found(exports.c.untold.is_(True), most)

    def told(self, export: Export) -> None:
        """Its end is recorded."""
        with transaction(self._engine) as connection:
            connection.execute(update(exports).where(exports.c.id == export.id).values(untold=False))

    def outdated(self, now: datetime, most: int = 100) -> list[Export]:
        """Those whose files have been kept for long enough."""
        over = exports.c.has_files.is_(True) & (exports.c.expires_at <= milliseconds(now))
        return self._found(over & exports.c.state.not_in(("queued", "running")), most)

    def cleared(self, export: Export) -> None:
        """Its files are deleted: what was done has expired, other states stay what they are."""
        state: State = "expired" if export.state == "done" else export.state
        with transaction(self._engine) as connection:
            connection.execute(
                update(exports)
                .where(exports.c.id == export.id, exports.c.state == export.state)
                .values(state=state, has_files=False)
            )

    def abandoned_streams(self, before: datetime, now: datetime) -> None:
        """Streams that began before and never ended were cut off with their process."""
        with transaction(self._engine) as connection:
            connection.execute(
                update(exports)
                .where(
                    exports.c.kind == "stream",
                    exports.c.state == "running",
                    exports.c.requested_at < milliseconds(before),
                )
                .values(state="aborted", finished_at=milliseconds(now), unsigned=True)
            )

    def _found(self, condition: Any, most: int) -> list[Export]:
        with transaction(self._engine) as connection:
            rows = connection.execute(
                select(exports.c.workspace_id, exports.c.id).where(condition).order_by(exports.c.id).limit(most)
            ).all()
            found = [one_of(connection, row.workspace_id, row.id) for row in rows]
        return [one for one in found if one is not None]

    def _running(self, connection: Connection, workspace_id: str) -> int:
        wanted = select(func.count()).where(
            exports.c.workspace_id == workspace_id, exports.c.kind == "job", exports.c.state == "running"
        )
        return int(connection.execute(wanted).scalar_one())

    def _write(self, connection: Connection, held: Held, **values: Any) -> bool:
        mine = update(exports).where(
            exports.c.id == held.export.id,
            exports.c.generation == held.generation,
            exports.c.worker.is_not(None),
            exports.c.state == "running",
        )
        return connection.execute(mine.values(values or {"beat": exports.c.beat + 1})).rowcount == 1

    def _must_write(self, connection: Connection, held: Held, **values: Any) -> None:
        if not self._write(connection, held, **values):
            raise Lost(f"the export {held.export.id} was taken over or cancelled")


def ended(attempts: Sequence[Attempt], how: Ended, reason: str, now: datetime) -> tuple[Attempt, ...]:
    """The attempts, the last one ended unless it was."""
    if not attempts or attempts[-1].ended is not None:
        return tuple(attempts)
    return (*attempts[:-1], replace(attempts[-1], ended_at=now, ended=how, reason=reason))


__all__ = ["TAKEN_OVER", "Held", "Leases", "Lost", "ended"]
