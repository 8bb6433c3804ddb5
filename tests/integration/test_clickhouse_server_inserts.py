"""Inserting through ClickHouse's HTTP protocol: where the data may stand, what is atomic, what survives a kill."""

from __future__ import annotations

import gzip
import io
import socket
import threading
import time
import zlib
from functools import partial
from typing import TYPE_CHECKING

import clickhouse_connect
import fastavro
import httpx
import lz4.frame  # type: ignore[import-untyped]  # has no type information
import psutil
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

from audit_local.clickhouse_server.body import MEMORY_BYTES
from tests.support.clickhouse import ClickHouseProcess
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from clickhouse_connect.driver.client import Client

    from tests.support.servers import ClickHouseServer

ONE_BLOCK = {
    "async_insert": 0,
    "max_insert_threads": 1,
    "max_block_size": 1_000_000,
    "max_insert_block_size": 1_000_000,
    "min_insert_block_size_rows": 1_000_000,
    "min_insert_block_size_bytes": 0,
    "deduplicate_blocks_in_dependent_materialized_views": 1,
}
SMALL_BLOCKS = ONE_BLOCK | {"max_insert_block_size": 1000, "min_insert_block_size_rows": 1000}


@pytest.fixture
def client(clickhouse: ClickHouseServer, database: str) -> Iterator[Client]:
    """The production client, in a database of its own with a table `t`."""
    opened = clickhouse_connect.get_client(dsn=clickhouse.url, database=database)
    opened.command("CREATE TABLE t (a UInt64, b String DEFAULT 'default') ENGINE MergeTree ORDER BY a")
    yield opened
    opened.close()


@pytest.fixture
def post(clickhouse: ClickHouseServer, database: str) -> Iterator[Callable[..., httpx.Response]]:
    """Bare HTTP: `post(query in the URL, body, headers)`."""
    with httpx.Client(base_url=clickhouse.url, timeout=30) as http:

        def send(
            query: str, body: bytes | Iterator[bytes] = b"", headers: dict[str, str] | None = None, **params: str
        ) -> httpx.Response:
            url = {"database": database} | ({"query": query} if query else {}) | params
            return http.post("/", params=url, content=body, headers=headers)

        yield send


def rows(client: Client) -> list[tuple[int, str]]:
    """What is in the table `t`."""
    return [(a, b) for a, b in client.query("SELECT a, b FROM t ORDER BY a, b").result_rows]


@pytest.mark.parametrize(
    ("query", "body", "expected"),
    [
        ("", b"INSERT INTO t FORMAT CSV\n1,x\n2,y\n", [(1, "x"), (2, "y")]),
        ("", b"INSERT INTO t(a) FORMAT CSV 1\n2\n", [(1, "default"), (2, "default")]),
        ("", b"INSERT INTO t FORMAT RowBinary\n\n\0\0\0\0\0\0\0\1\n", [(10, "\n")]),
        ("", b"INSERT INTO t VALUES (1, 'x;'), (2, 'FORMAT CSV')", [(1, "x;"), (2, "FORMAT CSV")]),
        ("", b"INSERT INTO t SELECT number, 'n' FROM numbers(2)", [(0, "n"), (1, "n")]),
        ("", b"INSERT INTO t (b, a) SETTINGS max_block_size = 7 FORMAT TSV\nx\t1", [(1, "x")]),
        ("INSERT INTO t FORMAT CSV", b"1,x\n2,y", [(1, "x"), (2, "y")]),
        ("INSERT INTO t FORMAT JSONEachRow", b'{"a": 1}\n{"a": 2, "b": "\\u00e9"}', [(1, "default"), (2, "é")]),
        ("INSERT INTO t (a) VALUES", b"(1),(1 + 1)", [(1, "default"), (2, "default")]),
        ("INSERT INTO t FORMAT CSV", b"", []),
        ("INSERT INTO t SELECT {p:UInt8}, 'p'", b"", [(9, "p")]),
        ("INSERT INTO {q:Identifier} FORMAT CSV", b"1,x", [(1, "x")]),
    ],
)
def test_where_the_data_may_stand(
    client: Client, post: Callable[..., httpx.Response], query: str, body: bytes, expected: list[tuple[int, str]]
) -> None:
    """Statement and data may share the body, or the statement stands in the URL; every clause of it is kept."""
    params = {name: value for name, value in {"param_p": "9", "param_q": "t"}.items() if f"{{{name[-1]}:" in query}
    answer = post(query, body, **params)
    assert answer.status_code == 200, answer.text
    assert f'"written_rows": "{len(expected)}"' in answer.headers["X-ClickHouse-Summary"]
    assert rows(client) == expected


def test_streamed_body(client: Client, post: Callable[..., httpx.Response]) -> None:
    """A body of unknown length (chunked) is inserted, also when it is larger than what is held in memory."""
    line = b"7," + b"x" * 997 + b"\n"
    count = MEMORY_BYTES // len(line) + 10_000

    def pieces() -> Iterator[bytes]:
        for _ in range(0, count, 1000):
            yield line * min(1000, count)

    sent = -(-count // 1000) * 1000
    assert post("INSERT INTO t FORMAT CSV", pieces()).status_code == 200
    assert client.query("SELECT count(), sum(length(b)) FROM t").result_rows == [(sent, sent * 997)]
    client.raw_insert("t", ["a"], (line for line in (b"1\n", b"2\n")), fmt="CSV")
    assert client.command("SELECT count() FROM t WHERE a < 3") == 2


@pytest.mark.parametrize("encoding", ["gzip", "zstd", "lz4", "deflate"])
def test_compressed_body(client: Client, post: Callable[..., httpx.Response], encoding: str) -> None:
    """Compressed data is inserted, with the statement in the URL or inside; a frame cut short inserts nothing."""
    from backports import zstd

    pack = {"gzip": gzip.compress, "zstd": zstd.compress, "lz4": lz4.frame.compress, "deflate": zlib.compress}[encoding]
    headers = {"Content-Encoding": encoding}
    data = b"".join(b"%d,%s\n" % (number, b"x" * 50) for number in range(20_000))
    cut = post("INSERT INTO t FORMAT CSV", pack(data)[:-10], headers)
    assert cut.headers["X-ClickHouse-Exception-Code"] == "33"
    assert post("INSERT INTO t FORMAT CSV", b"no frame at all, surely", headers).status_code >= 400
    assert rows(client) == []
    assert post("INSERT INTO t FORMAT CSV", pack(data), headers).status_code == 200
    assert post("", pack(b"INSERT INTO t FORMAT CSV\n" + data), headers).status_code == 200
    assert client.command("SELECT count() FROM t") == 40_000
    if encoding != "deflate":
        client.raw_insert("t", insert_block=pack(b"99999,client\n"), fmt="CSV", compression=encoding)
        assert client.command("SELECT b FROM t WHERE a = 99999") == "client"


def test_body_cut_short_inserts_nothing(client: Client, clickhouse: ClickHouseServer, database: str) -> None:
    """When the connection ends before the body does, nothing of it is inserted, although every row was whole."""
    host, _, port = clickhouse.url.removeprefix("http://").partition(":")
    marker = f"cut-{time.monotonic_ns()}"
    path = f"/?database={database}&log_comment={marker}&query=INSERT+INTO+t+FORMAT+CSV"
    for framing, data in (
        ("Content-Length: 1000", b"1,x\n2,y\n"),
        ("Transfer-Encoding: chunked", b"8\r\n1,x\n2,y\n\r\n"),
    ):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n".encode() + data)
            connection.shutdown(socket.SHUT_WR)
            assert not connection.recv(100).startswith(b"HTTP/1.1 200")
    assert (
        client.command("SELECT count() FROM system.processes WHERE Settings['log_comment'] = {m:String}", {"m": marker})
        == 0
    )
    assert rows(client) == []


@pytest.mark.parametrize("settings", [ONE_BLOCK, SMALL_BLOCKS], ids=["one block", "many blocks"])
def test_token_deduplicates_through_views(client: Client, settings: dict[str, int]) -> None:
    """Data sent again under its token changes nothing in the targets of all views of a Null table; another token adds."""
    client.command("CREATE TABLE wire (a UInt64, b String) ENGINE Null")
    for name, rest in (("one", ""), ("two", " WHERE a % 2 = 0")):
        client.command(
            f"CREATE TABLE {name} (a UInt64, b String) ENGINE MergeTree ORDER BY a"
            " SETTINGS non_replicated_deduplication_window = 1000"
        )
        client.command(f"CREATE MATERIALIZED VIEW to_{name} TO {name} AS SELECT a, b FROM wire{rest}")
    data = avro([{"a": number, "b": f"row {number}"} for number in range(5000)])

    def send(token: str, block: bytes = data) -> None:
        client.raw_insert(
            "wire", insert_block=block, fmt="Avro", settings=settings | {"insert_deduplication_token": token}
        )

    def counts() -> tuple[object, ...]:
        found = client.query("SELECT (SELECT count() FROM one), (SELECT count() FROM two)").result_rows[0]
        return tuple(found)

    send("c:t:0:0-4999:h")
    assert counts() == (5000, 2500)
    send("c:t:0:0-4999:h")
    assert counts() == (5000, 2500)
    send("c:t:0:0-4999:h'\\")
    assert counts() == (10000, 5000)


def test_error_names_the_row(client: Client) -> None:
    """A value that cannot be read is named by its row, with the code, and nothing of the block is inserted."""
    client.command("CREATE TABLE u (a UInt64, c UUID) ENGINE MergeTree ORDER BY a")
    good = "00000000-0000-0000-0000-000000000001"
    block = avro([{"a": number, "c": "bad" if number == 777 else good} for number in range(1000)])
    with pytest.raises(DatabaseError, match=r"\(at row 778\)") as raised:
        client.raw_insert("u", insert_block=block, fmt="Avro", settings=ONE_BLOCK)
    assert raised.value.code == 376
    with pytest.raises(DatabaseError, match=r"\(at row 2\)"):
        client.raw_insert("t", ["a"], b"1\nx\n", fmt="CSV", settings=ONE_BLOCK)
    assert client.command("SELECT count() FROM u") == 0
    assert rows(client) == []


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("INSERT INTO nope FORMAT CSV", 60),
        ("INSERT INTO t (nope) FORMAT CSV", 16),
        ("INSERT INTO t FORMAT Nope", 73),
        ("INSERT INTO t SETTINGS nope = 1 FORMAT CSV", 115),
        ("INSERT INTO t FORMAT Avro", 1001),
    ],
)
def test_refused_inserts(post: Callable[..., httpx.Response], client: Client, statement: str, code: int) -> None:
    """An INSERT that cannot be done has ClickHouse's code and leaves nothing behind."""
    answer = post(statement, b"1,x\n")
    assert answer.status_code >= 400
    assert answer.headers["X-ClickHouse-Exception-Code"] == str(code)
    assert rows(client) == []


def test_running_insert_is_seen_and_outlives_its_client(
    client: Client, clickhouse: ClickHouseServer, database: str
) -> None:
    """A running INSERT is listed under its `log_comment`; when its client goes away it still ends, as on a server."""
    client.command("CREATE TABLE wire (a UInt64) ENGINE Null")
    client.command(
        "CREATE MATERIALIZED VIEW slow TO t AS SELECT a, if(sleepEachRow(0.1) = 0, 'slow', '') AS b FROM wire"
    )
    params = {"database": database, "log_comment": f"token of {database}", "async_insert": "0"}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            clickhouse.url, params=params | {"query": "INSERT INTO wire FORMAT CSV"}, content=b"1\n" * 10, timeout=0.5
        )
    running = "SELECT query FROM system.processes WHERE Settings['log_comment'] = {comment:String}"
    comment = {"comment": params["log_comment"]}
    assert "INSERT INTO wire" in str(client.command(running, comment))
    assert rows(client) == []
    eventually(lambda: len(rows(client)) == 10, 10, "the insert ended")
    eventually(lambda: not client.query(running, comment).result_rows, 5, "the insert is not listed any more")


def has_reached(found: list[int], goal: int) -> bool:
    return len(found) >= goal


def test_kill_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """After SIGKILL in the middle of inserts, the folder opens again with every acknowledged row, and no body is left."""
    server = ClickHouseProcess(tmp_path / "data", log_path=tmp_path / "log")
    acknowledged: list[int] = []

    def insert(first: int) -> None:
        with clickhouse_connect.get_client(dsn=server.url) as client:
            for number in range(first, 1_000_000, 2):
                client.raw_insert("t", insert_block=b"%d\n" % number * 1000, fmt="CSV", settings=ONE_BLOCK)
                acknowledged.append(number)

    def insert_until_killed(first: int) -> None:
        with pytest.raises(Exception, match=r"[Cc]onnection|HTTP|refused"):
            insert(first)

    server.start()
    try:
        with clickhouse_connect.get_client(dsn=server.url) as client:
            client.command(
                "CREATE TABLE t (a UInt64) ENGINE MergeTree ORDER BY a"
                " SETTINGS fsync_after_insert = 1, fsync_part_directory = 1"
            )
        for _ in range(3):
            begun = len(acknowledged)
            threads = [
                threading.Thread(target=insert_until_killed, args=(first,)) for first in (begun * 2, begun * 2 + 1)
            ]
            for thread in threads:
                thread.start()
            goal = begun + 20
            eventually(partial(has_reached, acknowledged, goal), 20, "inserts are acknowledged")
            server.kill()
            for thread in threads:
                thread.join()
            server.start()
            with clickhouse_connect.get_client(dsn=server.url) as client:
                stored = {int(a): int(n) for a, n in client.query("SELECT a, count() FROM t GROUP BY a").result_rows}
            assert not set(acknowledged) - set(stored)
            assert {count % 1000 for count in stored.values()} == {0}, "every block is there as a whole"
        assert not list((tmp_path / "data" / "bodies").iterdir())
    finally:
        server.stop()


def test_rate_of_large_inserts(client: Client, clickhouse: ClickHouseServer) -> None:
    """Handing over 50 000 rows of 500 bytes costs little beside reading them: a loose bound that catches a collapse."""
    client.command("CREATE TABLE wire (a UInt64, b String) ENGINE Null")
    block = avro([{"a": number, "b": f"{number:0500}"} for number in range(50_000)])
    server = psutil.Process(clickhouse.pid)
    client.raw_insert("wire", insert_block=block, fmt="Avro", settings=ONE_BLOCK)
    before, began, count = server.cpu_times(), time.monotonic(), 5
    for _ in range(count):
        client.raw_insert("wire", insert_block=block, fmt="Avro", settings=ONE_BLOCK)
    elapsed, after = time.monotonic() - began, server.cpu_times()
    cpu = after.user + after.system - before.user - before.system
    assert len(block) * count / elapsed > 50_000_000
    assert cpu / count / 50_000 < 5e-6


def avro(records: list[dict[str, object]]) -> bytes:
    """One Avro container of one block; its fields are those of the first record."""
    fields = [
        {"name": name, "type": "string" if isinstance(value, str) else "long"} for name, value in records[0].items()
    ]
    schema = fastavro.parse_schema({"type": "record", "name": "row", "fields": fields})
    file = io.BytesIO()
    fastavro.writer(file, schema, records, sync_interval=1 << 30)
    return file.getvalue()
