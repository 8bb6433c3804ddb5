"""The engine's process: its folder, its port, its credentials, its end."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import clickhouse_connect
import httpx
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

from tests.support.clickhouse import ClickHouseProcess
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ENDLESS = "SELECT count() FROM numbers(1000000000000) WHERE sipHash64(number) = 1"
MODULE = [sys.executable, "-m", "audit_local.clickhouse_server"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., ClickHouseProcess]]:
    """Starts servers with flags, each on a folder of its own."""
    servers: list[ClickHouseProcess] = []

    def begin(**options: Any) -> ClickHouseProcess:
        number = len(servers)
        server = ClickHouseProcess(tmp_path / f"data{number}", log_path=tmp_path / f"log{number}", **options)
        servers.append(server)
        server.start()
        return server

    yield begin
    for server in servers:
        server.stop()


def tried(path: Path, port: int = 0) -> subprocess.CompletedProcess[str]:
    """A start that is expected to end by itself."""
    command = [*MODULE, "--path", str(path), "--port", str(port)]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)


def test_second_process_on_a_folder_is_refused(start: Callable[..., ClickHouseProcess]) -> None:
    """A folder in use names its holder, and its holder goes on."""
    server = start()
    second = tried(server.data_dir)
    assert second.returncode == 1
    assert f"process {server.pid}, {server.url}" in second.stderr
    assert "Traceback" not in second.stderr
    assert httpx.get(server.url, params={"query": "SELECT 1"}).text == "1\n"


def test_taken_port_is_refused(tmp_path: Path) -> None:
    """A port that another process has is named, in one line."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = tried(tmp_path / "data", port)
    assert refused.returncode == 1
    assert f"127.0.0.1:{port}: Address already in use" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """A path that is a file, or data that is no engine's, ends the start with one line."""
    (tmp_path / "file").write_text("not a folder")
    refused = tried(tmp_path / "file")
    assert refused.returncode == 1
    assert str(tmp_path / "file") in refused.stderr
    assert "Traceback" not in refused.stderr


def test_credentials_are_checked_when_given(start: Callable[..., ClickHouseProcess]) -> None:
    """With a password set, every other credential is refused with 403 and code 516, each way it can be sent."""
    server = start(user="audit", password="sécret")
    query = {"query": "SELECT 1"}
    right: list[dict[str, Any]] = [
        {"auth": httpx.BasicAuth("audit", "sécret")},
        {"headers": {"X-ClickHouse-User": "audit", "X-ClickHouse-Key": "sécret".encode()}},
        {"params": {"user": "audit", "password": "sécret"}},
    ]
    for credentials in right:
        params = query | credentials.pop("params", {})
        assert httpx.get(server.url, params=params, **credentials).text == "1\n"
    for refused in (
        httpx.get(server.url, params=query),
        httpx.get(server.url, params=query, auth=("audit", "wrong")),
        httpx.get(server.url, params=query | {"user": "default", "password": "sécret"}),
    ):
        assert (refused.status_code, refused.headers["X-ClickHouse-Exception-Code"]) == (403, "516")
    assert httpx.get(f"{server.url}/ping").text == "Ok.\n"
    clickhouse_connect.get_client(dsn=server.url, username="audit", password="sécret").close()
    with pytest.raises(DatabaseError, match="AUTHENTICATION_FAILED"):
        clickhouse_connect.get_client(dsn=server.url, username="audit", password="wrong")


def test_client_that_leaves_frees_its_slot(start: Callable[..., ClickHouseProcess]) -> None:
    """With one slot, a query whose client left makes room for the next, and a waiting one is never begun."""
    server = start(threads=1)
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(server.url, content=ENDLESS, timeout=0.3)
    assert httpx.post(server.url, content="SELECT 1", timeout=5).text == "1\n"
    with httpx.stream("POST", server.url, content="SELECT repeat('x', 1000) FROM numbers(1000000000)"):
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(server.url, content="CREATE TABLE never (a UInt8) ENGINE Memory", timeout=0.3)
    assert httpx.post(server.url, content="EXISTS TABLE never").text == "0\n"


def test_orderly_end_lets_queries_finish(start: Callable[..., ClickHouseProcess]) -> None:
    """SIGTERM: what runs gets its answer, nothing new is taken, the engine is closed, and data is there again."""
    server = start()
    with clickhouse_connect.get_client(dsn=server.url) as client:
        client.command("CREATE TABLE t (a UInt64) ENGINE MergeTree ORDER BY a")
        client.insert("t", [[1]], column_names=["a"])
    answers: list[str] = []
    running = threading.Thread(
        target=lambda: answers.append(httpx.post(server.url, content="SELECT 'whole', sleep(1)").text)
    )
    running.start()
    look = "SELECT count() FROM system.processes WHERE query LIKE '%whole%' AND query NOT LIKE '%system%'"
    eventually(lambda: httpx.post(server.url, content=look).text == "1\n", 5, "the query runs")
    server.stop()
    running.join()
    assert answers == ["whole\t0\n"]
    assert "closed" in server.log_path.read_text()
    server.start()
    assert httpx.post(server.url, content="SELECT a FROM t").text == "1\n"


def test_end_does_not_wait_for_ever(start: Callable[..., ClickHouseProcess]) -> None:
    """A query that does not end in the time given is cancelled, and the process ends."""
    server = start(grace=1)
    answers: list[httpx.Response] = []
    running = threading.Thread(target=lambda: answers.append(httpx.post(server.url, content=ENDLESS, timeout=30)))
    running.start()
    look = "SELECT count() FROM system.processes WHERE query LIKE '%sipHash64%' AND query NOT LIKE '%system%'"
    eventually(lambda: httpx.post(server.url, content=look).text == "1\n", 5, "the query runs")
    began = time.monotonic()
    server.stop()
    running.join()
    assert time.monotonic() - began < 8
    assert [answer.headers["X-ClickHouse-Exception-Code"] for answer in answers] == ["394"]
    assert "closed" in server.log_path.read_text()
