"""How the control database is opened and used, by whoever has tables there: SQLite by default, PostgreSQL by URL."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import InterfaceError, OperationalError

from audit_infra.access.principal import ControlUnavailable


def open_engine(url: str) -> Engine:
    """The engine of a SQLAlchemy URL. SQLite files get their folder made."""
    parsed = make_url(url)
    engine = create_engine(parsed)
    if parsed.get_backend_name() == "sqlite":
        if parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        event.listen(engine, "connect", _prepare_sqlite)
    return engine


@contextlib.contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """Raises `ControlUnavailable` when the database can't be reached or is locked for too long."""
    try:
        with engine.begin() as connection:
            yield connection
    except (OperationalError, InterfaceError) as error:
        raise unusable(error) from None


def unusable(error: Any) -> ControlUnavailable:
    """What callers hear of an error of the database."""
    return ControlUnavailable(f"the control database can't be used: {error.orig}")


def _prepare_sqlite(connection: Any, _record: object) -> None:
    """Several processes share the file: readers don't wait for the writer, writers wait for each other."""
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA busy_timeout = 5000")
    connection.execute("PRAGMA foreign_keys = ON")


__all__ = ["open_engine", "transaction", "unusable"]
