"""What the Events API keeps in the control database: retry keys, custom types, and counts of refused events."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    event,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from audit_infra.access.database import transaction, unusable
from audit_infra.access.migrations import open_migrated

metadata = MetaData()

# Instants are milliseconds since 1970, UTC, as in the other control tables; `occurred_at` has an event's microseconds.
event_keys = Table(
    "event_keys",
    metadata,
    # A hash of workspace, app and key: rows of different tenants can't meet.
    Column("id", String(36), primary_key=True),
    Column("attempt", String(32), nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("content", String(32), nullable=False),
    Column("occurred_at", BigInteger, nullable=False),
    Column("lease_until", BigInteger, nullable=False),
    Column("kept_until", BigInteger, nullable=False),
    Index("event_keys_kept_until", "kept_until"),
)
event_types = Table(
    "event_types",
    metadata,
    Column("workspace_id", String(64), primary_key=True),
    Column("name", String(96), primary_key=True),
    Column("label", String(80), nullable=False),
    Column("app_id", String(64), nullable=False),
    Column("first_used_at", BigInteger),
    Column("schema", Text, nullable=False),
    Column("mode", String(16), nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)
refused_events = Table(
    "refused_events",
    metadata,
    Column("workspace_id", String(64), primary_key=True),
    Column("day", String(10), primary_key=True),
    Column("app_id", String(64), primary_key=True),
    Column("reason", String(32), primary_key=True),
    Column("events", Integer().with_variant(BigInteger, "postgresql"), nullable=False),
)


class Database:
    """The control database for whoever writes much to it: SQLite by default, PostgreSQL by URL. Thread-safe."""

    def __init__(self, url: str) -> None:
        """Opens it and brings its tables up to date. Raises what `Access.open` does."""
        self.engine: Engine = open_migrated(url)
        self.one_writer = self.engine.dialect.name == "sqlite"
        """Whether writers wait for each other, so that more than one at a time gains nothing."""
        if self.one_writer:
            event.listen(self.engine, "connect", _checkpoint_seldom)
            self.engine.dispose()  # the connection there is was made without

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Raises `ControlUnavailable` when the database can't be reached or is locked for too long."""
        try:
            with transaction(self.engine) as connection:
                yield connection
        except IntegrityError as error:
            raise unusable(error) from None

    def insert(self, table: Table) -> Any:
        """An insert that can say what happens to rows that are there already (`on_conflict_do_…`)."""
        return sqlite.insert(table) if self.one_writer else postgresql.insert(table)

    def close(self) -> None:
        """Closes the connections."""
        self.engine.dispose()


def _checkpoint_seldom(connection: Any, _record: object) -> None:
    # Retry keys are random, so each claim changes many pages of their index: copied into the file less often, a page
    # that changed several times is copied once.
    connection.execute("PRAGMA wal_autocheckpoint = 8000")


__all__ = ["Database", "event_keys", "event_types", "metadata", "refused_events"]
