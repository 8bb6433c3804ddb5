"""Which of several relays works: the one that keeps changing a row.

No clocks are compared and no connection is kept open, so that it works alike on SQLite, on PostgreSQL and through a
pooler of connections. That two relays work at once for a moment can't be ruled out by any lease; what it costs is said
in `audit_producers.outbox.relay`.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Final

from sqlalchemy import Connection, Engine, Table, insert, select, update
from sqlalchemy.exc import IntegrityError

_THE_ROW: Final = 1
_NOBODY: Final = ""
RENEWED_WITHIN: Final = 0.25
"""The holder changes the row after this part of the time after which others take it."""


class Lease:
    """One relay's view of the row. Belongs to one thread; calls block on the database and raise what it raises.

    Args:
        table: where the row is; it is made when missing.
        takeover_s: seconds for which the row must stay unchanged before another relay takes it.
        monotonic: seconds that pass; for tests.
    """

    def __init__(self, table: Table, takeover_s: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._table, self._takeover_s, self._monotonic = table, takeover_s, monotonic
        self._me = secrets.token_hex(16)
        self._renewed_at: float | None = None
        self._seen: tuple[str, int] | None = None
        self._seen_at = 0.0

    @property
    def held(self) -> bool:
        """Whether this relay had it when it last asked."""
        return self._renewed_at is not None

    def hold(self, engine: Engine) -> bool:
        """Takes or renews it where that is due and possible; whether this relay has it."""
        now = self._monotonic()
        if self._renewed_at is not None and now - self._renewed_at < self._takeover_s * RENEWED_WITHIN:
            return True
        try:
            with engine.begin() as connection:
                held = self._renewed(connection) if self.held else self._taken(connection, now)
        except IntegrityError:
            # Two relays that start at once both find no row; the second finds the first one's.
            held = False
        self._renewed_at = now if held else None
        return held

    def release(self, engine: Engine) -> None:
        """Leaves it to others at once, where this relay has it."""
        if self.held:
            self._renewed_at = None
            with engine.begin() as connection:
                connection.execute(update(self._table).where(self._table.c.holder == self._me).values(holder=_NOBODY))

    def _renewed(self, connection: Connection) -> bool:
        row = self._table.c
        mine = update(self._table).where(row.holder == self._me).values(beat=row.beat + 1)
        return connection.execute(mine).rowcount == 1

    def _taken(self, connection: Connection, now: float) -> bool:
        row = self._table.c
        found = connection.execute(select(row.holder, row.beat).where(row.id == _THE_ROW)).one_or_none()
        if found is None:
            connection.execute(insert(self._table).values(id=_THE_ROW, holder=self._me, beat=0))
            return True
        seen = (str(found.holder), int(found.beat))
        if seen != self._seen:
            self._seen, self._seen_at = seen, now
        if found.holder != _NOBODY and now - self._seen_at < self._takeover_s:
            return False
        unchanged = update(self._table).where(row.holder == found.holder, row.beat == found.beat)
        return connection.execute(unchanged.values(holder=self._me, beat=row.beat + 1)).rowcount == 1


__all__ = ["Lease"]
