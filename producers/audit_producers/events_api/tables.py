"""What the Events API keeps in the control database: retry keys, custom types, and counts of refused events."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
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
    create_engine,
    event,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import IntegrityError, InterfaceError, OperationalError

from audit_infra.access import ControlUnavailable

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
        """Opens it and makes the tables that are missing. Raises `ControlUnavailable`."""
        parsed = make_url(url)
        self.engine: Engine = create_engine(parsed)
        self.one_writer = parsed.get_backend_name() == "sqlite"
        """Whether writers wait for each other, so that more than one at a time gains nothing."""
        if self.one_writer:
            if parsed.database:
                Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
            event.listen(self.engine, "connect", _prepare_sqlite)
        try:
            with self.transaction() as connection:
                metadata.create_all(connection)
        except ControlUnavailable:
            # Two processes that start at once both find a table missing; the second finds it made.
            with self.transaction() as connection:
                metadata.create_all(connection)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Raises `ControlUnavailable` when the database can't be reached or is locked for too long."""
        try:
            with self.engine.begin() as connection:
                yield connection
        except (OperationalError, InterfaceError, IntegrityError) as error:
            raise ControlUnavailable(f"the control database can't be used: {error.orig}") from None

    def insert(self, table: Table) -> Any:
        """An insert that can say what happens to rows that are there already (`on_conflict_do_…`)."""
        return sqlite.insert(table) if self.one_writer else postgresql.insert(table)

    def close(self) -> None:
        """Closes the connections."""
        self.engine.dispose()


def _prepare_sqlite(connection: Any, _record: object) -> None:
    """Several processes share the file: readers don't wait for the writer, writers wait for each other."""
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA busy_timeout = 5000")
    connection.execute("PRAGMA foreign_keys = ON")
    # Retry keys are random, so each claim changes many pages of their index: copied into the file less often, a page
    # that changed several times is copied once.
    connection.execute("PRAGMA wal_autocheckpoint = 8000")


__all__ = ["Database", "event_keys", "event_types", "metadata", "refused_events"]
