"""The control database is brought up to date by whoever opens it first, on SQLite and on PostgreSQL."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import MetaData, text

from audit_infra.access import Access, Scope
from audit_infra.access import migrations as revisions
from audit_infra.access.database import open_engine
from audit_infra.access.tables import metadata as access_tables
from audit_producers.events_api.tables import Database
from audit_producers.events_api.tables import metadata as events_api_tables
from audit_query.exports.tables import metadata as export_tables
from audit_schemas.errors import ContractBroken
from tests.builders import NOON
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine

    from tests.support.postgres import PostgresProcess

PROCESSES = 3
OPEN = "import sys; from audit_infra.access import Access; print(len(Access.open(sys.argv[1]).list_workspaces()))"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database that does not exist yet, or is empty."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/new folder/control.db"
    made: str = request.getfixturevalue("postgres").database()
    return made


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """The same, to look inside."""
    found = open_engine(url)
    yield found
    found.dispose()


def differences(context: MigrationContext) -> list[object]:
    """What the database and the code's tables do not agree on."""
    known = MetaData()
    for table in (*access_tables.sorted_tables, *events_api_tables.sorted_tables, *export_tables.sorted_tables):
        table.to_metadata(known)
    return list(compare_metadata(context, known))


def test_a_new_database_gets_the_tables_that_the_code_uses(url: str, engine: Engine) -> None:
    """Revisions and table definitions agree, for everybody's tables; once is enough."""
    assert revisions.migrate(engine) == ["0001", "0002", "0003"]
    assert revisions.migrate(engine) == []
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert differences(context) == []
        assert context.get_current_revision() == revisions.HEAD


def test_the_newest_revision_is_the_one_that_is_said() -> None:
    """A revision that is added without moving HEAD on would never be applied."""
    config = Config()
    config.set_main_option("script_location", str(next(iter(revisions.__path__))))
    assert ScriptDirectory.from_config(config).get_current_head() == revisions.HEAD


@pytest.mark.parametrize("with_events_api", [False, True])
def test_a_database_from_before_there_were_revisions_is_adopted(
    url: str, engine: Engine, *, with_events_api: bool
) -> None:
    """Its tables and what they hold stay; what is missing is added; keys made then open now."""
    with engine.begin() as connection:
        access_tables.create_all(connection)
        if with_events_api:
            events_api_tables.create_all(connection)
            connection.execute(text("INSERT INTO refused_events VALUES ('w1', '2026-03-14', 'crm', 'invalid', 3)"))
        connection.execute(text("INSERT INTO workspaces VALUES ('w1', 'One', 'starter', 1)"))
    with closing(Access.open(url)) as access:
        assert [one.name for one in access.list_workspaces()] == ["One"]
        secret = access.create_key("w1", [Scope.READ]).secret
        assert access.authenticate_key(secret, NOON).workspace_id == "w1"
    with closing(Database(url)) as database, database.transaction() as connection:
        kept = connection.execute(text("SELECT events FROM refused_events")).scalars().all()
        assert kept == ([3] if with_events_api else [])
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert differences(context) == []


def test_processes_that_start_at_once_do_not_disturb_each_other(url: str, engine: Engine) -> None:
    """On an empty database all open it, and each revision is applied once."""
    command = [sys.executable, "-c", OPEN, url]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(PROCESSES)]
    answers = [process.communicate(timeout=60) for process in started]
    assert [answer for answer, _ in answers] == [b"0\n"] * PROCESSES, answers
    with engine.connect() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all() == [revisions.HEAD]


def waiting(engine: Engine) -> int:
    """How many sessions wait for a lock; a transaction would see the same number again and again."""
    with engine.connect() as connection:
        counted = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        return int(connection.execute(text(counted)).scalar_one())


def test_who_comes_second_waits_for_the_first(postgres: PostgresProcess) -> None:
    """PostgreSQL would let both make the same tables, and fail one of them when the other commits."""
    url = postgres.database()
    first, second = open_engine(url), open_engine(url)
    with ThreadPoolExecutor(1) as others:
        with first.begin() as connection:
            revisions._lock(connection)
            assert revisions._upgrade(connection) == ["0001", "0002", "0003"]
            found = others.submit(revisions.migrate, second)
            eventually(lambda: waiting(first), 20, "the second one waits")
        assert found.result(20) == []
    first.dispose()
    second.dispose()


def test_a_database_that_a_newer_version_has_changed_is_refused(url: str, engine: Engine) -> None:
    """The text names both revisions, and nothing is changed."""
    revisions.migrate(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ContractBroken, match="revision 9999, and this version knows those up to 0003"):
        Access.open(url)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == "9999"


def test_a_revision_that_fails_leaves_nothing_behind(url: str, engine: Engine) -> None:
    """The making of tables is part of the transaction, so that an attempt that died can be repeated."""
    with engine.begin() as connection:
        # A view of the second revision's table name makes it fail after the first one's tables.
        connection.execute(text("CREATE VIEW event_keys AS SELECT 1 AS id"))
    with pytest.raises(Exception, match=r"event_keys|views may not be indexed"):
        Access.open(url)
    with engine.connect() as connection:
        assert not engine.dialect.has_table(connection, "workspaces")
    with engine.begin() as connection:
        connection.execute(text("DROP VIEW event_keys"))
    Access.open(url).close()
