"""The servers and names that tests share; their code is in `tests/support`."""

from __future__ import annotations

import os
import urllib.parse
import urllib.request
import uuid
from typing import TYPE_CHECKING, Protocol

import pytest
from hypothesis import settings

from tests.support.kafka import KafkaProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

    from tests.support.servers import ClickHouseServer, KafkaServer

    class StartKafka(Protocol):
        def __call__(self, *, session_timeout_ms: int = 6000) -> KafkaServer: ...

    class StartClickHouse(Protocol):
        def __call__(self, **options: str | int) -> ClickHouseServer: ...


CONTAINERS = os.environ.get("CONTAINERS") == "1"
KEPT = pytest.StashKey[list[str]]()
FAILED = pytest.StashKey[bool]()


# On a shared machine a single example may take any time. Hypothesis loads its profile for CI by itself.
settings.register_profile("any machine", settings.get_profile("ci"), derandomize=False)
if not os.environ.get("CI"):
    settings.load_profile("any machine")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[KEPT] = []
    if CONTAINERS:
        from tests.support.containers import require_engine

        require_engine()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """After failures, says where the evidence is: data folders, logs and databases."""
    if terminalreporter.stats.get("failed") or terminalreporter.stats.get("error"):
        for line in config.stash[KEPT]:
            terminalreporter.write_line(f"kept: {line}")


def _kafka(
    folder: Path, config: pytest.Config, *, session_timeout_ms: int = 6000
) -> tuple[KafkaServer, Callable[[], None]]:
    if CONTAINERS:
        from tests.support.containers import KafkaContainer

        container = KafkaContainer(session_timeout_ms=session_timeout_ms)
        return container, container.remove
    process = KafkaProcess(folder / "data", folder / "kafka.log", session_timeout_ms=session_timeout_ms)
    config.stash[KEPT].append(f"Kafka in {folder}")
    return process, process.stop


def _clickhouse(
    folder: Path, config: pytest.Config, **options: str | int
) -> tuple[ClickHouseServer, Callable[[], None]]:
    if CONTAINERS:
        if options:
            pytest.skip("the test starts the local engine with options of its own")
        from tests.support.containers import ClickHouseContainer

        container = ClickHouseContainer()
        return container, container.remove
    from tests.support.clickhouse import ClickHouseProcess

    process = ClickHouseProcess(folder / "data", port=0, log_path=folder / "clickhouse.log", **options)
    config.stash[KEPT].append(f"ClickHouse in {folder}")
    return process, process.stop


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[KafkaServer]:
    """One broker for all tests; a test that kills it starts it again."""
    server, end = _kafka(tmp_path_factory.mktemp("kafka"), pytestconfig)
    try:
        server.start()
        yield server
    finally:
        end()


@pytest.fixture(scope="session")
def clickhouse(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[ClickHouseServer]:
    """One engine for all tests; a test that kills it starts it again."""
    server, end = _clickhouse(tmp_path_factory.mktemp("clickhouse"), pytestconfig)
    try:
        server.start()
        yield server
    finally:
        end()


@pytest.fixture
def start_kafka(tmp_path: Path, pytestconfig: pytest.Config) -> Iterator[StartKafka]:
    """Starts brokers that belong to the test."""
    ends: list[Callable[[], None]] = []

    def start(*, session_timeout_ms: int = 6000) -> KafkaServer:
        server, end = _kafka(
            tmp_path / f"kafka{len(ends)}",
            pytestconfig,
            session_timeout_ms=session_timeout_ms,
        )
        ends.append(end)
        server.start()
        return server

    yield start
    for end in reversed(ends):
        end()


@pytest.fixture
def start_clickhouse(tmp_path: Path, pytestconfig: pytest.Config) -> Iterator[StartClickHouse]:
    """Starts engines that belong to the test; options are flags of the local engine."""
    ends: list[Callable[[], None]] = []

    def start(**options: str | int) -> ClickHouseServer:
        server, end = _clickhouse(tmp_path / f"clickhouse{len(ends)}", pytestconfig, **options)
        ends.append(end)
        server.start()
        return server

    yield start
    for end in reversed(ends):
        end()


@pytest.fixture
def topic_prefix() -> str:
    """A topic prefix that no other test uses."""
    return f"t{uuid.uuid4().hex[:12]}"


@pytest.fixture
def database(
    clickhouse: ClickHouseServer,
    request: pytest.FixtureRequest,
    pytestconfig: pytest.Config,
) -> Iterator[str]:
    """An empty database that no other test uses; kept when the test failed."""
    name = f"t{uuid.uuid4().hex[:12]}"
    run_statement(clickhouse.url, f"CREATE DATABASE {name}")
    yield name
    if request.node.stash.get(FAILED, False):
        pytestconfig.stash[KEPT].append(f"database {name} of {request.node.nodeid}")
    else:
        run_statement(clickhouse.url, f"DROP DATABASE IF EXISTS {name} SYNC")


def run_statement(url: str, statement: str) -> None:
    with urllib.request.urlopen(f"{url}/?{urllib.parse.urlencode({'query': statement})}", data=b"", timeout=30):
        pass
