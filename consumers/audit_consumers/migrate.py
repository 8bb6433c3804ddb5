"""Applies the numbered table definitions, each once, and refuses when one was changed after it was applied."""

from __future__ import annotations

from collections.abc import Callable, Collection

from audit_consumers.clickhouse import ClickHouseStore, connect, translated
from audit_infra.settings import ClickHouseSettings
from audit_schemas.errors import ContractBroken
from audit_schemas.migrations import Migration, migrations

_RECORD = (
    "CREATE TABLE IF NOT EXISTS audit_migrations (number UInt32, name String, checksum String,"
    " applied_at DateTime64(3, 'UTC') DEFAULT now64(3)) ENGINE = MergeTree ORDER BY number"
    " SETTINGS fsync_after_insert = 1, fsync_part_directory = 1"
)


def migrate(settings: ClickHouseSettings, open_intents: Callable[[], Collection[str]]) -> list[Migration]:
    """Brings the database up to date; returns what was applied.

    A migration that touches a view changes what a token matches, so on a database in use it runs only while
    `open_intents` names none. Raises `ContractBroken` for a changed or unknown migration and for open intents.
    """
    with translated():
        client = connect(settings, database="")
        client.command(f"CREATE DATABASE IF NOT EXISTS `{settings.clickhouse_database}`")
        client.close()
    store = ClickHouseStore(settings)
    try:
        store.command(_RECORD)
        pending = _pending(store)
        in_use = len(pending) < len(migrations())
        if in_use and any(migration.touches_views for migration in pending) and (intents := open_intents()):
            raise ContractBroken(
                "these batches are on their way and would lose their token; stop the workers and try again: "
                + ", ".join(sorted(intents))
            )
        for migration in pending:
            for statement in migration.statements:
                store.command(statement)
            store.insert_rows(
                "audit_migrations",
                ("number", "name", "checksum"),
                [(migration.number, migration.name, migration.checksum)],
            )
        return pending
    finally:
        store.close()


def _pending(store: ClickHouseStore) -> list[Migration]:
    applied = {
        row[0]: (row[1], row[2]) for row in store.rows("SELECT number, name, checksum FROM audit_migrations", {})
    }
    known = {migration.number: migration for migration in migrations()}
    faults = [
        f"migration {number:04} {name} was applied, but this version does not know it"
        for number, (name, _) in sorted(applied.items())
        if number not in known
    ]
    faults += [
        f"migration {number:04} {known[number].name} was changed after it was applied"
        for number, (_, checksum) in sorted(applied.items())
        if number in known and known[number].checksum != checksum
    ]
    if faults:
        raise ContractBroken("; ".join(faults))
    return [migration for number, migration in known.items() if number not in applied]


__all__ = ["migrate"]
