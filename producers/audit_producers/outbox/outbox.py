"""`Outbox.emit`: writes an event into a table of the caller's database, in the caller's transaction."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Unpack

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Identity,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    func,
    insert,
    select,
    update,
)

from audit_infra.clock import utc_now
from audit_producers import context, recording
from audit_producers.fields import EventFields, refuse_unknown
from audit_producers.outbox.stored import text_of
from audit_schemas.acceptance import Acceptance
from audit_schemas.catalogue import load
from audit_schemas.datum import head_of
from audit_schemas.event import MAX_EVENT_BYTES, Event, refuse_too_large

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session
    from sqlalchemy.orm import Session, scoped_session

STAMP_BYTES: Final = 1024
"""Room for the stamp that whoever relays an event puts on it: three short texts and a number."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """What is in the table. `waiting`: events to be relayed; `oldest_s`: for how long the first of them has waited;
    `set_aside`: rows that are no events, with the reason in their column `set_aside`."""

    waiting: int
    oldest_s: float
    set_aside: int


class Outbox:
    """The table, and how events get into it. One per database, made anywhere; it opens nothing and keeps no state.

    Thread-safe. Tables are part of `metadata`, so that the caller's migrations make them; `create` makes them too.

    Args:
        name: the table's name. A second one, `<name>_relay`, says which relay works.
        schema: the database schema of both.
        metadata: where both are added, such as that of the caller's models.
        clock: the instant now; for tests.
    """

    def __init__(
        self,
        name: str = "audit_outbox",
        *,
        schema: str | None = None,
        metadata: MetaData | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._metadata, self._clock = MetaData() if metadata is None else metadata, clock
        self._acceptance = Acceptance(load())
        self.table = Table(
            name,
            self._metadata,
            Column("id", BigInteger().with_variant(Integer, "sqlite"), Identity(), primary_key=True),
            Column("event_id", String(36), nullable=False),
            # Milliseconds since 1970, UTC.
            Column("written_at", BigInteger, nullable=False),
            Column("event", Text, nullable=False),
            Column("set_aside", Text),
            schema=schema,
            # Else SQLite gives the number of a removed row again, and whoever still means the old one hits the new.
            sqlite_autoincrement=True,
        )
        self.relay_table = Table(
            f"{name}_relay",
            self._metadata,
            Column("id", Integer, primary_key=True, autoincrement=False),
            Column("holder", String(32), nullable=False),
            Column("beat", BigInteger, nullable=False),
            schema=schema,
        )

    def create(self, bind: Engine | Connection) -> None:
        """Makes the tables that are missing; for callers without migrations."""
        self._metadata.create_all(bind, tables=[self.table, self.relay_table])

    def emit(
        self,
        connection: Connection | Session | scoped_session[Session],
        event_type: str,
        /,
        **fields: Unpack[EventFields],
    ) -> str:
        """Validates the event and inserts it in the transaction of `connection`; returns its id.

        Nothing else happens: it is recorded when that transaction commits, and never when it does not. While a
        recorder is active (`audit_log_recorder`), the recorder takes the event and nothing is inserted.

        Raises:
            InvalidEvent: with every problem; nothing was inserted and the transaction can go on.
            TypeError: for a field that events don't have, and for an asynchronous session, which `aemit` takes.
            SQLAlchemyError: as any insert of the caller's.
        """
        event = self._accepted(event_type, fields)
        if not _recorded(event):
            result: Any = connection.execute(*self._insert(event))
            if inspect.iscoroutine(result):
                result.close()
                raise TypeError("nothing was emitted: an asynchronous session needs `await outbox.aemit(...)`")
        return event.event_id

    async def aemit(
        self,
        connection: AsyncConnection | AsyncSession | async_scoped_session[AsyncSession],
        event_type: str,
        /,
        **fields: Unpack[EventFields],
    ) -> str:
        """`emit` for asyncio."""
        event = self._accepted(event_type, fields)
        if not _recorded(event):
            await connection.execute(*self._insert(event))
        return event.event_id

    def backlog(self, connection: Connection) -> Backlog:
        """What is in the table now, for metrics and alarms. Reads all of it that waits."""
        row = self.table.c
        waiting, oldest = connection.execute(
            select(func.count(), func.min(row.written_at)).where(row.set_aside.is_(None))
        ).one()
        aside = connection.execute(select(func.count()).where(row.set_aside.is_not(None))).scalar_one()
        return Backlog(waiting, 0.0 if oldest is None else max(0.0, (self._now_ms() - oldest) / 1000), aside)

    def release(self, connection: Connection) -> int:
        """Gives the rows that were set aside to the relay again, after they or the program were mended; how many."""
        row = self.table.c
        return connection.execute(update(self.table).where(row.set_aside.is_not(None)).values(set_aside=None)).rowcount

    def _accepted(self, event_type: str, fields: EventFields) -> Event:
        refuse_unknown(fields)
        event = self._acceptance.accept(event_type, context.filled(dict(fields)), self._clock())
        refuse_too_large(len(head_of(event)), MAX_EVENT_BYTES - STAMP_BYTES)
        return event

    def _insert(self, event: Event) -> tuple[Any, dict[str, Any]]:
        values = {"event_id": event.event_id, "written_at": self._now_ms(), "event": text_of(event)}
        # Inline: the number is not asked back, so that a service needs no right to read the table.
        return insert(self.table).inline(), values

    def _now_ms(self) -> int:
        return int(self._clock().timestamp() * 1000)


def _recorded(event: Event) -> bool:
    recorder = recording.active()
    if recorder is not None:
        recorder.take(event)
    return recorder is not None


__all__ = ["Backlog", "Outbox"]
