"""Brings the control database up to date: whoever opens it gets the tables this code knows, or is told why not."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, inspect, text

from audit_infra.access.database import open_engine, transaction
from audit_schemas.errors import ContractBroken

HEAD: Final = "0003"
"""The newest revision, so that a database that has it is opened without Alembic."""
_FOLDER: Final = Path(__file__).parent
_LOCK_ID: Final = 4_711_250_001
"""Any number that nobody else takes an advisory lock of."""
_one_at_a_time = threading.Lock()


def open_migrated(url: str) -> Engine:
    """The engine of a database that is up to date. Raises what `migrate` does."""
    engine = open_engine(url)
    try:
        migrate(engine)
    except BaseException:
        engine.dispose()
        raise
    return engine


def migrate(engine: Engine) -> list[str]:
    """Applies the revisions that the database lacks, all or none; which ones.

    Safe for several processes at once: one does the work, the others wait for it. Tables made before there were
    revisions are kept as they are. Raises `ControlUnavailable`, and `ContractBroken` for a database that a newer
    version of this code has changed.
    """
    with transaction(engine) as connection:
        if _revision(connection) == HEAD:
            return []
    # Alembic's context belongs to the whole process.
    with _one_at_a_time, transaction(engine) as connection:
        _lock(connection)
        return _upgrade(connection)


def _lock(connection: Connection) -> None:
    """Other processes wait here until the transaction ends."""
    if connection.dialect.name == "sqlite":
        # The driver begins transactions late, and never for the making of tables.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.execute(text("SELECT pg_advisory_xact_lock(:id)"), {"id": _LOCK_ID})


def _upgrade(connection: Connection) -> list[str]:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    known = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()][::-1]
    current = _revision(connection)
    if current is not None and current not in known:
        raise ContractBroken(
            f"the control database is at revision {current}, and this version knows those up to {known[-1]}:"
            " a newer version has changed it; run that one"
        )
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    return known[known.index(current) + 1 :] if current else known


def _revision(connection: Connection) -> str | None:
    """The database's, None when it has none."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found


__all__ = ["HEAD", "migrate", "open_migrated"]
