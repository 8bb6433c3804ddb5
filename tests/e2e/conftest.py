"""A browser, and a query service over plausible events, for the tests of the page."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.builders import NOON, event
from tests.conftest import KEPT, run_statement
from tests.support.browsing import served
from tests.support.page import Visitor
from tests.support.query_service import QueryService
from tests.support.rows import Tables
from tests.support.stage import set_the_stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, BrowserContext

    from audit_schemas.event import Event
    from tests.support.servers import ClickHouseServer

CHROMIUM = ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome")
PEOPLE = ("Ada Lovelace", "Grace Hopper", "Alan Turing")
TYPES = ("file.downloaded", "file.uploaded", "file.deleted", "file.moved")
EVENTS = 130
PATIENCE_MS = 15_000
"""How long the browser waits for what must become so: machines of tests are busy."""
EVENTS_DOCS_URL = "https://events.example.com/docs"


def chromium() -> str | None:
    """The Chromium of the machine; None leaves it to Playwright's own."""
    return next((path for path in CHROMIUM if Path(path).exists()), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The Chromium of the machine, or Playwright's own."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="the page tests need playwright")
    sync_api.expect.set_options(timeout=PATIENCE_MS)
    with sync_api.sync_playwright() as playwright:
        try:
            found = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        except sync_api.Error as error:
            pytest.skip(f"no Chromium on this machine: {error.message.splitlines()[0]}")
        yield found
        found.close()


@pytest.fixture
def viewer(browser: Browser) -> Iterator[BrowserContext]:
    """A person's browser in Berlin."""
    context = browser.new_context(timezone_id="Europe/Berlin", viewport={"width": 1280, "height": 800})
    yield context
    context.close()


@pytest.fixture
def query(clickhouse: ClickHouseServer, database: str, tmp_path: Path) -> Iterator[QueryService]:
    """130 events of three people, a minute apart, then one of three days ago; the workspace w1 on enterprise."""
    tables = Tables(clickhouse.url, database)
    tables.migrate()
    tables.put(
        *(
            event(
                event_type=TYPES[number % 4],
                actor={
                    "type": "internal_user",
                    "id": f"u{number % 3}",
                    "name": PEOPLE[number % 3],
                    "email": f"u{number % 3}@example.com",
                },
                occurred_at=NOON - timedelta(minutes=number),
            )
            for number in range(EVENTS)
        ),
        event(
            event_type="client.created",
            category="crm",
            actor={"type": "client", "id": "c9", "name": "<b>Mallory</b>"},
            targets=[{"type": "client", "id": "c9", "name": "<script>alert(1)</script>"}],
            occurred_at=NOON - timedelta(days=3),
        ),
    )
    tables.progress(NOON - timedelta(seconds=3), end=tables.offset)
    tables.close()
    service = QueryService(clickhouse.url, database, tmp_path, {"events_docs_url": EVENTS_DOCS_URL})
    service.workspace()
    yield service
    service.close()


@pytest.fixture(scope="module")
def log(
    clickhouse: ClickHouseServer, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[QueryService]:
    """A service for all tests of a module, over what its function `stage` puts there."""
    with served(clickhouse, tmp_path_factory.mktemp("log"), request.module.stage) as service:
        yield service


@dataclass(frozen=True, slots=True)
class Stage:
    """A service with a plausible month in the workspace `atlas`; a test that adds events makes a workspace for them."""

    query: QueryService
    events: list[Event]


@pytest.fixture(scope="session")
def stage(
    clickhouse: ClickHouseServer, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Stage]:
    """One for all tests; its database is kept when a test failed."""
    name, failed = f"t{uuid.uuid4().hex[:12]}", request.session.testsfailed
    run_statement(clickhouse.url, f"CREATE DATABASE {name}")
    tables = Tables(clickhouse.url, name)
    tables.migrate()
    tables.close()
    service = QueryService(clickhouse.url, name, tmp_path_factory.mktemp("stage"), {"events_docs_url": EVENTS_DOCS_URL})
    yield Stage(service, set_the_stage(service))
    service.close()
    if request.session.testsfailed > failed:
        request.config.stash[KEPT].append(f"database {name} of the stage")
    else:
        run_statement(clickhouse.url, f"DROP DATABASE IF EXISTS {name} SYNC")


@pytest.fixture
def visitor(viewer: BrowserContext, stage: Stage) -> Iterator[Visitor]:
    """Looks at the stage from Berlin; the test fails when the browser complains about anything."""
    person = Visitor(viewer, stage.query)
    yield person
    assert person.complaints == []
